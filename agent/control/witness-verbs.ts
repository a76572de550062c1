/** Witnesses: the own ones, and this agent as one of others. */
import type { Aid } from '#kel/identifiers';
import { isNonTransferable } from '#kel/identifiers';
import { isAid } from '#kel/record/qualified';
import { WitnessError } from '../identity/witness/errors.ts';
import type { Organisation } from '../organisation/organisation.ts';
import type { Agent } from '../organisation/running/agent.ts';
import { ControlError } from './errors.ts';
import type { Json } from './protocol.ts';
import { running, text, type Verb, type VerbContext } from './verb.ts';

export const witnessVerbs: Readonly<Record<string, Verb>> = {
  'witness.show': async ({ organisation }) => ({
    schema: 'kelmesh.witness/1',
    ...witnessJson(organisation),
  }),
  'witness.list': async ({ organisation, agent }) => witnessList(organisation, agent),
  'witness.add': async ({ organisation, agent, args, progress }) => {
    const added: Aid[] = [];
    for (const who of named(args)) {
      const witness = await witnessOf(organisation, running(agent), who);
      if (organisation.identity.state.witnesses.includes(witness) || added.includes(witness))
        throw new WitnessError('WITNESS_LISTED', `${witness} is a witness already`);
      added.push(witness);
    }
    const change = threshold(organisation, args, added.length);
    progress('rotating the keys: the new witness list begins with this event');
    const before = quorum(organisation);
    await running(agent).rotate({ witnessAdds: added, ...change });
    return { ...witnessList(organisation, agent), before };
  },
  'witness.cut': async ({ organisation, agent, args, progress }) => {
    const cut = new Set(named(args).map((who) => listedWitness(organisation, running(agent), who)));
    const change = threshold(organisation, args, -cut.size);
    progress('rotating the keys: the witness list without them begins with this event');
    const before = quorum(organisation);
    await running(agent).rotate({ witnessCuts: [...cut], ...change });
    return { ...witnessList(organisation, agent), before };
  },
  'witness.allow': async (context) => allow(context, true),
  'witness.deny': async (context) => allow(context, false),
};

/** This agent as a witness. */
export function witnessJson({ witness }: Organisation): { readonly [key: string]: Json } {
  return {
    aid: witness.aid,
    allowed: witness.allowed,
    receipts: witness.counters.receipts,
    refused: witness.counters.refused,
    conflicts: witness.conflicts.map(({ aid, sn, first, second, at }) => ({
      aid,
      sn,
      first,
      second,
      at: new Date(at).toISOString(),
    })),
  };
}

/** Each own witness with how far it has come; without a running agent nobody knows who is connected. */
export function ownWitnessesJson(
  { identity, membership }: Organisation,
  agent: Agent | undefined,
): Json {
  const { state } = identity;
  if (agent === undefined) return state.witnesses.map((aid) => ({ aid }));
  return agent.witnesses
    .status(state)
    .map(({ aid, operator, connected, sn, lagSeconds, reason }) => ({
      aid,
      operator: operator ?? null,
      name:
        operator === undefined ? null : (membership.charter?.members.get(operator)?.name ?? null),
      connected,
      sn: sn ?? null,
      lagSeconds,
      reason: reason ?? null,
    }));
}

/** How many receipts make an event final, of how many witnesses. */
function quorum({ identity }: Organisation): { readonly threshold: number; readonly of: number } {
  const { witnesses, witnessThreshold } = identity.state;
  return { threshold: witnessThreshold, of: witnesses.length };
}

function witnessList(
  organisation: Organisation,
  agent: Agent | undefined,
): { readonly [key: string]: Json } {
  const { state, pending } = organisation.identity;
  return {
    schema: 'kelmesh.witnesses/1',
    sn: state.sn,
    said: state.said,
    threshold: state.witnessThreshold,
    witnesses: ownWitnessesJson(organisation, agent),
    waiting: pending === undefined ? null : { sn: pending.sn, said: pending.said },
  };
}

/** Five seconds: a session between two members takes less. */
const BOUND_ATTEMPTS = 11;
const BOUND_PAUSE_MS = 500;

function named(args: VerbContext['args']): readonly string[] {
  const { who } = args;
  if (Array.isArray(who) && who.length > 0 && who.every((each) => typeof each === 'string'))
    return who;
  throw new ControlError('CONTROL_BAD_REQUEST', 'the request names no witness');
}

async function allow({ organisation, args }: VerbContext, isAllowed: boolean): Promise<Json> {
  const aid = text(args, 'aid');
  if (!isAid(aid))
    throw new WitnessError('WITNESS_UNKNOWN', `${aid.slice(0, 64)} is not an AID`, {
      hint: 'Give the whole AID that `kelmesh id show` prints on the other side',
    });
  await organisation.witness.allow(aid, isAllowed);
  return { schema: 'kelmesh.witness/1', ...witnessJson(organisation) };
}

/** @param who a member by name or AID, or the witness AID that one of them serves */
async function witnessOf(organisation: Organisation, agent: Agent, who: string): Promise<Aid> {
  const { membership } = organisation;
  const member = membership.standing.member(who);
  if (member !== undefined) {
    const { aid, serves } = await identifyBound(organisation, agent, member.aid);
    if (!serves)
      throw new WitnessError(
        'WITNESS_NOT_SERVED',
        `${member.name} does not receipt events of ${organisation.identity.aid}`,
      );
    return aid;
  }
  if (isAid(who) && isNonTransferable(who)) {
    for (const { aid } of membership.others()) {
      const found = await agent.witnesses.identify(aid).catch(() => undefined);
      if (found?.aid === who) return who;
    }
  }
  throw new WitnessError(
    'WITNESS_UNKNOWN',
    `${who.slice(0, 64)} is no member, and no connected member serves a witness of that name`,
  );
}

/** Right after a start the other end may not have been told yet who asks: it is asked again for a while. */
async function identifyBound(
  { drivers }: Organisation,
  agent: Agent,
  operator: Aid,
): Promise<{ readonly aid: Aid; readonly serves: boolean }> {
  for (let attempt = 1; ; attempt++) {
    const found = await agent.witnesses.identify(operator);
    if (found.serves || attempt === BOUND_ATTEMPTS) return found;
    await drivers.clock.sleep(BOUND_PAUSE_MS, agent.signal);
  }
}

function listedWitness(organisation: Organisation, agent: Agent, who: string): Aid {
  const { membership, identity } = organisation;
  const found = agent.witnesses
    .status(identity.state)
    .find(
      ({ aid, operator }) =>
        aid === who ||
        operator === who ||
        (operator !== undefined && membership.charter?.members.get(operator)?.name === who),
    );
  if (found !== undefined) return found.aid;
  throw new WitnessError('WITNESS_UNKNOWN', `${who.slice(0, 64)} is no witness of this log`);
}

/** @param change by which the list grows */
function threshold(
  { identity }: Organisation,
  args: VerbContext['args'],
  change: number,
): { readonly witnessThreshold?: number } {
  const { threshold: asked } = args;
  const { witnesses, witnessThreshold } = identity.state;
  const count = witnesses.length + change;
  if (asked === undefined && count > 0 && count < witnessThreshold)
    throw new WitnessError(
      'WITNESS_BAD_THRESHOLD',
      `${witnessThreshold} of ${witnesses.length} receipts make an event final, and ${count} witnesses would be left`,
      { hint: 'Say how many are to be enough from then on: `--threshold N`' },
    );
  if (asked === undefined) return {};
  if (
    typeof asked !== 'number' ||
    !Number.isInteger(asked) ||
    asked > count ||
    asked < Math.min(1, count)
  )
    throw new WitnessError(
      'WITNESS_BAD_THRESHOLD',
      `threshold ${JSON.stringify(asked)} of ${count} witnesses`,
    );
  return { witnessThreshold: asked };
}

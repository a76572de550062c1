/** Witnesses: the own ones, and this agent as one of others. */
import type { Aid } from '#kel/identifiers';
import { isNonTransferable } from '#kel/identifiers';
import { isAid } from '#kel/record/qualified';
import { WitnessError } from '../identity/witness/errors.ts';
import type { Organisation } from '../organisation/organisation.ts';
import type { RunningParts } from '../organisation/running/agent.ts';
import { type Argument, aidOr, listOf, optional, text, whole } from './arguments.ts';
import { ControlError } from './errors.ts';
import { verbsOf } from './verb.ts';

type OwnLog = Pick<Organisation, 'identity' | 'membership'>;

/** What of a running agent knows the members that serve witnesses. */
type Serving = Pick<RunningParts, 'witnesses' | 'signal'>;

/** Of one command. */
const MAX_NAMED = 64;

const witnessed = aidOr(
  (value) =>
    new WitnessError('WITNESS_UNKNOWN', `${value.slice(0, 64)} is not an AID`, {
      hint: 'Give the whole AID that `kelmesh id show` prints on the other side',
    }),
);

/** Members by name or AID, or the witness AIDs that they serve: at least one. */
const named: Argument<readonly string[]> = {
  take(name, value) {
    const who = listOf(text, MAX_NAMED).take(name, value);
    if (who.length > 0) return who;
    throw new ControlError('CONTROL_BAD_REQUEST', 'the request names no witness');
  },
};

const changeArgs = { who: named, threshold: optional(whole(0, Number.MAX_SAFE_INTEGER)) };

const { needsAgent, needsState } = verbsOf({
  organisation: ['identity', 'membership', 'witness', 'drivers'],
  agent: ['witnesses', 'rotate', 'signal'],
});

export const witnessVerbs = {
  'witness.show': needsState({
    args: {},
    reads: true,
    run: async ({ organisation }) => witnessResult(organisation),
  }),
  'witness.list': needsState({
    args: {},
    reads: true,
    run: async ({ organisation, agent }) => witnessList(organisation, agent),
  }),
  'witness.add': needsAgent({
    args: changeArgs,
    async run({ organisation, agent, progress }, args) {
      const added: Aid[] = [];
      for (const who of args.who) {
        const witness = await witnessOf(organisation, agent, who);
        if (organisation.identity.state.witnesses.includes(witness) || added.includes(witness))
          throw new WitnessError('WITNESS_LISTED', `${witness} is a witness already`);
        added.push(witness);
      }
      const change = threshold(organisation, args.threshold, added.length);
      progress('rotating the keys: the new witness list begins with this event');
      const before = quorum(organisation);
      await agent.rotate({ witnessAdds: added, ...change });
      return { ...witnessList(organisation, agent), before };
    },
  }),
  'witness.cut': needsAgent({
    args: changeArgs,
    async run({ organisation, agent, progress }, args) {
      const cut = new Set(args.who.map((who) => listedWitness(organisation, agent, who)));
      const change = threshold(organisation, args.threshold, -cut.size);
      progress('rotating the keys: the witness list without them begins with this event');
      const before = quorum(organisation);
      await agent.rotate({ witnessCuts: [...cut], ...change });
      return { ...witnessList(organisation, agent), before };
    },
  }),
  'witness.allow': needsState({
    args: { aid: witnessed },
    async run({ organisation }, { aid }) {
      await organisation.witness.allow(aid, true);
      return witnessResult(organisation);
    },
  }),
  'witness.deny': needsState({
    args: { aid: witnessed },
    async run({ organisation }, { aid }) {
      await organisation.witness.allow(aid, false);
      return witnessResult(organisation);
    },
  }),
};

function witnessResult(organisation: Pick<Organisation, 'witness'>) {
  return { schema: 'kelmesh.witness/1', ...witnessJson(organisation) };
}

/** This agent as a witness. */
export function witnessJson({ witness }: Pick<Organisation, 'witness'>) {
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

/** One of the own log; what is absent is not known without a running agent. */
export interface OwnWitness {
  readonly aid: Aid;
  /** The member that serves it. */
  readonly operator?: Aid | null;
  readonly name?: string | null;
  readonly connected?: boolean;
  /** Up to which event it has receipted. */
  readonly sn?: number | null;
  readonly lagSeconds?: number;
  readonly reason?: string | null;
}

/** Each own witness with how far it has come; without a running agent nobody knows who is connected. */
export function ownWitnessesJson(
  { identity, membership }: OwnLog,
  agent: Pick<RunningParts, 'witnesses'> | undefined,
): readonly OwnWitness[] {
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
function quorum({ identity }: Pick<Organisation, 'identity'>): {
  readonly threshold: number;
  readonly of: number;
} {
  const { witnesses, witnessThreshold } = identity.state;
  return { threshold: witnessThreshold, of: witnesses.length };
}

function witnessList(organisation: OwnLog, agent: Pick<RunningParts, 'witnesses'> | undefined) {
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

/** @param who a member by name or AID, or the witness AID that one of them serves */
async function witnessOf(
  organisation: OwnLog & Pick<Organisation, 'drivers'>,
  agent: Serving,
  who: string,
): Promise<Aid> {
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
  { drivers }: Pick<Organisation, 'drivers'>,
  agent: Serving,
  operator: Aid,
): Promise<{ readonly aid: Aid; readonly serves: boolean }> {
  for (let attempt = 1; ; attempt++) {
    const found = await agent.witnesses.identify(operator);
    if (found.serves || attempt === BOUND_ATTEMPTS) return found;
    await drivers.clock.sleep(BOUND_PAUSE_MS, agent.signal);
  }
}

function listedWitness(
  organisation: OwnLog,
  agent: Pick<RunningParts, 'witnesses'>,
  who: string,
): Aid {
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
  { identity }: Pick<Organisation, 'identity'>,
  asked: number | undefined,
  change: number,
): { readonly witnessThreshold?: number } {
  const { witnesses, witnessThreshold } = identity.state;
  const count = witnesses.length + change;
  if (asked === undefined) {
    if (count === 0 || count >= witnessThreshold) return {};
    throw new WitnessError(
      'WITNESS_BAD_THRESHOLD',
      `${witnessThreshold} of ${witnesses.length} receipts make an event final, and ${count} witnesses would be left`,
      { hint: 'Say how many are to be enough from then on: `--threshold N`' },
    );
  }
  if (asked > count || asked < Math.min(1, count))
    throw new WitnessError('WITNESS_BAD_THRESHOLD', `threshold ${asked} of ${count} witnesses`);
  return { witnessThreshold: asked };
}

/** Evidence of duplicity: what is held, as a file, and the operator's word that ends a suspension. */
import { DuplicityError } from '#kel/duplicity/errors';
import type { Aid } from '#kel/identifiers';
import { isAid } from '#kel/record/qualified';
import type { DuplicityCase } from '#kel/store/duplicity-evidence';
import type { Organisation } from '../organisation/organisation.ts';
import { optional, text, whole } from './arguments.ts';
import { iso } from './log-verbs.ts';
import { verbsOf } from './verb.ts';

/** Characters of a reason that the audit log keeps. */
const MAX_REASON = 1_024;

const { needsState } = verbsOf({ organisation: ['kel', 'suspensions', 'membership', 'keeper'] });

export const evidenceVerbs = {
  'id.evidence.list': needsState({
    args: {},
    reads: true,
    run: async ({ organisation }) => ({
      schema: 'kelmesh.id-evidence/1',
      evidence: organisation.kel.duplicityCases().map((fork) => forkJson(organisation, fork)),
      dropped: organisation.kel.counters().forksDropped,
    }),
  }),
  'id.evidence.export': needsState({
    args: { aid: text, sn: optional(whole(0, Number.MAX_SAFE_INTEGER)) },
    async run({ organisation }, { aid: who, sn }) {
      const aid = named(organisation, who);
      const forks = organisation.kel
        .duplicityCases()
        .filter((fork) => fork.aid === aid && (sn === undefined || fork.sn === sn));
      const [fork] = forks.toSorted((a, b) => a.sn - b.sn);
      if (fork === undefined)
        throw new DuplicityError('DUPLICITY_NONE', `no evidence against ${aid} is held`);
      return {
        schema: 'kelmesh.id-evidence-export/1',
        ...forkJson(organisation, fork),
        cesr: Buffer.from(await organisation.kel.evidenceFile(fork)).toString('base64'),
      };
    },
  }),
  'id.evidence.resolve': needsState({
    args: { aid: text, reason: text },
    async run({ organisation }, { aid: who, reason: given }) {
      const aid = named(organisation, who);
      const reason = given.slice(0, MAX_REASON);
      const { suspensions, keeper } = organisation;
      if (suspensions.of(aid) === undefined)
        throw new DuplicityError('DUPLICITY_NONE', `${aid} is not suspended`);
      // Recorded first: nothing comes up again by a decision that the audit log does not name.
      await keeper.record('resolution', { peer: aid, reason });
      const { at } = await suspensions.resolve(aid, reason);
      return {
        schema: 'kelmesh.id-evidence-resolve/1',
        aid,
        suspended: suspensions.of(aid) !== undefined,
        resolved: { at: iso(at), reason },
      };
    },
  }),
};

/** Suspended AIDs as `status` tells them; the own one among them means that its keys are in other hands. */
export function suspensionsJson({
  suspensions,
  membership,
  identity,
}: Pick<Organisation, 'suspensions' | 'membership' | 'identity'>) {
  return suspensions.all().map(({ aid, sn, saids, since }) => ({
    aid,
    name: membership.charter?.members.get(aid)?.name ?? null,
    own: aid === identity.aid,
    sn,
    saids,
    since: iso(since),
    reason: forkReason(sn, saids),
  }));
}

export function forkReason(sn: number, [first, second]: readonly [string, string]): string {
  return `it signed two events ${sn}: ${first} and ${second}`;
}

function forkJson(
  { suspensions, membership }: Pick<Organisation, 'suspensions' | 'membership'>,
  fork: DuplicityCase,
) {
  const { aid, sn, accepted, conflicting, since } = fork;
  const resolution = suspensions.resolutionOf(aid);
  const isOpen = suspensions.isOpen(fork);
  return {
    aid,
    name: membership.charter?.members.get(aid)?.name ?? null,
    sn,
    saids: [accepted, conflicting],
    since: iso(since),
    suspends: isOpen,
    resolved:
      isOpen || resolution === undefined
        ? null
        : { at: iso(resolution.at), reason: resolution.reason },
  };
}

/** By AID or by name of a member. @throws DUPLICITY_NONE */
function named({ membership }: Pick<Organisation, 'membership'>, who: string): Aid {
  if (isAid(who)) return who;
  for (const member of membership.charter?.members.values() ?? [])
    if (member.name === who) return member.aid;
  throw new DuplicityError('DUPLICITY_NONE', `${who.slice(0, 64)} is no AID and no member`);
}

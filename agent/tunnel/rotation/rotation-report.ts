/**
 * What a rotation would do, and how far those under way have come: plain functions over what the tunnels, the agreements and the
 * charter hold. They change nothing.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import type { Clock } from '#src/clock';
import type { Member } from '../../mesh/membership/charter.ts';
import type { Standing } from '../../mesh/membership/standing.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { EpochKeys } from '../pairs/epoch-keys.ts';
import { MAX_SKEW_MS } from '../pairs/epoch-keys.ts';
import type { ChangeStep } from '../pairs/pair.ts';
import type { PairProgress, Tunnels } from '../pairs/tunnels.ts';
import type { TunnelView } from '../pairs/view.ts';

export type RotationKind = 'psk' | 'tunnel' | 'id' | 'all';

/** SPIRE's words: the new key exists beside the old, is used, the old one goes. */
export type RotationStep = 'prepare' | 'activate' | 'retire';

/** One change of one pair that has not ended. */
export interface RotationRow {
  readonly kind: 'psk' | 'tunnel' | 'id';
  /** Name of the peer in the charter. */
  readonly pair: string;
  readonly aid: Aid;
  /** Key epoch that it leads to; of `psk` the epoch of the preshared key. */
  readonly epoch: number;
  readonly step: RotationStep;
  readonly detail: 'agreeing' | 'agreed' | ChangeStep | 'flipped' | 'draining' | 'left-behind';
  readonly since: string;
  readonly deadline: string;
  /** Why it does not go on by itself; null when it does. */
  readonly waitsFor: string | null;
}

export interface PlannedPair {
  readonly pair: string;
  readonly aid: Aid;
  readonly when: 'now' | 'when it is connected';
  readonly clockSkewMs: number | null;
  /** The clocks differ so much that epochs of the preshared key wait. */
  readonly epochsPostponed: boolean;
  /** Its tunnel goes at this rotation, until it follows: it has not followed the last one. */
  readonly leftBehind: boolean;
}

export interface RotationPlan {
  readonly kind: RotationKind;
  /** What stands in the way; null when nothing does. */
  readonly obstacle: string | null;
  readonly steps: readonly { readonly step: RotationStep; readonly does: string }[];
  readonly pairs: readonly PlannedPair[];
}

/** What is read for a report. */
export interface ReportSources {
  readonly membership: { readonly standing: Pick<Standing, 'others' | 'member'> };
  readonly records: Pick<RecordStore, 'get'>;
  readonly tunnels: Pick<Tunnels, 'progress' | 'kindOf' | 'wouldBeLeftBehind'> & {
    /** `lastHandshake`: milliseconds since the Unix epoch, 0 for none. */
    status(): Promise<
      readonly {
        readonly aid: Aid;
        readonly peer: { readonly lastHandshake: number } | undefined;
      }[]
    >;
  };
  readonly epochKeys: Pick<EpochKeys, 'isPostponed' | 'epoch' | 'epochOf'>;
  readonly agreements: {
    /** Wanted and not made yet. */
    readonly renewals: readonly { readonly peer: Aid; readonly since: number }[];
    /** `at`: milliseconds since the Unix epoch. */
    agreed(aid: Aid, view: TunnelView): { readonly at: number } | undefined;
  };
  readonly directory: Pick<PeerDirectory, 'peerOf'>;
  /** How far the clock of a member is ahead of the own one, milliseconds; undefined before it has said. */
  readonly skewOf: (aid: Aid) => number | undefined;
  readonly clock: Pick<Clock, 'now'>;
}

/** A natural handshake takes the new preshared key within this (REKEY_AFTER_TIME, and retries until REJECT_AFTER_TIME). */
const NATURAL_MS = 180_000;
const steps: Readonly<Record<RotationKind, RotationPlan['steps']>> = {
  psk: [
    { step: 'prepare', does: 'a fresh agreement with each peer (ML-KEM-1024 and X25519)' },
    {
      step: 'activate',
      does: 'both ends write the new preshared key; the next handshake takes it',
    },
    { step: 'retire', does: 'the chain before is erased at both ends; the sessions go on' },
  ],
  tunnel: [
    { step: 'prepare', does: 'a new key epoch is sealed in the log and told to the members' },
    { step: 'activate', does: 'each tunnel moves to it with an agreement of its own, one by one' },
    { step: 'retire', does: 'the former key drains, then its device goes' },
  ],
  id: [
    { step: 'prepare', does: 'the log rotates to its pre-rotated keys and seals new tunnel keys' },
    {
      step: 'activate',
      does: 'each tunnel moves to them with an agreement of its own, one by one',
    },
    { step: 'retire', does: 'the former tunnel key drains, then its device goes' },
  ],
  all: [
    { step: 'prepare', does: 'the log rotates to its pre-rotated keys and seals new tunnel keys' },
    {
      step: 'activate',
      does: 'each tunnel moves to them with an agreement of its own, one by one',
    },
    { step: 'retire', does: 'the former tunnel key drains, then its device goes' },
  ],
};

/** @param named the members that were named; all others where nobody was */
export function rotationPlan(
  { membership, tunnels, directory, skewOf, epochKeys }: ReportSources,
  kind: RotationKind,
  named: readonly Member[],
): RotationPlan {
  const movesKeys = kind !== 'psk';
  // The keys of the node are one for all its tunnels.
  const members = movesKeys ? membership.standing.others : named;
  return {
    kind,
    obstacle: null,
    steps: steps[kind],
    pairs: members.map(({ aid, name }) => ({
      pair: name,
      aid,
      when: directory.peerOf(aid) === undefined ? 'when it is connected' : 'now',
      clockSkewMs: skewOf(aid) ?? null,
      epochsPostponed: epochKeys.isPostponed(aid),
      leftBehind: movesKeys && tunnels.wouldBeLeftBehind(aid),
    })),
  };
}

/** Everything under way, and what waits, pair by pair. */
export async function rotationRows(sources: ReportSources): Promise<readonly RotationRow[]> {
  const handshakes = new Map(
    (await sources.tunnels.status()).map(({ aid, peer }) => [aid, peer?.lastHandshake ?? 0]),
  );
  const rows: RotationRow[] = [];
  for (const pair of sources.tunnels.progress()) {
    rows.push(...changeRows(sources, pair));
    rows.push(...(await pskRows(sources, pair, handshakes.get(pair.aid) ?? 0)));
  }
  return rows;
}

/** Why the preshared key of the pair keeps its epoch, in words; null when it does not. */
export function postponement(
  { epochKeys, skewOf }: Pick<ReportSources, 'epochKeys' | 'skewOf'>,
  aid: Aid,
): string | null {
  if (!epochKeys.isPostponed(aid)) return null;
  const seconds = Math.round((skewOf(aid) ?? 0) / 1_000);
  return `its clock differs by ${seconds} s, more than ${MAX_SKEW_MS / 1_000} s: the preshared key keeps its epoch until the clocks are set`;
}

/** Of the change of keys of one pair. */
function changeRows(
  sources: ReportSources,
  { aid, active, change, behind, draining }: PairProgress,
): readonly RotationRow[] {
  const { tunnels, directory, clock } = sources;
  const rows: RotationRow[] = [];
  const row = (
    view: TunnelView,
    former: TunnelView | undefined,
    rest: Pick<RotationRow, 'step' | 'detail' | 'since' | 'deadline' | 'waitsFor'>,
  ) => {
    const kind = tunnels.kindOf(former, view);
    if (kind === 'first') return;
    rows.push({
      kind,
      pair: nameOf(sources, aid),
      aid,
      epoch: epochOf(sources, view, former),
      ...rest,
    });
  };
  if (behind !== undefined && change !== undefined)
    row(change, behind, {
      step: 'prepare',
      detail: 'left-behind',
      since: iso(behind.since),
      deadline: iso(change.deadline),
      waitsFor: `there is no tunnel until the peer has followed${directory.peerOf(aid) === undefined ? '; it is not connected' : ''}`,
    });
  else if (change !== undefined) {
    const isLate = change.deadline <= clock.now();
    const isAway = directory.peerOf(aid) === undefined;
    row(change, active, {
      step: 'prepare',
      detail: change.step,
      since: iso(change.since),
      deadline: iso(change.deadline),
      waitsFor: isAway
        ? `the peer is not connected${isLate ? '; it is late' : ''}`
        : isLate
          ? 'the peer has not followed yet: its tunnel stays on the former key, and goes with the next rotation'
          : null,
    });
  }
  const former = draining.at(-1);
  if (former !== undefined && active !== undefined)
    row(active, former, {
      step: former.isConfirmed ? 'retire' : 'activate',
      detail: former.isConfirmed ? 'draining' : 'flipped',
      since: iso(active.since),
      deadline: iso(former.isConfirmed ? former.until : former.deadline),
      waitsFor: former.isConfirmed ? null : 'the peer has not said that it has changed over too',
    });
  return rows;
}

/** Of its preshared key. @param lastHandshake milliseconds since the Unix epoch, 0 for none */
async function pskRows(
  sources: ReportSources,
  { aid, active }: PairProgress,
  lastHandshake: number,
): Promise<readonly RotationRow[]> {
  const { agreements, epochKeys, directory, clock } = sources;
  const base = { kind: 'psk', pair: nameOf(sources, aid), aid } as const;
  const renewal = agreements.renewals.find(({ peer }) => peer === aid);
  if (renewal !== undefined)
    return [
      {
        ...base,
        epoch: epochKeys.epoch(),
        step: 'prepare',
        detail: 'agreeing',
        since: iso(renewal.since),
        deadline: iso(renewal.since + NATURAL_MS),
        waitsFor: directory.peerOf(aid) === undefined ? 'the peer is not connected' : null,
      },
    ];
  const agreed = active === undefined ? undefined : agreements.agreed(aid, active);
  if (active === undefined || agreed === undefined || agreed.at <= active.since) return [];
  if (lastHandshake > agreed.at || clock.now() > agreed.at + NATURAL_MS) return [];
  return [
    {
      ...base,
      epoch: await epochKeys.epochOf(aid, active),
      step: 'activate',
      detail: 'agreed',
      since: iso(agreed.at),
      deadline: iso(agreed.at + NATURAL_MS),
      waitsFor: 'the next handshake, within 120 s while packets flow',
    },
  ];
}

function nameOf({ membership }: ReportSources, aid: Aid): string {
  return membership.standing.member(aid)?.name ?? '';
}

/** Of the key that is new. */
function epochOf(
  { records }: ReportSources,
  view: TunnelView,
  former: TunnelView | undefined,
): number {
  const said: Said = view.own === former?.own ? view.peer : view.own;
  const record = records.get(said)?.record;
  return record?.t === 'tun' ? record.e : 0;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

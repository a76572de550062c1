/**
 * Rotations on demand: what they would do, doing it, and how far they have come. The tunnels themselves change over in
 * `agent/tunnel/`, pair by pair, each step on disk before it is taken; what is shown here is read from there.
 */
import type { Aid } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import { equalBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import { failureOf, type Journal } from '#src/journal';
import type { Member } from '../../mesh/membership/charter.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { ChangeStep } from '../pairs/pair.ts';
import { MAX_SKEW_MS, type PairAgreements } from '../pairs/pair-agreements.ts';
import type { PairProgress, Tunnels } from '../pairs/tunnels.ts';
import { sameView, type TunnelView } from '../pairs/view.ts';
import { RotationError } from './errors.ts';
import { namedMembers } from './named-members.ts';
import type { PairRequest, PairRequests } from './pair-requests.ts';

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

/** What became of one pair when its preshared key was to change. */
export interface PskResult {
  readonly pair: string;
  readonly aid: Aid;
  /** Both ends hold a fresh agreement. */
  readonly agreed: boolean;
  readonly epoch: number | null;
  /** First bytes of the agreement id, hex. */
  readonly agreement: string | null;
  /** Both ends are known to have shaken hands with it. */
  readonly proven: boolean;
  /** What is waited for, or went wrong; null otherwise. */
  readonly reason: string | null;
}

export interface RotationsDeps {
  readonly membership: Membership;
  readonly records: RecordStore;
  readonly tunnels: Tunnels;
  readonly agreements: PairAgreements;
  readonly directory: PeerDirectory;
  readonly requests: PairRequests;
  readonly skewOf: (aid: Aid) => number | undefined;
  readonly clock: Clock;
  readonly journal: Journal;
}

/** A natural handshake takes the new preshared key within this (REKEY_AFTER_TIME, and retries until REJECT_AFTER_TIME). */
const NATURAL_MS = 180_000;
/** An agreement that the other end is to begin may be asked for this often per pair. */
const ASKED_PAUSE_MS = 500;

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

export class Rotations {
  readonly #deps: RotationsDeps;

  constructor(deps: RotationsDeps) {
    this.#deps = deps;
  }

  /** The members that a rotation is about. Throws ROTATION_NOT_A_MEMBER: nothing was touched then. */
  members(peer: string | undefined): readonly Member[] {
    return namedMembers(this.#deps.membership.others(), peer);
  }

  /** Changes nothing. Throws ROTATION_NOT_A_MEMBER. */
  plan(kind: RotationKind, peer: string | undefined): RotationPlan {
    const { tunnels, directory, skewOf, agreements } = this.#deps;
    const movesKeys = kind !== 'psk';
    const named = this.members(peer);
    // The keys of the node are one for all its tunnels.
    const members = movesKeys ? this.members(undefined) : named;
    return {
      kind,
      obstacle: null,
      steps: steps[kind],
      pairs: members.map(({ aid, name }) => ({
        pair: name,
        aid,
        when: directory.peerOf(aid) === undefined ? 'when it is connected' : 'now',
        clockSkewMs: skewOf(aid) ?? null,
        epochsPostponed: agreements.isPostponed(aid),
        leftBehind: movesKeys && tunnels.wouldBeLeftBehind(aid),
      })),
    };
  }

  /** Everything under way, and what waits. */
  async status(): Promise<readonly RotationRow[]> {
    const handshakes = new Map(
      (await this.#deps.tunnels.status()).map(({ aid, peer }) => [aid, peer?.lastHandshake ?? 0]),
    );
    const rows: RotationRow[] = [];
    for (const pair of this.#deps.tunnels.progress()) {
      rows.push(...this.#changeRows(pair));
      rows.push(...(await this.#pskRows(pair, handshakes.get(pair.aid) ?? 0)));
    }
    return rows;
  }

  /** Whether the preshared key of the pair waits for the clocks, in words. */
  postponement(aid: Aid): string | null {
    const { agreements, skewOf } = this.#deps;
    if (!agreements.isPostponed(aid)) return null;
    const seconds = Math.round((skewOf(aid) ?? 0) / 1_000);
    return `its clock differs by ${seconds} s, more than ${MAX_SKEW_MS / 1_000} s: the preshared key keeps its epoch until the clocks are set`;
  }

  /**
   * A fresh agreement with each peer, now. @param prove force a handshake with it at the end that starts handshakes
   * Throws ROTATION_NOT_A_MEMBER, ROTATION_NO_TUNNEL.
   */
  async psk(peer: string | undefined, prove: boolean): Promise<readonly PskResult[]> {
    const { tunnels } = this.#deps;
    const members = this.members(peer);
    const withTunnel = members.filter(({ aid }) => tunnels.activeView(aid) !== undefined);
    if (withTunnel.length === 0)
      throw new RotationError(
        'ROTATION_NO_TUNNEL',
        peer === undefined ? 'no tunnel is up' : `there is no tunnel to ${peer}`,
      );
    return Promise.all(withTunnel.map((member) => this.#pskOf(member, prove)));
  }

  /** What the other end of a tunnel asks for. @throws ROTATION_REFUSED and what the work throws */
  async answer(from: Aid, request: PairRequest): Promise<void> {
    const { tunnels, agreements } = this.#deps;
    const view = tunnels.activeView(from);
    if (view === undefined || !sameView(view, { own: request.peer, peer: request.own }))
      throw new RotationError('ROTATION_REFUSED', 'this end uses other keys');
    const isHeld = equalBytes(agreements.agreed(from, view)?.th ?? new Uint8Array(0), request.th);
    switch (request.kind) {
      case 'renew':
        if (isHeld) await agreements.renewFor(from, view, ASKED_PAUSE_MS);
        break;
      case 'epoch':
        await agreements.compare(from, view, request.th, request.epoch);
        break;
      default:
        if (!isHeld)
          throw new RotationError('ROTATION_REFUSED', 'this end holds another agreement');
    }
    await tunnels.writePresharedKeys();
    if (request.kind !== 'rekey') return;
    if (!view.initiates)
      throw new RotationError('ROTATION_REFUSED', 'this end does not start the handshakes');
    await tunnels.rekey(from, agreements.agreed(from, view)?.at ?? 0);
  }

  async #pskOf({ aid, name }: Member, prove: boolean): Promise<PskResult> {
    const { tunnels, agreements, journal } = this.#deps;
    const view = tunnels.activeView(aid) as TunnelView & { readonly initiates: boolean };
    const before = agreements.agreed(aid, view)?.th;
    const base = { pair: name, aid, agreed: false, epoch: null, agreement: null, proven: false };
    try {
      // Whoever types the command gets a fresh one, however young the last is.
      const agreed = await agreements.renew(aid, view, 0);
      if (agreed === undefined || (before !== undefined && this.#isWanted(aid)))
        return { ...base, reason: 'it is done when the peer is connected' };
      await tunnels.writePresharedKeys();
      const result = {
        ...base,
        agreed: true,
        epoch: await agreements.epochOf(aid, view),
        agreement: Buffer.from(agreed.th).toString('hex').slice(0, 16),
        reason: null,
      };
      if (!prove) return result;
      const request = { own: view.own, peer: view.peer, th: agreed.th, epoch: 0 };
      await this.#deps.requests.ask(aid, {
        ...request,
        kind: view.initiates ? 'written' : 'rekey',
      });
      if (view.initiates) await tunnels.rekey(aid, agreed.at);
      return { ...result, proven: true };
    } catch (error) {
      journal.failed('rotation.psk-failed', error, { aid });
      return { ...base, reason: failureOf(error).message };
    }
  }

  #isWanted(aid: Aid): boolean {
    return this.#deps.agreements.renewals.some((renewal) => renewal.peer === aid);
  }

  #changeRows({ aid, active, change, behind, draining }: PairProgress): readonly RotationRow[] {
    const { tunnels, directory, clock } = this.#deps;
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
        pair: this.#nameOf(aid),
        aid,
        epoch: this.#epochOf(view, former),
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

  async #pskRows(
    { aid, active }: PairProgress,
    lastHandshake: number,
  ): Promise<readonly RotationRow[]> {
    const { agreements, directory, clock } = this.#deps;
    const base = { kind: 'psk', pair: this.#nameOf(aid), aid } as const;
    const renewal = agreements.renewals.find(({ peer }) => peer === aid);
    if (renewal !== undefined)
      return [
        {
          ...base,
          epoch: agreements.epoch(),
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
        epoch: await agreements.epochOf(aid, active),
        step: 'activate',
        detail: 'agreed',
        since: iso(agreed.at),
        deadline: iso(agreed.at + NATURAL_MS),
        waitsFor: 'the next handshake, within 120 s while packets flow',
      },
    ];
  }

  #nameOf(aid: Aid): string {
    return this.#deps.membership.charter?.members.get(aid)?.name ?? '';
  }

  /** Of the key that is new. */
  #epochOf(view: TunnelView, former: TunnelView | undefined): number {
    const said = view.own === former?.own ? view.peer : view.own;
    const record = this.#deps.records.get(said)?.record;
    return record?.t === 'tun' ? record.e : 0;
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

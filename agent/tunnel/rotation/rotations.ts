/**
 * Rotations on demand: of the preshared keys here; the tunnels themselves change over in `agent/tunnel/pairs/`, pair by pair, each
 * step on disk before it is taken. What they would do, and how far they have come, is told by `rotation-report.ts`.
 */
import type { Aid } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import { equalBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import { failureOf, type Journal } from '#src/journal';
import type { Member } from '../../mesh/membership/charter.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { EpochKeys } from '../pairs/epoch-keys.ts';
import { NO_AGREEMENT, type PairAgreements } from '../pairs/pair-agreements.ts';
import type { Tunnels } from '../pairs/tunnels.ts';
import { sameView, type TunnelView } from '../pairs/view.ts';
import { RotationError } from './errors.ts';
import { namedMembers } from './named-members.ts';
import type { PairRequest, PairRequests } from './pair-requests.ts';
import {
  postponement,
  type RotationKind,
  type RotationPlan,
  type RotationRow,
  rotationPlan,
  rotationRows,
} from './rotation-report.ts';

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
  readonly epochKeys: EpochKeys;
  readonly directory: PeerDirectory;
  readonly requests: PairRequests;
  readonly skewOf: (aid: Aid) => number | undefined;
  readonly clock: Clock;
  readonly journal: Journal;
}

/** An agreement that the other end is to begin may be asked for this often per pair. */
const ASKED_PAUSE_MS = 500;

export class Rotations {
  readonly #deps: RotationsDeps;

  constructor(deps: RotationsDeps) {
    this.#deps = deps;
  }

  /** The members that a rotation is about. Throws ROTATION_NOT_A_MEMBER: nothing was touched then. */
  members(peer: string | undefined): readonly Member[] {
    return namedMembers(this.#deps.membership.standing, peer);
  }

  /** Changes nothing. Throws ROTATION_NOT_A_MEMBER. */
  plan(kind: RotationKind, peer: string | undefined): RotationPlan {
    return rotationPlan(this.#deps, kind, this.members(peer));
  }

  /** Everything under way, and what waits. */
  status(): Promise<readonly RotationRow[]> {
    return rotationRows(this.#deps);
  }

  /** Whether the preshared key of the pair waits for the clocks, in words. */
  postponement(aid: Aid): string | null {
    return postponement(this.#deps, aid);
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
    if (request.kind === 'sleep') return tunnels.letSleep(from);
    const view = tunnels.activeView(from);
    // Whatever it asks for, it has a tunnel that sleeps here, or wants one.
    if (view === undefined) tunnels.wake(from, true);
    if (request.kind === 'wake') return;
    if (view === undefined || !sameView(view, { own: request.peer, peer: request.own }))
      throw new RotationError('ROTATION_REFUSED', 'this end uses other keys');
    const isHeld = equalBytes(agreements.agreed(from, view)?.th ?? new Uint8Array(0), request.th);
    switch (request.kind) {
      case 'renew':
        if (isHeld || equalBytes(request.th, NO_AGREEMENT))
          await agreements.renewFor(from, view, ASKED_PAUSE_MS);
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
    const { tunnels, agreements, epochKeys, journal } = this.#deps;
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
        epoch: await epochKeys.epochOf(aid, view),
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
}

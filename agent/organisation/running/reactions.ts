/** What follows from what: each arrow of `docs/architecture.md` between the parts of a running agent is one subscription here. */
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { RecordType } from '#kel/record/record';
import { formatDateTime } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import type { EvidenceExchange } from '../../mesh/duplicity/evidence-exchange.ts';
import type { Charter } from '../../mesh/membership/charter.ts';
import { summarizeCharter } from '../../mesh/membership/charter-summary.ts';
import type { Dialler } from '../../mesh/sync/dialler.ts';
import type { Gossip } from '../../mesh/sync/gossip.ts';
import type { OwnEndpoints } from '../../mesh/sync/own-endpoints.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { RecordGossip } from '../../mesh/sync/record-gossip.ts';
import type { Sync } from '../../mesh/sync/sync.ts';
import type { Network } from '../../network/network.ts';
import type { EpochKeys } from '../../tunnel/pairs/epoch-keys.ts';
import type { PairAgreements } from '../../tunnel/pairs/pair-agreements.ts';
import type { PairReceipt, Tunnels } from '../../tunnel/pairs/tunnels.ts';
import type { TunnelProofs } from '../../tunnel/proof/tunnel-proofs.ts';
import type { Schedule } from '../../tunnel/rotation/schedule.ts';
import type { Organisation } from '../organisation.ts';
import type { Background } from './background.ts';
import type { MeshPresence } from './mesh-presence.ts';
import type { NewerRecords } from './newer-records.ts';
import type { OwnEventConfirmation } from './own-event-confirmation.ts';
import type { OwnKeyRotations } from './own-key-rotations.ts';

/**
 * Own records for which no session is opened: acknowledgements are gossiped, heads of the audit log are for later. All members
 * make them at one time, and a session of each with each would keep everybody busy.
 */
const UNHURRIED: ReadonlySet<RecordType> = new Set<RecordType>(['ack', 'log']);

export interface ReactionsDeps {
  /** What may call for new keys, see `agent/tunnel/rotation/schedule.ts`. */
  readonly schedule: Pick<Schedule, 'happened'>;
  readonly organisation: Organisation;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly sync: Sync;
  readonly gossip: Gossip;
  readonly recordGossip: RecordGossip;
  readonly dialler: Dialler;
  readonly endpoints: Pick<OwnEndpoints, 'current'>;
  readonly evidence: EvidenceExchange;
  readonly agreements: PairAgreements;
  readonly epochKeys: EpochKeys;
  readonly tunnels: Tunnels;
  readonly proofs: TunnelProofs;
  readonly ownKeyRotations: OwnKeyRotations;
  readonly presence: MeshPresence;
  readonly newerRecords: Pick<NewerRecords, 'follow'>;
  readonly confirmation: OwnEventConfirmation;
  readonly background: Background;
  readonly signal: AbortSignal;
}

export class Reactions {
  readonly #deps: ReactionsDeps;
  readonly #recording = new SerialQueue();
  #lastCharter: Charter | undefined;
  #lastOthers: ReadonlySet<Aid> = new Set();

  constructor(deps: ReactionsDeps) {
    this.#deps = deps;
  }

  start(): void {
    const {
      organisation,
      sync,
      recordGossip,
      agreements,
      epochKeys,
      tunnels,
      proofs,
      dialler,
      directory,
      evidence,
      background,
      signal,
    } = this.#deps;
    const { membership, intake, kel, identity } = organisation;
    this.#lastCharter = membership.charter;
    this.#compareMembers();
    const unsubscribe = [
      kel.subscribe((state, message) => this.#eventAccepted(state, message)),
      intake.subscribe((record) => {
        if (record.t === 'chr' || record.t === 'rvk') background.run(membership.refresh());
        if (record.i === identity.aid) {
          background.run(recordGossip.publish(record));
          if (!UNHURRIED.has(record.t)) sync.push();
        } else if (record.t === 'tun' || record.t === 'end' || record.t === 'nod') {
          if (record.t === 'end') dialler.reset(record.i);
          tunnels.poke(record.i);
        }
      }),
      membership.subscribe(() => background.run(this.#membershipChanged())),
      kel.subscribeDuplicity(() => background.run(this.recordForks())),
    ];
    sync.onBound((aid) => {
      tunnels.poke(aid);
      const peer = directory.peerOf(aid);
      if (peer !== undefined) evidence.push(peer);
    });
    this.#deps.network.listen({
      connected: () => undefined,
      disconnected: () => undefined,
      addressesChanged: () => {
        dialler.resetAll();
        background.run(this.#deps.endpoints.current());
      },
    });
    sync.onRefused((_by, _code, peer) => evidence.refusedBy(peer));
    // One end asks: ends at different epochs notice it with the first session after.
    sync.onExchanged((aid) => {
      const view = identity.aid < aid ? tunnels.activeView(aid) : undefined;
      if (view !== undefined) background.run(epochKeys.show(aid, view));
    });
    agreements.onStale((peer) => sync.request(peer));
    // What is proven names the agreement: a fresh one is proven anew, after the next handshake.
    agreements.onAgreed((aid) => proofs.prove(aid));
    tunnels.listen({
      established: (aid) => proofs.prove(aid),
      removed: (aid, reason) => background.run(this.#tunnelRemoved(aid, reason)),
      receipt: (aid, receipt) => background.run(this.#receipt(aid, receipt)),
    });
    signal.addEventListener('abort', () => {
      for (const off of unsubscribe) off();
    });
  }

  /** Forks that became known go into the audit log, those of an earlier run included. */
  recordForks(): Promise<void> {
    const { suspensions, keeper, identity, drivers } = this.#deps.organisation;
    return this.#recording.run(async () => {
      for (const fork of suspensions.unrecorded()) {
        const { aid, sn, accepted, conflicting } = fork;
        const isOwn = aid === identity.aid;
        drivers.journal.error(isOwn ? 'identity.forked' : 'aid.suspended', {
          code: 'KEL_DUPLICITOUS',
          aid,
          sn,
          first: accepted,
          second: conflicting,
        });
        await keeper.record('duplicity', { peer: aid, sn, first: accepted, second: conflicting });
        await suspensions.recorded(fork);
        if (!isOwn) await this.#deps.schedule.happened('suspension');
      }
    });
  }

  #eventAccepted(state: KeyState, message: Uint8Array): void {
    const { organisation, gossip, tunnels, dialler, confirmation, background } = this.#deps;
    const { identity, membership } = organisation;
    if (state.aid === identity.aid) {
      if (identity.hasForeignEvents)
        organisation.drivers.journal.error('identity.foreign-event', {
          code: 'IDENTITY_AWAITS_RECOVERY',
          sn: state.sn,
          said: state.said,
        });
      background.run(gossip.publish(message));
      // Whoever had shut this end out for the keys before is told at once that they are gone.
      if (state.establishment.said === state.said)
        for (const { aid } of membership.others()) dialler.reset(aid);
      return;
    }
    if (membership.charter?.governors.includes(state.aid) === true)
      background.run(membership.refresh());
    tunnels.poke(state.aid);
    // It may seal the rotation of this node.
    if (identity.pending !== undefined && state.aid === identity.state.delegator)
      background.run(confirmation.confirm());
  }

  async #membershipChanged(): Promise<void> {
    const { organisation, sync, tunnels, presence, ownKeyRotations, newerRecords, background } =
      this.#deps;
    const { membership, keeper, intake, kel } = organisation;
    const { charter } = membership;
    this.joinTopics();
    const { hasNewcomers, hasLeavers } = this.#compareMembers();
    if (charter !== undefined && charter.said !== this.#lastCharter?.said) {
      await keeper.record('membership', {
        charter: charter.said,
        version: charter.version,
        change: summarizeCharter(this.#lastCharter, charter),
      });
    }
    this.#unbindGone();
    this.#lastCharter = charter;
    for (const knock of sync.knocks.list()) {
      if (!membership.maySync(knock.aid)) continue;
      await kel.process(knock.log);
      await intake.take(knock.endpoints, (type, issuer) => type === 'end' && issuer === knock.aid);
    }
    if (membership.isIn) {
      await presence.enter();
      await ownKeyRotations.replaceRevoked();
      background.run(newerRecords.follow());
    } else await tunnels.reconcile();
    if (hasNewcomers) sync.push();
    if (hasLeavers && membership.isIn) await this.#deps.schedule.happened('removal');
    tunnels.pokeAll();
  }

  /** Key events and revocations of the mesh, once it is known which. */
  joinTopics(): void {
    const { organisation, gossip, recordGossip } = this.#deps;
    const { mesh } = organisation.membership;
    if (mesh === undefined) return;
    gossip.join(mesh);
    recordGossip.join(mesh);
  }

  /**
   * With the last look. Newcomers: members with whom nothing was exchanged before; who goes concerns nobody's records. Leavers: who
   * was removed or revoked, and not suspended alone.
   */
  #compareMembers(): { readonly hasNewcomers: boolean; readonly hasLeavers: boolean } {
    const { membership } = this.#deps.organisation;
    const before = this.#lastOthers;
    const now = new Set(membership.others().map(({ aid }) => aid));
    this.#lastOthers = now;
    return {
      hasNewcomers: [...now].some((aid) => !before.has(aid)),
      hasLeavers: [...before].some(
        (aid) => !now.has(aid) && membership.suspensionOf(aid) === undefined,
      ),
    };
  }

  /** Who was a member and may not speak with us any more. */
  #unbindGone(): void {
    const { organisation, directory, network, background } = this.#deps;
    const { membership } = organisation;
    for (const aid of this.#lastCharter?.members.keys() ?? []) {
      const peer = directory.peerOf(aid);
      if (peer !== undefined && !membership.maySync(aid)) {
        directory.unbind(peer);
        background.run(network.disconnect(peer));
      }
    }
  }

  async #tunnelRemoved(aid: Aid, reason: string): Promise<void> {
    const { keeper, drivers } = this.#deps.organisation;
    await keeper.record('tunnel-down', {
      peer: aid,
      reason,
      time: formatDateTime(drivers.clock.now()),
    });
  }

  async #receipt(peer: Aid, receipt: PairReceipt): Promise<void> {
    const { step, kind, view, generation, rxBytes, txBytes, rxDropped, txDropped } = receipt;
    await this.#deps.organisation.keeper.record('rotation', {
      peer,
      kind,
      step,
      own: view.own,
      theirs: view.peer,
      generation,
      rx: Math.max(0, rxBytes),
      tx: Math.max(0, txBytes),
      rxDropped: Math.max(0, rxDropped),
      txDropped: Math.max(0, txDropped),
    });
  }
}

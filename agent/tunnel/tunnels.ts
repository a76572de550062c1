/**
 * The tunnels of this node: what the charter, the logs and the agreements ask for, compared with what is,
 * and changed as little as possible. Control runs over the network of the agents, never through a tunnel.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import type { KelStore } from '#kel/store/kel-store';
import { equalBytes } from '#src/bytes';
import { type Clock, formatDateTime } from '#src/clock';
import { wireguardPrivateKey } from '#src/crypto/wireguard-key';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import type {
  DesiredDevice,
  DeviceState,
  PeerState,
  TunnelDriver,
  UdpEndpoint,
  WireGuardKey,
} from '#src/wireguard/tunnel-driver';
import { parseUdpEndpoint } from '#src/wireguard/values';
import type { Identity } from '../identity/identity.ts';
import type { Journal } from '../journal.ts';
import type { Membership } from '../membership/membership.ts';
import { overlayAddress, overlayRoute } from '../membership/overlay-address.ts';
import type { MessageStream, Network } from '../network/network.ts';
import type { StateTable } from '../state-table.ts';
import type { PeerDirectory } from '../sync/peer-directory.ts';
import {
  type DeviceSettings,
  desiredDevices,
  type OwnDevice,
  type PairState,
  type PairView,
} from './desired-state.ts';
import { type DeviceSlots, Devices, type Slot } from './devices.ts';
import { TunnelError } from './errors.ts';
import { currentTunnelKeyOf, type OwnTunnelKeys } from './own-tunnel-keys.ts';
import {
  type ActiveView,
  type ChangeStep,
  type DrainingView,
  Pair,
  type PairChange,
  type TargetView,
} from './pair.ts';
import type { Agreed, PairKeys } from './pair-keys.ts';
import {
  HANDSHAKE_MS,
  type MovingSteps,
  type Prepare,
  runMoving,
  runParking,
  transitionLimits,
  transitionProtocol,
} from './transition.ts';
import { sameView, type TunnelView } from './view.ts';

export interface TunnelSettings extends DeviceSlots {
  readonly mtu: number;
  /** Seconds. */
  readonly keepalive: number;
  /** How long the former key of a rotated tunnel stays, in milliseconds. */
  readonly drainMs: number;
  /** How long a change waits for a peer that cannot be reached before its former key may go, in milliseconds. */
  readonly changeMs: number;
}

export interface TunnelsDeps {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly records: RecordStore;
  readonly kel: KelStore;
  readonly ownKeys: OwnTunnelKeys;
  readonly pairKeys: PairKeys;
  readonly driver: TunnelDriver;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly table: StateTable;
  readonly journal: Journal;
  /** Whether the `tun` record was revoked: no view uses it any more. */
  readonly isRevoked: (tunnelKey: Said) => boolean;
}

/** One pair as `rotate status` shows it. */
export interface PairProgress {
  readonly aid: Aid;
  readonly active: ActiveView | undefined;
  readonly change: PairChange | undefined;
  readonly draining: DrainingView | undefined;
}

/** What happened to a pair, with what the own device counted: for the audit log. */
export interface PairReceipt {
  readonly step: 'staged' | 'warmed' | 'flipped' | 'drained';
  readonly view: TunnelView;
  /** Whether the establishment event of either key differs from that of the view before. */
  readonly kind: ChangeKind;
  readonly generation: number;
  /** Of the peer on the own device: -1 without a device. */
  readonly rxBytes: number;
  readonly txBytes: number;
}

/** `first`: there was no tunnel before. */
export type ChangeKind = 'first' | 'id' | 'tunnel';

/** One tunnel as `status` and the proof see it. */
export interface TunnelStatus {
  readonly aid: Aid;
  readonly view: ActiveView | undefined;
  readonly agreed: Agreed | undefined;
  readonly peer: PeerState | undefined;
  readonly device: Slot | undefined;
}

export interface TunnelListener {
  /** A view became active and its handshake was seen, at both ends. */
  established(aid: Aid, view: ActiveView): void;
  removed(aid: Aid, reason: string): void;
  receipt(aid: Aid, receipt: PairReceipt): void;
}

/** How often sessions are looked at, and by how much the higher AID leaves the lower one the first try. */
const COLD_STAGGER_MS = 30_000;
const HANDSHAKE_POLL_MS = 50;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** A session is renewed after 120 s and ends after 180 s (WireGuard whitepaper 6.1): a handshake this old still carries traffic. */
const SESSION_MS = 150_000;
/** WireGuard uses no session that is older (REJECT_AFTER_TIME, 180 s); a little more, for clocks that tick apart. */
const REJECT_AFTER_MS = 185_000;
/** The end that waits for the other to park begins itself after this. */
const PATIENCE_MS = 10_000;

/** More than a handshake and some keepalives (WireGuard whitepaper 5.4): 92 and 32 bytes each. */
const MIN_TRAFFIC_BYTES = 92 + 3 * 32;

function carriesTraffic(state: PeerState | undefined): boolean {
  return state !== undefined && state.rxBytes > MIN_TRAFFIC_BYTES;
}

export class Tunnels {
  readonly #deps: TunnelsDeps;
  readonly #settings: TunnelSettings;
  readonly #devices: Devices;
  readonly #pairs = new Map<Aid, Pair>();
  readonly #driving = new Map<Aid, { again: boolean }>();
  readonly #queue = new SerialQueue();
  readonly #listeners = new Set<TunnelListener>();
  /** Peers that did not answer a handshake that this end began: the next time they begin. */
  readonly #deaf = new Set<Aid>();
  /** Views without a session: this end begins the next one, whoever was to. */
  readonly #cold = new Map<Aid, TunnelView>();
  #signal: AbortSignal = AbortSignal.abort();
  #reconcileWaits = false;
  #nextReconcile: Promise<void> | undefined;

  constructor(deps: TunnelsDeps, settings: TunnelSettings) {
    this.#deps = deps;
    this.#settings = settings;
    this.#devices = new Devices(deps.table, settings);
  }

  listen(listener: TunnelListener): void {
    this.#listeners.add(listener);
  }

  /** Own devices by the SAID of their `tun` record: for the `end` record and for `status`. */
  get devices(): ReadonlyMap<Said, Slot> {
    return this.#devices.assigned;
  }

  get isRotating(): boolean {
    return (
      this.#devices.assigned.size > 1 || [...this.#pairs.values()].some((pair) => pair.inTransition)
    );
  }

  /** Every pair, in AID order. */
  progress(): readonly PairProgress[] {
    return [...this.#pairs.values()]
      .map(({ aid, active, change, draining }) => ({ aid, active, change, draining }))
      .sort((a, b) => (a.aid < b.aid ? -1 : 1));
  }

  activeView(aid: Aid): ActiveView | undefined {
    return this.#pairs.get(aid)?.active;
  }

  /** What a change from `former` to `view` is. */
  kindOf(former: TunnelView | undefined, view: TunnelView): ChangeKind {
    if (former === undefined) return 'first';
    const establishment = (said: Said) => {
      const record = this.#deps.records.get(said)?.record;
      return record?.t === 'tun' ? record.es.d : undefined;
    };
    const isSame =
      establishment(former.own) === establishment(view.own) &&
      establishment(former.peer) === establishment(view.peer);
    return isSame ? 'tunnel' : 'id';
  }

  /** Why the own key cannot change now; undefined when it can, by {@link makeRoom}. */
  obstacle(): string | undefined {
    const now = this.#deps.clock.now();
    const until = (ms: number) => new Date(ms).toISOString();
    for (const { aid, inTransition, active, change, draining } of this.#pairs.values()) {
      if (inTransition) return `the tunnel to ${aid} changes over at this moment`;
      const isLate = change === undefined || change.deadline <= now;
      if (active !== undefined && active.own !== this.#deps.ownKeys.currentRecord && !isLate)
        return `the tunnel to ${aid} still has the key before; waited for until ${until(change.deadline)}`;
      if (draining !== undefined && draining.own !== active?.own && draining.until > now)
        return `the former key of the tunnel to ${aid} drains until ${until(draining.until)}`;
    }
    return undefined;
  }

  /**
   * A slot for a new own key: peers that did not come along until the deadline lose the view that they have.
   * Throws TUNNEL_BUSY.
   */
  async makeRoom(): Promise<void> {
    const { ownKeys, journal } = this.#deps;
    const obstacle = this.obstacle();
    if (obstacle !== undefined) throw new TunnelError('TUNNEL_BUSY', obstacle);
    const current = ownKeys.currentRecord;
    for (const pair of this.#pairs.values()) {
      const wasUp = await pair.drop((view) => view.own !== current);
      if (!wasUp) continue;
      journal.warn('tunnel.left-behind', { aid: pair.aid });
      this.#removed(pair.aid, 'it did not follow the last rotation in time');
    }
    await this.reconcile();
  }

  /** Writes the preshared key that is agreed now; true when a device carries the view. */
  async write(aid: Aid): Promise<boolean> {
    const view = this.activeView(aid);
    if (view === undefined) return false;
    await this.#reconcileDevice(view.own);
    return true;
  }

  /**
   * Waits for a handshake with `aid` later than `since`, and forces one (with all peers of the device) when there is none yet.
   * Throws TUNNEL_NO_HANDSHAKE.
   */
  async rekey(aid: Aid, since: number): Promise<void> {
    const { driver, rng } = this.#deps;
    const view = this.activeView(aid);
    const slot = view === undefined ? undefined : this.#devices.assigned.get(view.own);
    if (view === undefined || slot === undefined)
      throw new TunnelError('TUNNEL_NO_HANDSHAKE', `there is no tunnel to ${aid}`);
    if ((await this.#lastHandshake(view)) > since) return;
    using throwAway = wireguardPrivateKey(Secret.take(rng.bytes(32)));
    await driver.rekey(slot.name, throwAway);
    await this.#handshake(view, since + 1);
  }

  /** Brings the devices to the desired state, then follows every change until `signal` aborts. Devices stay when it does. */
  async start(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const { network, pairKeys } = this.#deps;
    network.handle(transitionProtocol, transitionLimits, (stream) => this.#answer(stream));
    pairKeys.onAgreed((aid) => this.poke(aid));
    await this.reconcile();
    await this.#wakeColdPairs();
    this.pokeAll();
    void this.#epochLoop(signal);
    void this.#sessionLoop(signal);
  }

  /**
   * An end that waits for the other's handshakes begins itself where there has been no session for longer than one
   * lives: its device is new (a reboot, `down`), or a change broke off so that both ends wait. The lower AID is first.
   */
  async #wakeColdPairs(): Promise<void> {
    const { clock, identity } = this.#deps;
    let isChanged = false;
    for (const { aid, view, peer } of await this.status()) {
      if (view === undefined || view.initiates || sameView(this.#cold.get(aid), view)) continue;
      const patienceMs = REJECT_AFTER_MS + (identity.aid < aid ? 0 : COLD_STAGGER_MS);
      const handshake = peer?.lastHandshake ?? 0;
      if (handshake !== 0 && clock.now() - handshake < patienceMs) continue;
      this.#cold.set(aid, view);
      isChanged = true;
    }
    if (isChanged) await this.reconcile();
  }

  async #sessionLoop(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted) {
      await clock.sleep(COLD_STAGGER_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      await this.#wakeColdPairs().catch((error: unknown) =>
        this.#report('tunnel.reconcile-failed', error),
      );
    }
  }

  /** Something about all peers may have changed. */
  pokeAll(): void {
    this.reconcileSoon();
    for (const { aid } of this.#deps.membership.others()) this.poke(aid);
  }

  /** Something about `aid` may have changed: its keys, its endpoints, the agreement, the connection. */
  poke(aid: Aid): void {
    if (this.#signal.aborted) return;
    const driving = this.#driving.get(aid);
    if (driving !== undefined) {
      driving.again = true;
      return;
    }
    this.#driving.set(aid, { again: false });
    void this.#drive(aid).finally(() => this.#driving.delete(aid));
  }

  reconcileSoon(): void {
    if (this.#reconcileWaits || this.#signal.aborted) return;
    this.#reconcileWaits = true;
    void this.#deps.clock.sleep(0).then(() => {
      this.#reconcileWaits = false;
      return this.reconcile().catch((error: unknown) =>
        this.#report('tunnel.reconcile-failed', error),
      );
    });
  }

  /**
   * Reads every device, applies the difference, removes what is not wanted. One that still waits its turn has read
   * nothing yet: it serves all who ask meanwhile, so that a change of everything costs a few rounds and not one per peer.
   */
  reconcile(): Promise<void> {
    this.#nextReconcile ??= this.#queue.run(() => {
      this.#nextReconcile = undefined;
      return this.#reconcile();
    });
    return this.#nextReconcile;
  }

  /** Takes every device down: `kelmesh down`. */
  async removeAll(): Promise<void> {
    await this.#queue.run(async () => {
      for (const tunnelKey of this.#devices.assigned.keys())
        await this.#devices.release(tunnelKey, this.#deps.driver);
    });
  }

  async status(): Promise<readonly TunnelStatus[]> {
    const states = new Map<Said, DeviceState | undefined>();
    for (const [tunnelKey, slot] of this.#devices.assigned)
      states.set(tunnelKey, await this.#deps.driver.read(slot.name));
    return this.#deps.membership.others().map(({ aid }) => {
      const view = this.#pairs.get(aid)?.active;
      const key = view === undefined ? undefined : this.#keyOf(view.peer);
      return {
        aid,
        view,
        agreed: view === undefined ? undefined : this.#deps.pairKeys.agreed(aid, view),
        peer:
          view === undefined || key === undefined
            ? undefined
            : states.get(view.own)?.peers.get(key),
        device: view === undefined ? undefined : this.#devices.assigned.get(view.own),
      };
    });
  }

  async #reconcile(): Promise<void> {
    await this.#syncPairs();
    const wanted = this.#deps.membership.isIn ? await this.#ownDevices() : [];
    await this.#apply(wanted);
    await this.#removeUnwanted(new Set(wanted.map((device) => device.tunnelKey)));
  }

  /** Only the device of `tunnelKey`: while packets wait for it, every millisecond counts (WireGuard holds 128 of them). */
  #reconcileDevice(tunnelKey: Said): Promise<void> {
    return this.#queue.run(async () => {
      if (!this.#deps.membership.isIn) return;
      await this.#apply(
        (await this.#ownDevices()).filter((device) => device.tunnelKey === tunnelKey),
      );
    });
  }

  async #apply(devices: readonly OwnDevice[]): Promise<void> {
    const { driver, journal } = this.#deps;
    for (const desired of await this.#desired(devices)) {
      const changes = await driver.apply(desired);
      if (changes.length > 0)
        journal.debug('device.changed', { device: desired.name, changes: changes.join('; ') });
    }
  }

  async #desired(devices: readonly OwnDevice[]): Promise<readonly DesiredDevice[]> {
    const states: PairState[] = [];
    for (const pair of this.#pairs.values()) states.push(await this.#pairState(pair));
    return desiredDevices(devices, states, this.#deviceSettings());
  }

  /** Pairs follow the charter and revocations: members in, others out at once, revoked keys out of use at once. */
  async #syncPairs(): Promise<void> {
    const { membership, table, rng, pairKeys, journal } = this.#deps;
    const members = new Set(membership.others().map(({ aid }) => aid));
    for (const aid of members) {
      if (this.#pairs.has(aid)) continue;
      const pair = new Pair(table, aid, Secret.take(rng.bytes(32)));
      await this.#resume(pair);
      this.#pairs.set(aid, pair);
    }
    for (const pair of this.#pairs.values()) {
      await this.#dropRevoked(pair);
      await this.#follow(pair);
    }
    for (const [aid, pair] of this.#pairs) {
      if (members.has(aid)) continue;
      const wasUp = pair.active !== undefined;
      this.#pairs.delete(aid);
      await pair.forget();
      await pairKeys.retire(aid, []);
      const reason =
        membership.suspensionOf(aid) === undefined ? 'not a member' : 'suspended for duplicity';
      journal.info('tunnel.removed', { aid, reason });
      if (wasUp) this.#removed(aid, reason);
    }
  }

  /** After a restart: the device shows whether the other end has moved while nobody looked. */
  async #resume(pair: Pair): Promise<void> {
    const { change } = pair;
    if (change?.step !== 'parked') return;
    const now = this.#deps.clock.now();
    const state = await this.#peerState(change);
    const hasSession = (state?.lastHandshake ?? 0) > now - SESSION_MS;
    // A handshake that this end began says nothing of the other; packets from it do.
    if (hasSession && (change.knocks !== true || carriesTraffic(state)))
      await pair.activate(change, change.knocks === true, now, now + this.#settings.drainMs);
    else await pair.reach('staged', change.end);
  }

  async #dropRevoked(pair: Pair): Promise<void> {
    const { isRevoked, pairKeys } = this.#deps;
    const revoked = (view: TunnelView) => isRevoked(view.own) || isRevoked(view.peer);
    if (![...pair.views(), pair.change].some((view) => view !== undefined && revoked(view))) return;
    const wasUp = await pair.drop(revoked);
    await pairKeys.retire(pair.aid, this.#keptViews(pair));
    if (wasUp) this.#removed(pair.aid, 'key epoch revoked');
  }

  /** A pair that is not on the newest keys of both ends has a change under way, with a deadline. */
  async #follow(pair: Pair): Promise<void> {
    if (pair.inTransition) return;
    const view = this.#deps.ownKeys.currentRecord && this.#targetView(pair.aid);
    if (view === undefined) return;
    if (!sameView(pair.active, view))
      await pair.want(view, this.#deps.clock.now(), this.#settings.changeMs);
    else if (pair.change !== undefined && !sameView(pair.change, view)) await pair.settle();
  }

  #keptViews(pair: Pair): readonly TunnelView[] {
    return pair.change === undefined ? pair.views() : [...pair.views(), pair.change];
  }

  #removed(aid: Aid, reason: string): void {
    for (const listener of this.#listeners) listener.removed(aid, reason);
  }

  async #ownDevices(): Promise<readonly OwnDevice[]> {
    const { ownKeys, isRevoked, driver } = this.#deps;
    for (const tunnelKey of this.#devices.assigned.keys())
      if (isRevoked(tunnelKey)) await this.#devices.release(tunnelKey, driver);
    const live = new Set<Said>();
    for (const pair of this.#pairs.values()) for (const view of pair.views()) live.add(view.own);
    live.add(ownKeys.current.record.d);
    const devices: OwnDevice[] = [];
    for (const tunnelKey of live) {
      if (isRevoked(tunnelKey)) continue;
      if (!(await this.#canLoad(tunnelKey))) continue;
      // Two rotations at one time, or one while nobody ran: the tunnels that are up stay up, the newest key waits for its place.
      if (!this.#devices.hasFreeSlot && !this.#devices.assigned.has(tunnelKey)) continue;
      const slot = await this.#devices.assign(tunnelKey);
      const { wireguard } = await ownKeys.load(tunnelKey);
      devices.push({ tunnelKey, name: slot.name, privateKey: wireguard, listenPort: slot.port });
    }
    return devices;
  }

  /** The key of two establishment events ago cannot be derived any more: what used it has ended. */
  async #canLoad(tunnelKey: Said): Promise<boolean> {
    const { ownKeys } = this.#deps;
    try {
      await ownKeys.load(tunnelKey);
      return true;
    } catch (error) {
      if ((error as { code?: string }).code !== 'IDENTITY_KEYS_LOST') throw error;
      if (tunnelKey === ownKeys.current.record.d) throw error;
      for (const pair of this.#pairs.values()) {
        const wasUp = await pair.drop((view) => view.own === tunnelKey);
        if (wasUp) this.#removed(pair.aid, 'the key of the tunnel is two rotations old');
      }
      return false;
    }
  }

  async #removeUnwanted(wanted: ReadonlySet<Said>): Promise<void> {
    const { ownKeys, driver, journal } = this.#deps;
    for (const [tunnelKey, slot] of this.#devices.assigned) {
      if (wanted.has(tunnelKey)) continue;
      await this.#devices.release(tunnelKey, driver);
      ownKeys.forget(tunnelKey);
      journal.info('device.removed', { device: slot.name });
    }
  }

  #deviceSettings(): DeviceSettings {
    const { membership, identity } = this.#deps;
    const { mesh } = membership;
    return {
      mtu: this.#settings.mtu,
      keepalive: this.#settings.keepalive,
      addresses: mesh === undefined ? [] : [`${overlayAddress(mesh, identity.aid)}/128`],
    };
  }

  async #pairState(pair: Pair): Promise<PairState> {
    const { membership } = this.#deps;
    const { active, target, draining } = pair;
    return {
      aid: pair.aid,
      route: overlayRoute(membership.mesh as Said, pair.aid),
      active: await this.#pairView(pair, active),
      target: await this.#pairView(pair, target ?? this.#foreseen(pair)),
      parked: target?.parked ?? false,
      draining: await this.#pairView(pair, draining),
    };
  }

  /** Before anything is agreed the peer stands on the device with a random preshared key: nothing comes up. */
  #foreseen(pair: Pair): TargetView | undefined {
    const view = this.#targetView(pair.aid);
    if (view === undefined || pair.active !== undefined) return undefined;
    return { ...view, initiates: false, parked: false };
  }

  async #pairView(
    pair: Pair,
    view: TargetView | ActiveView | undefined,
  ): Promise<PairView | undefined> {
    if (view === undefined) return undefined;
    const peerKey = this.#keyOf(view.peer);
    if (peerKey === undefined) return undefined;
    const { pairKeys } = this.#deps;
    const isAgreed = pairKeys.agreed(pair.aid, view) !== undefined;
    const begins = view.initiates || sameView(this.#cold.get(pair.aid), view);
    return {
      own: view.own,
      peer: view.peer,
      peerKey,
      presharedKey: isAgreed ? await pairKeys.presharedKey(pair.aid, view) : pair.unagreedKey,
      endpoint: begins && isAgreed ? this.#endpointOf(pair.aid, view.peer) : undefined,
    };
  }

  #keyOf(tunnelKey: Said): WireGuardKey | undefined {
    const record = this.#deps.records.get(tunnelKey)?.record;
    return record?.t === 'tun'
      ? (Buffer.from(record.wg).toString('hex') as WireGuardKey)
      : undefined;
  }

  #endpointOf(aid: Aid, tunnelKey: Said): UdpEndpoint | undefined {
    const record = this.#deps.records.latest('end', aid)?.record;
    for (const text of record?.ue.find(({ t }) => t === tunnelKey)?.a ?? []) {
      try {
        return parseUdpEndpoint(text);
      } catch {
        // A host name or an address family that this end cannot use: the next one may do.
      }
    }
    return undefined;
  }

  /** The newest keys of both ends, when both are known. */
  #targetView(aid: Aid): TunnelView | undefined {
    const { kel, records, ownKeys, clock } = this.#deps;
    const establishment = kel.state(aid)?.establishment.said;
    if (establishment === undefined) return undefined;
    const peer = currentTunnelKeyOf(records, aid, establishment, formatDateTime(clock.now()));
    const { isRevoked } = this.#deps;
    if (peer !== undefined && (isRevoked(peer.d) || isRevoked(ownKeys.current.record.d)))
      return undefined;
    return peer === undefined ? undefined : { own: ownKeys.current.record.d, peer: peer.d };
  }

  /** Agrees and changes over until the pair is on its newest view or has to wait for something that pokes again. */
  async #drive(aid: Aid): Promise<void> {
    const { clock, membership } = this.#deps;
    for (let failures = 0; !this.#signal.aborted; ) {
      const driving = this.#driving.get(aid);
      if (driving !== undefined) driving.again = false;
      try {
        if (!membership.others().some((member) => member.aid === aid)) return;
        const isDone = await this.#step(aid);
        if (isDone && driving?.again !== true) return;
        failures = 0;
        if (!isDone) await clock.sleep(RETRY_MS, this.#signal);
      } catch (error) {
        if (this.#signal.aborted) return;
        failures += 1;
        this.#report('tunnel.retry', error, aid);
        await clock
          .sleep(Math.min(RETRY_MS * 2 ** (failures - 1), MAX_RETRY_MS), this.#signal)
          .catch(() => undefined);
      }
    }
  }

  /** @returns whether there is nothing more to do by itself */
  async #step(aid: Aid): Promise<boolean> {
    const { directory, pairKeys, identity, clock } = this.#deps;
    await this.reconcile();
    const pair = this.#pairs.get(aid);
    const view = this.#targetView(aid);
    if (
      pair === undefined ||
      view === undefined ||
      pair.inTransition ||
      directory.peerOf(aid) === undefined
    )
      return true;
    const agreed = await pairKeys.ensure(aid, view);
    if (agreed === undefined) return true;
    if (sameView(pair.active, view)) {
      await this.reconcile();
      // The other end did not come to say that it saw the handshake; the own device shows it.
      if (pair.change !== undefined && (await this.#lastHandshake(view)) > pair.change.since)
        await pair.settle();
      return true;
    }
    if ((await this.#lastHandshake(view)) > clock.now() - SESSION_MS) {
      // An attempt that broke off has moved the other end all the same, and it has let go of the former key.
      await this.#activate(pair, view, false);
      this.#established(pair);
      return true;
    }
    const ownIsNew = pair.active?.own !== view.own;
    const peerIsNew = pair.active?.peer !== view.peer;
    const parks = ownIsNew && (!peerIsNew || identity.aid < aid);
    if (parks || clock.now() - agreed.at > PATIENCE_MS) {
      await this.#park(pair, view, agreed);
      return true;
    }
    return false;
  }

  async #park(pair: Pair, view: TunnelView, agreed: Agreed): Promise<void> {
    const { directory, network, clock } = this.#deps;
    const peer = directory.peerOf(pair.aid);
    if (peer === undefined || pair.inTransition) return;
    pair.inTransition = true;
    let knocks = false;
    let stream: MessageStream | undefined;
    try {
      const former = pair.active;
      await this.#reach(pair, view, 'staged', 'parking');
      await this.reconcile();
      if (!this.#devices.assigned.has(view.own))
        throw new TunnelError('TUNNEL_BUSY', 'the former key of a tunnel drains; the newest waits');
      await this.#receipt(pair, 'staged', view, former);
      stream = await network.open(peer, transitionProtocol, transitionLimits);
      await runParking(
        stream,
        clock,
        { parking: view.own, moving: view.peer, th: agreed.th },
        {
          mayKnock: !this.#deaf.has(pair.aid),
          park: async (starts) => {
            knocks = starts;
            await this.#reach(pair, view, 'parked', 'parking', knocks);
            await this.#reconcileDevice(view.own);
          },
          traffic: (withinMs) => this.#traffic(view, withinMs),
          handshake: (isOver) => this.#handshake(view, clock.now() - SESSION_MS, isOver),
          activate: () => this.#activate(pair, view, knocks),
          unpark: async () => {
            await this.#reach(pair, view, 'staged', 'parking');
            await this.reconcile();
          },
        },
      );
      this.#deaf.delete(pair.aid);
      await this.reconcile();
      await this.#receipt(pair, 'warmed', view, former);
      await this.#receipt(pair, 'flipped', view, former);
      this.#established(pair);
    } catch (error) {
      // Perhaps only the other end can begin: it stands behind a NAT that lets nobody in.
      if (knocks && !this.#deaf.delete(pair.aid)) this.#deaf.add(pair.aid);
      stream?.abort(error as Error);
      throw error;
    } finally {
      pair.inTransition = false;
    }
  }

  async #answer(stream: MessageStream): Promise<void> {
    const { directory, clock } = this.#deps;
    const aid = directory.aidOf(stream.peer);
    const pair = aid === undefined ? undefined : this.#pairs.get(aid);
    if (pair === undefined)
      return stream.abort(new TunnelError('TUNNEL_REFUSED', 'the peer is not a member'));
    const change = { isOurs: false };
    try {
      await runMoving(stream, clock, this.#movingSteps(pair, change));
      this.#established(pair);
    } catch (error) {
      stream.abort(error as Error);
      this.#report('tunnel.change-failed', error, pair.aid);
    } finally {
      // A change that was refused because another is under way leaves that one alone.
      if (change.isOurs) pair.inTransition = false;
      this.poke(pair.aid);
    }
  }

  #movingSteps(pair: Pair, change: { isOurs: boolean }): MovingSteps {
    let view: TunnelView | undefined;
    let former: TunnelView | undefined;
    return {
      stage: async (prepare) => {
        if (pair.inTransition)
          throw new TunnelError('TUNNEL_BUSY', 'a change of this pair is under way');
        view = this.#checkPrepare(pair, prepare);
        pair.inTransition = true;
        change.isOurs = true;
        former = pair.active;
        if (sameView(pair.active, view)) return;
        await this.#reach(pair, view, 'staged', 'moving');
        await this.reconcile();
        await this.#receipt(pair, 'staged', view, former);
      },
      move: (arrived, knocks) => this.#move(pair, view as TunnelView, arrived, !knocks),
      settle: async () => {
        await this.#receipt(pair, 'warmed', view as TunnelView, former);
        await this.#receipt(pair, 'flipped', view as TunnelView, former);
        await pair.settle();
        // The former key of a peer that rotated is of no use here once the new one has its handshake.
        if (pair.draining !== undefined && pair.draining.own === pair.active?.own)
          await this.#drained(pair, pair.draining);
        await this.reconcile();
      },
    };
  }

  #checkPrepare(pair: Pair, prepare: Prepare): TunnelView {
    const view = this.#targetView(pair.aid);
    if (view === undefined || view.own !== prepare.moving || view.peer !== prepare.parking) {
      throw new TunnelError(
        'TUNNEL_REFUSED',
        'the keys named are not the newest that this end knows',
      );
    }
    const agreed = this.#deps.pairKeys.agreed(pair.aid, view);
    if (agreed === undefined || !equalBytes(agreed.th, prepare.th))
      throw new TunnelError(
        'TUNNEL_REFUSED',
        'the agreement named is not the one that this end confirmed',
      );
    return view;
  }

  /** On disk first; newer keys that came meanwhile end this attempt. */
  async #reach(
    pair: Pair,
    view: TunnelView,
    step: ChangeStep,
    end: PairChange['end'],
    knocks = false,
  ): Promise<void> {
    await pair.want(view, this.#deps.clock.now(), this.#settings.changeMs);
    await pair.reach(step, end, knocks);
  }

  /** Nothing else is done to the devices from here on: the peer's packets wait until the prefix has moved. */
  async #move(
    pair: Pair,
    view: TunnelView,
    arrived: Promise<void>,
    initiates: boolean,
  ): Promise<void> {
    const { clock, driver } = this.#deps;
    arrived.catch(() => undefined);
    await this.#queue.run(async () => {
      const now = clock.now();
      await pair.activate(view, initiates, now, now + this.#settings.drainMs);
      const devices = await this.#ownDevices();
      const desired = await this.#desired(
        devices.filter(({ tunnelKey }) => tunnelKey === view.own),
      );
      await arrived;
      for (const device of desired) await driver.applyPeers(device);
    });
    // Routes, where this end has rotated too.
    await this.#reconcileDevice(view.own);
    this.#drainLater(pair);
  }

  async #activate(pair: Pair, view: TunnelView, initiates: boolean): Promise<void> {
    const now = this.#deps.clock.now();
    await pair.activate(view, initiates, now, now + this.#settings.drainMs);
    await this.#reconcileDevice(view.own);
    this.#drainLater(pair);
  }

  #drainLater(pair: Pair): void {
    const { draining } = pair;
    if (draining === undefined) return;
    const { clock } = this.#deps;
    void clock.sleep(Math.max(0, draining.until - clock.now()), this.#signal).then(
      async () => {
        if (!sameView(pair.draining, draining)) return;
        await this.#drained(pair, draining);
        await this.#deps.pairKeys.retire(pair.aid, this.#keptViews(pair));
        this.reconcileSoon();
      },
      () => undefined,
    );
  }

  /**
   * The moving end starts handshakes with the new key only after it has moved for good. So one that an earlier attempt
   * brought, whose end this side did not hear of, counts as well: the other end has let go of the former key.
   */
  async #handshake(view: TunnelView, since: number, isOver = () => false): Promise<void> {
    const { clock } = this.#deps;
    for (const end = clock.now() + HANDSHAKE_MS; clock.now() < end; ) {
      const isLast = isOver();
      if ((await this.#lastHandshake(view)) >= since) return;
      if (isLast) break;
      await clock.sleep(HANDSHAKE_POLL_MS, this.#signal);
    }
    throw new TunnelError('TUNNEL_NO_HANDSHAKE', `no handshake within ${HANDSHAKE_MS} ms`);
  }

  async #traffic(view: TunnelView, withinMs: number): Promise<void> {
    const { clock } = this.#deps;
    for (const end = clock.now() + withinMs; ; ) {
      const isLast = clock.now() >= end;
      if (carriesTraffic(await this.#peerState(view))) return;
      if (isLast) break;
      await clock.sleep(HANDSHAKE_POLL_MS, this.#signal);
    }
    throw new TunnelError('TUNNEL_NO_HANDSHAKE', `no packet within ${withinMs} ms`);
  }

  /** Milliseconds since the Unix epoch; 0: never. */
  async #lastHandshake(view: TunnelView): Promise<number> {
    return (await this.#peerState(view))?.lastHandshake ?? 0;
  }

  async #peerState(view: TunnelView): Promise<PeerState | undefined> {
    const slot = this.#devices.assigned.get(view.own);
    const key = this.#keyOf(view.peer);
    if (slot === undefined || key === undefined) return undefined;
    return (await this.#deps.driver.read(slot.name))?.peers.get(key);
  }

  async #drained(pair: Pair, draining: DrainingView): Promise<void> {
    await this.#receipt(pair, 'drained', draining, pair.active);
    await pair.drained();
  }

  /** Never in the way of packets: the caller has none waiting. */
  async #receipt(
    pair: Pair,
    step: PairReceipt['step'],
    view: TunnelView,
    other: TunnelView | undefined,
  ): Promise<void> {
    const kind = this.kindOf(other, view);
    if (kind === 'first') return;
    const state = await this.#peerState(view).catch(() => undefined);
    const receipt: PairReceipt = {
      step,
      view,
      kind,
      generation: pair.active?.generation ?? 0,
      rxBytes: Number(state?.rxBytes ?? -1n),
      txBytes: Number(state?.txBytes ?? -1n),
    };
    for (const listener of this.#listeners) listener.receipt(pair.aid, receipt);
  }

  #established(pair: Pair): void {
    const view = pair.active;
    if (view === undefined) return;
    this.#deps.journal.info('tunnel.up', { aid: pair.aid, generation: view.generation });
    for (const listener of this.#listeners) listener.established(pair.aid, view);
  }

  /** At every epoch boundary the preshared keys of all pairs are written; WireGuard's next handshake takes them. */
  async #epochLoop(signal: AbortSignal): Promise<void> {
    const { clock, pairKeys } = this.#deps;
    for (const pair of this.#pairs.values()) this.#drainLater(pair);
    while (!signal.aborted) {
      await clock
        .sleep(Math.max(50, pairKeys.nextEpochAt() - clock.now()), signal)
        .catch(() => undefined);
      if (!signal.aborted) this.pokeAll();
    }
  }

  #report(event: string, error: unknown, aid?: Aid): void {
    if (this.#signal.aborted) return;
    const { code } = error as { code?: string };
    this.#deps.journal.warn(event, {
      ...(aid === undefined ? {} : { aid }),
      code: code ?? 'none',
      message: (error as Error).message,
    });
  }
}

/**
 * The tunnels of this node: what the charter, the logs and the agreements ask for, compared with what is,
 * and changed as little as possible. Control runs over the network of the agents, never through a tunnel.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import type { KelStore } from '#kel/store/kel-store';
import { equalBytes } from '#src/bytes';
import { type Clock, formatDateTime } from '#src/clock';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import type {
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
import { type ActiveView, Pair, type TargetView } from './pair.ts';
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
}

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
}

const HANDSHAKE_POLL_MS = 50;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** A session is renewed after 120 s and ends after 180 s (WireGuard whitepaper 6.1): a handshake this old still carries traffic. */
const SESSION_MS = 150_000;
/** The end that waits for the other to park begins itself after this. */
const PATIENCE_MS = 10_000;

export class Tunnels {
  readonly #deps: TunnelsDeps;
  readonly #settings: TunnelSettings;
  readonly #devices: Devices;
  readonly #pairs = new Map<Aid, Pair>();
  readonly #driving = new Map<Aid, { again: boolean }>();
  readonly #queue = new SerialQueue();
  readonly #listeners = new Set<TunnelListener>();
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

  /** Brings the devices to the desired state, then follows every change until `signal` aborts. Devices stay when it does. */
  async start(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const { network, pairKeys } = this.#deps;
    network.handle(transitionProtocol, transitionLimits, (stream) => this.#answer(stream));
    pairKeys.onAgreed((aid) => this.poke(aid));
    await this.reconcile();
    this.pokeAll();
    void this.#epochLoop(signal);
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
    const states: PairState[] = [];
    for (const pair of this.#pairs.values()) states.push(await this.#pairState(pair));
    for (const desired of desiredDevices(devices, states, this.#deviceSettings())) {
      const changes = await driver.apply(desired);
      if (changes.length > 0)
        journal.debug('device.changed', { device: desired.name, changes: changes.join('; ') });
    }
  }

  /** Pairs follow the charter: members in, others out at once. */
  async #syncPairs(): Promise<void> {
    const { membership, table, rng, pairKeys, journal } = this.#deps;
    const members = new Set(membership.others().map(({ aid }) => aid));
    for (const aid of members) {
      if (!this.#pairs.has(aid))
        this.#pairs.set(aid, new Pair(table, aid, Secret.take(rng.bytes(32))));
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
      if (wasUp) for (const listener of this.#listeners) listener.removed(aid, reason);
    }
  }

  async #ownDevices(): Promise<readonly OwnDevice[]> {
    const { ownKeys } = this.#deps;
    const live = new Set<Said>([ownKeys.current.record.d]);
    for (const pair of this.#pairs.values()) for (const view of pair.views()) live.add(view.own);
    const devices: OwnDevice[] = [];
    for (const tunnelKey of live) {
      const slot = await this.#devices.assign(tunnelKey);
      const { wireguard } = await ownKeys.load(tunnelKey);
      devices.push({ tunnelKey, name: slot.name, privateKey: wireguard, listenPort: slot.port });
    }
    return devices;
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
    return {
      own: view.own,
      peer: view.peer,
      peerKey,
      presharedKey: isAgreed ? await pairKeys.presharedKey(pair.aid, view) : pair.unagreedKey,
      endpoint: view.initiates && isAgreed ? this.#endpointOf(pair.aid, view.peer) : undefined,
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
    let stream: MessageStream | undefined;
    try {
      pair.target = { ...view, initiates: false, parked: false };
      await this.reconcile();
      stream = await network.open(peer, transitionProtocol, transitionLimits);
      await runParking(
        stream,
        clock,
        { parking: view.own, moving: view.peer, th: agreed.th },
        {
          park: async () => {
            pair.target = { ...view, initiates: false, parked: true };
            await this.#reconcileDevice(view.own);
          },
          handshake: () => this.#handshake(view),
          activate: () => this.#activate(pair, view, false),
          unpark: () => this.#setTarget(pair, { ...view, initiates: false, parked: false }),
        },
      );
      await this.reconcile();
      this.#established(pair);
    } catch (error) {
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
    return {
      stage: async (prepare) => {
        if (pair.inTransition)
          throw new TunnelError('TUNNEL_BUSY', 'a change of this pair is under way');
        view = this.#checkPrepare(pair, prepare);
        pair.inTransition = true;
        change.isOurs = true;
        if (!sameView(pair.active, view))
          await this.#setTarget(pair, { ...view, initiates: true, parked: false });
      },
      move: () => this.#activate(pair, view as TunnelView, true),
      settle: async () => {
        // The former key of a peer that rotated is of no use here once the new one has its handshake.
        if (pair.draining !== undefined && pair.draining.own === pair.active?.own)
          await pair.drained();
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

  async #setTarget(pair: Pair, target: TargetView): Promise<void> {
    pair.target = target;
    await this.reconcile();
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
        await pair.drained();
        await this.#deps.pairKeys.retire(pair.aid, pair.views());
        this.reconcileSoon();
      },
      () => undefined,
    );
  }

  async #handshake(view: TunnelView, since: number): Promise<void> {
    const { driver, clock } = this.#deps;
    const slot = this.#devices.assigned.get(view.own);
    const key = this.#keyOf(view.peer);
    for (
      const end = clock.now() + HANDSHAKE_MS;
      slot !== undefined && key !== undefined && clock.now() < end;
    ) {
      const state = await driver.read(slot.name);
      if ((state?.peers.get(key)?.lastHandshake ?? 0) > clock.now() - SESSION_MS) return;
      await clock.sleep(HANDSHAKE_POLL_MS, this.#signal);
    }
    throw new TunnelError('TUNNEL_NO_HANDSHAKE', `no handshake within ${HANDSHAKE_MS} ms`);
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

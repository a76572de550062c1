/**
 * The tunnels of this node, as the rest of the agent sees them. `reconciler.ts` keeps the devices as they should be, `changes.ts`
 * moves each pair to its newest keys. Control runs over the network of the agents, never through a tunnel.
 */
import type { Aid, Said } from '#kel/identifiers';
import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import { ticks } from '#src/ticks';
import { receiverOf } from '#src/wireguard/handshake-initiation';
import { wireguardPrivateKey } from '#src/wireguard/static-key';
import type { PeerState, TunnelDriver, WireGuardKey } from '#src/wireguard/tunnel-driver';
import type { WakeSocket } from '#src/wireguard/wake-socket';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { Network } from '../../network/network.ts';
import type { DeviceWay } from '../reach/device-ways.ts';
import { Changes, type ChangesSettings, type ReceiptStep, type StepFailure } from './changes.ts';
import { type Device, type DeviceSlots, Devices } from './devices.ts';
import { Dormancy } from './dormancy.ts';
import type { Edge, Edges } from './edges.ts';
import type { EpochKeys } from './epoch-keys.ts';
import { TunnelError } from './errors.ts';
import { Handshakes } from './handshakes.ts';
import { asked, echoed, handshakeAge, isQuiet, type Life, lived, silentMs } from './liveness.ts';
import type { OwnTunnelKeys } from './own-tunnel-keys.ts';
import type { ActiveView, DrainingView, LeftBehind, Pair, PairChange } from './pair.ts';
import type { Agreed, PairKeys } from './pair-keys.ts';
import { PairWays } from './pair-ways.ts';
import { Reconciler, type ReconcilerSettings } from './reconciler.ts';
import { isSettling, wouldBeLeftBehind } from './room.ts';
import type { PlacedView, TunnelView } from './view.ts';
import type { ChangeKind, Views } from './views.ts';

export interface TunnelSettings extends DeviceSlots, ChangesSettings, ReconcilerSettings {
  /** How long nothing goes through a lazy tunnel before it sleeps, in milliseconds. */
  readonly lazyIdleMs: number;
}

export interface TunnelsDeps {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly views: Views;
  readonly edges: Edges;
  readonly ownKeys: OwnTunnelKeys;
  readonly pairKeys: PairKeys;
  readonly epochKeys: Pick<EpochKeys, 'show' | 'epoch' | 'untilNextEpoch'>;
  readonly driver: TunnelDriver;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly table: StateTable;
  readonly journal: Journal;
  /** Bytes of the longest packet to `aid`; absent or undefined: what the device takes. */
  readonly routeMtu?: (aid: Aid) => number | undefined;
  /** Whether the `tun` record was revoked: no view uses it any more. */
  readonly isRevoked: (tunnelKey: Said) => boolean;
  /** Where packets to pairs that sleep are heard; absent: none sleeps. */
  readonly wakeSocket?: () => Promise<WakeSocket>;
  /** The other end has to begin the agreement: it is told that this one wants the tunnel. */
  readonly askAwake?: (aid: Aid, view: TunnelView) => Promise<void>;
  /** Whether the other end lets the tunnel sleep too; it does at once where it says so. */
  readonly askAsleep?: (aid: Aid, view: TunnelView) => Promise<void>;
  /**
   * Sends something to the overlay address of `aid`, which at least its WireGuard answers; absent: nobody is asked.
   * @returns whether it was answered, or nobody can say
   */
  readonly reaches?: (aid: Aid) => Promise<boolean>;
  /** What was found for a view in place of the address that the record names. */
  readonly wayOf?: (aid: Aid, view: TunnelView) => DeviceWay | undefined;
  /** A view stands on devices at both ends and waits for its handshake. */
  readonly seekWay?: (aid: Aid, view: TunnelView) => void;
}

/** One pair as `rotate status` shows it. */
export interface PairProgress {
  readonly aid: Aid;
  readonly active: ActiveView | undefined;
  readonly change: PairChange | undefined;
  readonly behind: LeftBehind | undefined;
  /** Oldest first. */
  readonly draining: readonly DrainingView[];
}

/** What happened to a pair, with what the own device counted: for the audit log. */
export interface PairReceipt {
  readonly step: ReceiptStep;
  readonly view: TunnelView;
  readonly kind: ChangeKind;
  readonly generation: number;
  /** Of the peer on the own device: -1 without a device. */
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Packets that the own device has dropped since it was made, of all its peers together; -1 without a device. */
  readonly rxDropped: number;
  readonly txDropped: number;
}

/** One tunnel as `status` and the proof see it. */
export interface TunnelStatus {
  readonly aid: Aid;
  /** What the policy has for the two. */
  readonly edge: Edge;
  readonly view: ActiveView | undefined;
  readonly agreed: Agreed | undefined;
  readonly peer: PeerState | undefined;
  readonly device: Device | undefined;
  /** Prefixes behind it that are routed to it. */
  readonly subnets: readonly string[];
  /** Milliseconds since the last handshake, whatever the clock was set to meanwhile; undefined: there was none. */
  readonly handshakeAge: number | undefined;
  /** How long nothing has come although it was asked; undefined: it is alive, or not known yet. */
  readonly silentMs: number | undefined;
  /** An end that answers echoes answers none, though its WireGuard is heard. */
  readonly isUnanswered: boolean;
  /** It has no tunnel until a packet wants to go there. */
  readonly isAsleep: boolean;
  /** The view that is to follow, or to be the first. */
  readonly coming: ComingView | undefined;
  readonly failure: StepFailure | undefined;
  /** The member over which its packets go; undefined: they go directly, or not at all. */
  readonly relay: Aid | undefined;
}

export interface ComingView {
  readonly isAgreed: boolean;
  /** How long it has been on a device; undefined: it is on none yet. */
  readonly stagedMs: number | undefined;
  readonly ownPort: number | undefined;
  /** Address and UDP port of the other end; undefined: not known. */
  readonly endpoint: string | undefined;
}

export interface TunnelListener {
  /** A view became active and its handshake was seen, at this end. */
  established(aid: Aid, view: ActiveView): void;
  removed(aid: Aid, reason: string): void;
  receipt(aid: Aid, receipt: PairReceipt): void;
}

/** How often sessions are looked at, and by how much the higher AID leaves the lower one the first try. */
const COLD_STAGGER_MS = 30_000;
/** WireGuard uses no session that is older (REJECT_AFTER_TIME, 180 s); a little more, for clocks that tick apart. */
const REJECT_AFTER_MS = 185_000;
/** A session that carries packets is renewed earlier (REKEY_AFTER_TIME, 120 s, and two retries). */
const REKEY_MS = 135_000;
const HANDSHAKE_MS = 15_000;
/** How long a handshake has that costs no session; it takes a round trip. */
const GENTLE_MS = 1_000;
/** How long a rotation waits in all for tunnels that still change over. */
const SETTLE_MS = 10_000;
const SETTLE_POLL_MS = 50;
/** A boundary that comes with a step of the clock is noticed within this. */
const EPOCH_LOOK_MS = 15_000;
const FIRST_LOOKS = 4;
/** How often it is looked whether something has come from each peer. */
const LIFE_LOOK_MS = 15_000;
/** An end whose other end would sleep does so after this part of the time. */
const ASKED_IDLE_PART = 0.5;
/** Datagrams that are looked at: WireGuard sends one in five seconds for each peer that is wanted. */
const WAKINGS = { burst: 2_048, perSecond: 256 };

export class Tunnels {
  readonly #deps: TunnelsDeps;
  readonly #devices: Devices;
  readonly #views: Views;
  readonly #dormancy: Dormancy;
  readonly #reconciler: Reconciler;
  readonly #handshakes: Handshakes;
  readonly #changes: Changes;
  /** For whoever looks for ways between devices. */
  readonly ways: PairWays;
  readonly #lazyIdleMs: number;
  readonly #wakings: Allowance<'all'>;
  readonly #listeners = new Set<TunnelListener>();
  /** Of the active views. */
  readonly #lives = new Map<Aid, { readonly view: ActiveView; readonly life: Life }>();
  /** In the order of the steps. */
  readonly #receipts = new SerialQueue();
  #signal: AbortSignal = AbortSignal.abort();
  #reconcileWaits = false;

  constructor(deps: TunnelsDeps, settings: TunnelSettings) {
    this.#deps = deps;
    const devices = new Devices(deps.table, settings);
    const { views, edges, clock } = deps;
    const dormancy = new Dormancy({ edges, clock, idleMs: settings.lazyIdleMs });
    this.#dormancy = dormancy;
    this.#lazyIdleMs = settings.lazyIdleMs;
    this.#wakings = new Allowance(clock, WAKINGS);
    const reconciler = new Reconciler(
      {
        ...deps,
        views,
        dormancy,
        devices,
        removed: (aid, reason) => this.#removed(aid, reason),
      },
      settings,
    );
    this.#devices = devices;
    this.#views = views;
    this.#reconciler = reconciler;
    this.#handshakes = new Handshakes(deps);
    this.ways = new PairWays({
      reconciler,
      devices,
      clock: deps.clock,
      status: () => this.status(),
      relayOf: (aid, view) => deps.wayOf?.(aid, view)?.relay,
      isSilent: (aid) => {
        const life = this.#lives.get(aid)?.life;
        return life !== undefined && silentMs(life, deps.clock.monotonic()) !== undefined;
      },
    });
    this.#changes = new Changes(
      {
        ...deps,
        views,
        dormancy,
        reconciler,
        handshakes: this.#handshakes,
        established: ({ aid }, view) => {
          for (const listener of this.#listeners) listener.established(aid, view);
        },
        reached: (...receipt) => void this.#receipts.run(() => this.#receipt(...receipt)),
      },
      settings,
    );
  }

  listen(listener: TunnelListener): void {
    this.#listeners.add(listener);
  }

  /** The first device of each own key, by the SAID of its `tun` record: for the `end` record and for `status`. */
  get devices(): ReadonlyMap<Said, Device> {
    return new Map(
      this.#devices
        .all()
        .toReversed()
        .map((device) => [device.tunnelKey, device]),
    );
  }

  /** Of every device: the same own key may stand on several. */
  get deviceNames(): ReadonlySet<string> {
    return new Set(this.#devices.all().map(({ name }) => String(name)));
  }

  /** A tunnel that was up before changes over, or its former key drains. */
  get isRotating(): boolean {
    return this.#pairs().some(
      ({ isExchanging, active, change, draining }) =>
        isExchanging || (active !== undefined && change !== undefined) || draining.length > 0,
    );
  }

  /** Every pair, in AID order. */
  progress(): readonly PairProgress[] {
    return this.#pairs()
      .map(({ aid, active, change, behind, draining }) => ({
        aid,
        active,
        change,
        behind,
        draining,
      }))
      .sort((a, b) => (a.aid < b.aid ? -1 : 1));
  }

  activeView(aid: Aid): ActiveView | undefined {
    return this.#reconciler.pairs.get(aid)?.active;
  }

  kindOf(former: TunnelView | undefined, view: TunnelView): ChangeKind {
    return this.#views.kindOf(former, view);
  }

  /** Whether the tunnel to `aid` goes with the next own key: it has not followed the last one. */
  wouldBeLeftBehind(aid: Aid): boolean {
    const pair = this.#reconciler.pairs.get(aid);
    return pair !== undefined && wouldBeLeftBehind(pair, this.#deps.ownKeys.currentRecord);
  }

  /** When the tunnel to `aid` went because it did not follow a rotation; undefined when it has one, or never had. */
  leftBehind(aid: Aid): LeftBehind | undefined {
    return this.#reconciler.pairs.get(aid)?.behind;
  }

  /**
   * Before the own key changes: resolves when no pair is about to finish the change before, and at the latest after
   * {@link SETTLE_MS}, whatever a peer does.
   */
  async settle(): Promise<void> {
    const { clock, directory } = this.#deps;
    // Counted, not measured: a clock that is set meanwhile makes it neither longer nor shorter.
    for (let looks = 0; looks < SETTLE_MS / SETTLE_POLL_MS; looks++) {
      const isWaitedFor = (pair: Pair) =>
        isSettling(pair, directory.peerOf(pair.aid) !== undefined, clock.now());
      if (!this.#pairs().some(isWaitedFor)) return;
      await clock.sleep(SETTLE_POLL_MS, this.#signal).catch(() => undefined);
      if (this.#signal.aborted) return;
    }
  }

  /** Writes the preshared keys that are agreed now. */
  writePresharedKeys(): Promise<void> {
    return this.#reconciler.writePeers();
  }

  /**
   * Waits for a handshake with `aid` later than `since`, and begins one when there is none yet; where that does not bring it, every
   * session of the device is given up for new ones.
   * Throws TUNNEL_NO_HANDSHAKE.
   */
  async rekey(aid: Aid, since: number): Promise<void> {
    const { driver, rng, clock } = this.#deps;
    const view = this.activeView(aid);
    const device = view && this.#devices.at(view.slot);
    if (view === undefined || device === undefined)
      throw new TunnelError('TUNNEL_NO_HANDSHAKE', `there is no tunnel to ${aid}`);
    const last = async () => (await this.#reconciler.peerState(view))?.lastHandshake ?? 0;
    if ((await last()) > since) return;
    const place = this.#reconciler.placeOf(view);
    const comesWithin = async (limitMs: number): Promise<boolean> => {
      using wait = this.#handshakes.wait(place);
      const end = clock.monotonic() + limitMs;
      for (let isNews = true; ; ) {
        const isLast = clock.monotonic() >= end;
        if ((isNews || isLast) && (await last()) > since) return true;
        if (isLast) return false;
        isNews = await wait.next(Math.max(0, end - clock.monotonic()), this.#signal);
      }
    };
    const isBegun = place && (await driver.beginHandshake?.(place.device, place.key));
    if (isBegun === true && (await comesWithin(GENTLE_MS))) return;
    using raw = Secret.take(rng.bytes(32));
    using throwAway = wireguardPrivateKey(raw);
    await driver.rekey(device.name, throwAway);
    // Only now: nothing else is asked of the program while its key is changed, and the first look misses nothing.
    if (!(await comesWithin(HANDSHAKE_MS)))
      throw new TunnelError('TUNNEL_NO_HANDSHAKE', `no handshake within ${HANDSHAKE_MS} ms`);
  }

  /** Brings the devices to the desired state, then follows every change until `signal` aborts. Devices stay when it does. */
  async start(signal: AbortSignal): Promise<void> {
    const { driver, pairKeys } = this.#deps;
    // Whoever enters the mesh again, because something after this has failed, finds the tunnels started.
    if (this.#signal === signal) return this.reconcile();
    this.#signal = signal;
    pairKeys.onAgreed((aid) => {
      this.#dormancy.wake(aid);
      this.poke(aid);
    });
    const moved = await this.#devices.configure(driver);
    // A device that cannot be made now is tried again; the tunnels that stand on others go on.
    await this.reconcile().catch((error: unknown) => {
      if (error !== this.deviceFailure) throw error;
      this.#failed(error);
    });
    // What sleeps has left the devices by now, with sessions that an earlier run may have left.
    if (await this.#makeBed(signal)) this.reconcileSoon();
    this.#changes.start(signal);
    await this.#wakeColdPairs(moved);
    this.pokeAll();
    void this.#epochLoop(signal);
    void this.#lifeLoop(signal);
    void this.#idleLoop(signal);
    void this.#sessionLoop(signal);
  }

  /** Something about all peers may have changed. */
  pokeAll(): void {
    this.reconcileSoon();
    for (const { aid } of this.#deps.edges.open()) this.poke(aid);
  }

  /** Something about `aid` may have changed: its keys, its endpoints, the agreement, the connection. */
  poke(aid: Aid): void {
    this.#changes.poke(aid);
  }

  reconcileSoon(): void {
    if (this.#reconcileWaits || this.#signal.aborted) return;
    this.#reconcileWaits = true;
    void this.#deps.clock.sleep(0).then(() => {
      this.#reconcileWaits = false;
      return this.reconcile().catch((error: unknown) => this.#failed(error));
    });
  }

  /** Brings the devices to what is wanted now; see {@link Reconciler.reconcile}. */
  async reconcile(): Promise<void> {
    try {
      await this.#reconciler.reconcile();
    } finally {
      this.#changes.reconciled();
    }
  }

  /**
   * Puts back what somebody has taken from a device, addresses, routes or the link.
   * @param suspects devices on which something is known to be wrong  @returns whether anything was to be put back
   */
  async repair(suspects?: ReadonlySet<string>): Promise<boolean> {
    const { driver, journal } = this.#deps;
    const damaged = (await driver.damaged?.(suspects).catch(() => undefined)) ?? [];
    if (damaged.length === 0) return false;
    journal.warn('device.damaged', { devices: damaged.join(', ') });
    await this.reconcile();
    return true;
  }

  /** Takes every device down: `kelmesh down`. */
  removeAll(): Promise<void> {
    return this.#reconciler.removeAll();
  }

  async status(): Promise<readonly TunnelStatus[]> {
    const { driver, membership, edges, pairKeys, clock } = this.#deps;
    const subnets = this.#reconciler.subnets();
    const peers = new Map<number, Awaited<ReturnType<TunnelDriver['peers']>>>();
    for (const { slot, name } of this.#devices.all()) peers.set(slot, await driver.peers(name));
    return membership.others().map(({ aid }) => {
      const view = this.activeView(aid);
      const key = view && this.#views.keyOf(view.peer);
      const peer = view && key && peers.get(view.slot)?.get(key);
      const life = view && peer && this.#look(aid, view, peer);
      return {
        aid,
        edge: edges.of(aid),
        view,
        agreed: view && pairKeys.agreed(aid, view),
        peer,
        device: view && this.#devices.at(view.slot),
        subnets: view === undefined ? [] : (subnets.get(aid) ?? []),
        handshakeAge: life && handshakeAge(life, clock.monotonic(), clock.now()),
        silentMs: life && silentMs(life, clock.monotonic()),
        isUnanswered: life?.isUnanswered === true,
        isAsleep: this.#isAsleep(aid),
        coming: this.#coming(aid),
        failure: this.#changes.failureOf(aid),
        relay: view && this.#relayOf(aid, view, peer),
      };
    });
  }

  /** The view of `aid` that carries packets, or is to be the first, and what its device shows; undefined: none stands on one. */
  async standing(
    aid: Aid,
  ): Promise<{ readonly view: TunnelView; readonly peer: PeerState | undefined } | undefined> {
    const pair = this.#reconciler.pairs.get(aid);
    const view = pair?.active ?? pair?.staged;
    return view && { view, peer: await this.#reconciler.peerState(view) };
  }

  /** The own device that could not be made or changed when that was tried last. */
  get deviceFailure(): Error | undefined {
    return this.#reconciler.deviceFailure;
  }

  /** A device that has roamed away from the relay's endpoint has found a way of its own. */
  #relayOf(aid: Aid, view: ActiveView, peer: PeerState | undefined): Aid | undefined {
    const way = this.#deps.wayOf?.(aid, view);
    return way !== undefined && way.endpoint === peer?.endpoint ? way.relay : undefined;
  }

  #coming(aid: Aid): ComingView | undefined {
    const { pairKeys, clock } = this.#deps;
    const pair = this.#reconciler.pairs.get(aid);
    const { change, staged } = pair ?? {};
    if (change === undefined) return undefined;
    return {
      isAgreed: pairKeys.agreed(aid, change) !== undefined,
      stagedMs: staged && Math.max(0, clock.now() - change.since),
      ownPort: staged && this.#devices.at(staged.slot)?.port,
      endpoint: staged && staged.port !== 0 ? this.#views.endpointOf(aid, staged) : undefined,
    };
  }

  /** What the device shows of the active view now. */
  #look(aid: Aid, view: ActiveView, peer: PeerState): Life {
    const before = this.#lives.get(aid);
    const isSame = before !== undefined && before.view.generation === view.generation;
    const life = lived(isSame ? before.life : undefined, peer, this.#deps.clock.monotonic());
    this.#lives.set(aid, { view, life });
    return life;
  }

  /** Where nothing has come for a while, the other end is asked: a tunnel is not called up because it once was. */
  async #lifeLoop(signal: AbortSignal): Promise<void> {
    const { clock, membership, reaches } = this.#deps;
    if (reaches === undefined) return;
    await this.#ticks(
      signal,
      () => LIFE_LOOK_MS,
      async () => {
        await this.status().catch((error: unknown) => this.#failed(error));
        const members = new Set(membership.others().map(({ aid }) => aid));
        for (const [aid, { view, life }] of this.#lives) {
          if (!members.has(aid) || this.activeView(aid) === undefined) {
            this.#lives.delete(aid);
            continue;
          }
          if (!isQuiet(life, clock.monotonic()) && !life.isUnanswered) continue;
          if (!life.isUnanswered)
            this.#lives.set(aid, { view, life: asked(life, clock.monotonic()) });
          void reaches(aid).then((isReached) => {
            const now = this.#lives.get(aid);
            if (now?.view.generation === view.generation)
              this.#lives.set(aid, { view, life: echoed(now.life, isReached) });
          });
        }
      },
    );
  }

  #isAsleep(aid: Aid): boolean {
    const pair = this.#reconciler.pairs.get(aid);
    return pair !== undefined && this.#dormancy.isAsleep(aid, pair);
  }

  /** Without one every pair is eager. */
  async #makeBed(signal: AbortSignal): Promise<boolean> {
    const socket = await this.#deps.wakeSocket?.().catch((error: unknown) => this.#failed(error));
    if (socket === undefined) return false;
    signal.addEventListener('abort', () => socket[Symbol.dispose](), { once: true });
    socket.listen((datagram) => this.#heard(datagram));
    this.#reconciler.bed(socket.endpoint);
    this.#dormancy.enable();
    return true;
  }

  /** @param datagram from anybody on this machine: it names a peer, and no more than that is believed */
  #heard(datagram: Uint8Array): void {
    if (!this.#wakings.take('all')) return;
    const members = new Map<WireGuardKey, Aid>();
    for (const { aid, active } of this.#pairs()) {
      const newest = active === undefined && this.#dormancy.isLazy(aid) && this.#views.newest(aid);
      const key = newest && this.#views.keyOf(newest.peer);
      if (key !== undefined && key !== false) members.set(key, aid);
    }
    const aid = members.get(receiverOf(datagram, members.keys()) ?? ('' as WireGuardKey));
    if (aid !== undefined) this.wake(aid);
  }

  /** Somebody wants the tunnel to `aid`: here, or at the other end. @param isAsked by the other end */
  wake(aid: Aid, isAsked = false): void {
    const { identity, askAwake } = this.#deps;
    if (!this.#dormancy.isLazy(aid)) return;
    this.#dormancy.wake(aid);
    const newest = this.#views.newest(aid);
    // The end with the lower AID begins the agreement.
    if (!isAsked && newest !== undefined && identity.aid > aid)
      void askAwake?.(aid, newest).catch(() => undefined);
    this.poke(aid);
  }

  /** The other end has nothing for the tunnel to `aid`: it sleeps, unless this end has. Throws TUNNEL_BUSY. */
  async letSleep(aid: Aid): Promise<void> {
    if (this.#isAsleep(aid)) return;
    const pair = this.#reconciler.pairs.get(aid);
    const isChanging = pair?.change !== undefined || pair?.isExchanging === true;
    if (!this.#dormancy.isLazy(aid) || isChanging || !this.#dormancy.isIdle(aid, ASKED_IDLE_PART))
      throw new TunnelError('TUNNEL_BUSY', 'this end has a use for the tunnel');
    await this.#reconciler.letSleep(aid);
  }

  async #idleLoop(signal: AbortSignal): Promise<void> {
    const pauseMs = Math.min(LIFE_LOOK_MS, this.#lazyIdleMs / 4);
    await this.#ticks(
      signal,
      () => pauseMs,
      () => this.#lookForIdle(),
    );
  }

  async #lookForIdle(): Promise<void> {
    const { askAsleep } = this.#deps;
    if (!this.#pairs().some(({ aid }) => this.#dormancy.isLazy(aid))) return;
    for (const { aid, view, peer } of await this.status()) {
      if (!this.#dormancy.isLazy(aid)) continue;
      this.#dormancy.count(aid, view && (peer?.rxBytes ?? 0n) + (peer?.txBytes ?? 0n));
      const pair = this.#reconciler.pairs.get(aid);
      if (!this.#dormancy.isIdle(aid) || pair?.isExchanging === true) continue;
      if (view === undefined) await this.#reconciler.letSleep(aid);
      else if (pair?.change === undefined)
        await askAsleep?.(aid, view)
          .then(() => this.#reconciler.letSleep(aid))
          .catch(() => undefined);
    }
  }

  /**
   * An end that waits for the other's handshakes begins itself where there has been no session for longer than one
   * lives: its device is new (a reboot, `down`), or a change broke off so that both ends wait. The lower AID is first.
   * @param moved slots whose port is another one than before: the other ends look for them in vain
   */
  async #wakeColdPairs(moved: ReadonlySet<number> = new Set()): Promise<void> {
    const { clock, identity, epochKeys, directory } = this.#deps;
    let isChanged = false;
    for (const { aid, view, peer } of await this.status()) {
      if (view === undefined) continue;
      const handshake = peer?.lastHandshake ?? 0;
      const age = handshake === 0 ? Number.POSITIVE_INFINITY : clock.now() - handshake;
      // Perhaps the two ends are at different epochs: then no handshake comes.
      if (age >= REKEY_MS && directory.peerOf(aid) !== undefined) await epochKeys.show(aid, view);
      if (view.initiates) continue;
      const isCold = age >= REJECT_AFTER_MS + (identity.aid < aid ? 0 : COLD_STAGGER_MS);
      if (isCold || moved.has(view.slot))
        isChanged = this.#reconciler.begin(aid, view) || isChanged;
    }
    if (isChanged) await this.reconcile();
  }

  async #sessionLoop(signal: AbortSignal): Promise<void> {
    await this.#ticks(
      signal,
      () => COLD_STAGGER_MS,
      async () => {
        await this.#wakeColdPairs().catch((error: unknown) => this.#failed(error));
        if (this.#reconciler.deviceFailure !== undefined) await this.reconcile();
      },
    );
  }

  /** At every epoch boundary the preshared keys of all pairs are written; WireGuard's next handshake takes them. */
  async #epochLoop(signal: AbortSignal): Promise<void> {
    const { epochKeys } = this.#deps;
    let written = -1;
    // At first a few times without a boundary: pairs rest until their other end was heard.
    let looks = -1;
    const pauseMs = () => Math.max(50, Math.min(epochKeys.untilNextEpoch(), EPOCH_LOOK_MS));
    await this.#ticks(signal, pauseMs, async () => {
      looks += 1;
      const epoch = epochKeys.epoch();
      if (epoch === written && looks > FIRST_LOOKS) return;
      written = epoch;
      await this.writePresharedKeys().catch((error: unknown) => this.#failed(error));
      this.pokeAll();
    });
  }

  #ticks(signal: AbortSignal, pauseMs: () => number, round: () => Promise<void>): Promise<void> {
    const { clock } = this.#deps;
    return ticks({ clock, signal, pauseMs, failed: (error) => this.#failed(error) }, round);
  }

  #pairs(): readonly Pair[] {
    return [...this.#reconciler.pairs.values()];
  }

  #removed(aid: Aid, reason: string): void {
    for (const listener of this.#listeners) listener.removed(aid, reason);
  }

  async #receipt(
    { aid, active }: Pair,
    step: ReceiptStep,
    view: PlacedView,
    other: TunnelView,
  ): Promise<void> {
    const kind = this.kindOf(other, view);
    const [state, drops] = await Promise.all([
      this.#reconciler.peerState(view).catch(() => undefined),
      this.#reconciler.drops(view).catch(() => undefined),
    ]);
    const receipt: PairReceipt = {
      step,
      view,
      kind,
      generation: active?.generation ?? 0,
      rxBytes: Number(state?.rxBytes ?? -1n),
      txBytes: Number(state?.txBytes ?? -1n),
      rxDropped: drops?.rx ?? -1,
      txDropped: drops?.tx ?? -1,
    };
    for (const listener of this.#listeners) listener.receipt(aid, receipt);
  }

  #failed(error: unknown): void {
    if (!this.#signal.aborted) this.#deps.journal.failed('tunnel.reconcile-failed', error);
  }
}

/**
 * Brings the devices of this node to what charter, logs, records and agreements ask for, with as little change as possible.
 * Everything that touches a device goes through one queue: what was read is what is changed.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import type {
  Cidr,
  DesiredDevice,
  DeviceDrops,
  PeerState,
  TunnelDriver,
  UdpEndpoint,
  WireGuardKey,
} from '#src/wireguard/tunnel-driver';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import { meshPrefix, overlayAddress, overlayRoute } from '../../mesh/membership/overlay-address.ts';
import type { DeviceWay } from '../reach/device-ways.ts';
import {
  type Contested,
  contestedKeys,
  type DesiredView,
  type DeviceSettings,
  desiredDevices,
  type OwnDevice,
  type PairState,
} from './desired-state.ts';
import type { Devices } from './devices.ts';
import type { Dormancy } from './dormancy.ts';
import { type Edges, whyNone } from './edges.ts';
import type { PeerPlace } from './handshakes.ts';
import { turnAt } from './key-claims.ts';
import { follow } from './next-step.ts';
import type { OwnTunnelKeys } from './own-tunnel-keys.ts';
import { Pair } from './pair.ts';
import type { HeldKeys, PairKeys } from './pair-keys.ts';
import { isIn, slotToGiveUp } from './room.ts';
import { type SubnetClaim, subnetsOf } from './subnets.ts';
import { type PlacedView, sameView, type TunnelView } from './view.ts';
import type { Views } from './views.ts';

export interface ReconcilerDeps {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly ownKeys: OwnTunnelKeys;
  readonly pairKeys: PairKeys;
  readonly views: Views;
  readonly edges: Edges;
  readonly dormancy: Dormancy;
  readonly devices: Devices;
  readonly driver: TunnelDriver;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly table: StateTable;
  readonly journal: Journal;
  /** What was found for a view in place of the address that the record names. */
  readonly wayOf?: (aid: Aid, view: TunnelView) => DeviceWay | undefined;
  /** Whether the `tun` record was revoked: no device has its key any more. */
  readonly isRevoked: (tunnelKey: Said) => boolean;
  /** Bytes of the longest packet to `aid`; absent or undefined: what the device takes. */
  readonly routeMtu?: (aid: Aid) => number | undefined;
  /** A view that was active has gone, without another in its place. */
  readonly removed: (aid: Aid, reason: string) => void;
}

export interface ReconcilerSettings extends Pick<DeviceSettings, 'mtu' | 'keepalive'> {
  /** How long a change waits for a peer that cannot be reached before its former key may go, in milliseconds. */
  readonly changeMs: number;
}

export class Reconciler {
  readonly #deps: ReconcilerDeps;
  readonly #settings: ReconcilerSettings;
  readonly #queue = new SerialQueue();
  readonly #pairs = new Map<Aid, Pair>();
  /** Keys that several members name, by slot and key: which of them stands on the device. */
  readonly #contested = new Map<string, Aid | undefined>();
  /** Views for which this end begins the next session, whoever was to. */
  readonly #begun = new Map<Aid, TunnelView>();
  /** Devices that could not be made or changed when that was tried last, by name. */
  readonly #failures = new Map<string, Error>();
  /** Pairs that are about to sleep. */
  readonly #leaving = new Set<Aid>();
  #bed: UdpEndpoint | undefined;
  #next: Promise<void> | undefined;

  constructor(deps: ReconcilerDeps, settings: ReconcilerSettings) {
    this.#deps = deps;
    this.#settings = settings;
  }

  /** By the AID of the peer. */
  get pairs(): ReadonlyMap<Aid, Pair> {
    return this.#pairs;
  }

  /** This end begins the next session of `view`. @returns whether that is new */
  begin(aid: Aid, view: TunnelView): boolean {
    if (sameView(this.#begun.get(aid), view)) return false;
    this.#begun.set(aid, { own: view.own, peer: view.peer });
    return true;
  }

  /**
   * Reads every device, applies the difference, removes what is not wanted. One that still waits its turn has read
   * nothing yet: it serves all who ask meanwhile, so that a change of everything costs a few rounds and not one per peer.
   */
  reconcile(): Promise<void> {
    this.#next ??= this.#queue.run(() => {
      this.#next = undefined;
      return this.#reconcile();
    });
    return this.#next;
  }

  /** Only the device of this slot. */
  reconcileSlot(slot: number): Promise<void> {
    return this.#queue.run(async () => {
      if (!this.#deps.membership.isIn) return;
      await this.#apply((await this.#ownDevices()).filter((device) => device.slot === slot));
    });
  }

  /**
   * As {@link reconcileSlot}, and the peer of the view begins a handshake at once: it leaves the device for a moment, with whatever
   * session it had there, since WireGuard itself begins none within 5 s of the last (REKEY_TIMEOUT).
   */
  beginAnew(view: PlacedView): Promise<void> {
    return this.#queue.run(async () => {
      const key = this.#deps.views.keyOf(view.peer);
      const [device] = (await this.#ownDevices()).filter(({ slot }) => slot === view.slot);
      if (!this.#deps.membership.isIn || device === undefined) return;
      using keys = await this.#keys();
      const [desired] = await this.#desired([device], keys);
      if (desired === undefined) return;
      const peers = desired.peers.filter(({ publicKey }) => publicKey !== key);
      this.#note(desired, await this.#deps.driver.apply({ ...desired, peers }));
      this.#note(desired, await this.#deps.driver.apply(desired));
    });
  }

  /** Preshared keys and what else is said of peers, on every device that is there: one write each, nothing else is looked at. */
  writePeers(): Promise<void> {
    const { driver, membership } = this.#deps;
    return this.#queue.run(async () => {
      if (!membership.isIn) return;
      const own = await this.#ownDevices();
      using keys = await this.#keys();
      for (const desired of await this.#desired(own, keys))
        this.#note(desired, (await driver.applyPeers(desired)) ?? []);
    });
  }

  /**
   * Stands `view` on a device where the pair has nothing else, on disk first: it is what the pair changes to. Where all devices
   * are taken, former views on one of them go, whoever's they are.
   * @param port UDP port of the other end; 0: not known yet  Throws TUNNEL_BUSY
   */
  async stage(pair: Pair, view: TunnelView, port: number, initiates: boolean): Promise<void> {
    const { devices } = this.#deps;
    const slot = await this.#queue.run(async () => {
      await this.#want(pair, view);
      const { staged } = pair;
      const taken = pair.placed().filter((placed) => placed !== staged);
      const held = sameView(staged, view) && staged ? devices.at(staged.slot) : undefined;
      const slots = new Set(taken.map(({ slot }) => slot));
      if (held === undefined && !devices.canPlace(view.own, slots))
        await this.#giveUpSlot((_, role) => role === 'draining');
      const place = held ?? (await devices.place(view.own, slots));
      await pair.stage({ slot: place.slot, port, initiates });
      return place.slot;
    });
    await this.reconcileSlot(slot);
  }

  /** UDP port of the own device on which the view stands. */
  portOf({ slot }: PlacedView): number {
    return this.#deps.devices.at(slot)?.port ?? 0;
  }

  /** Where the peer stands on this view; undefined without a device. */
  placeOf(view: PlacedView): PeerPlace | undefined {
    const { devices, views } = this.#deps;
    const device = devices.at(view.slot)?.name;
    const key = views.keyOf(view.peer);
    return device === undefined || key === undefined ? undefined : { device, key };
  }

  /** What the own device shows of the peer on this view. */
  async peerState(view: PlacedView): Promise<PeerState | undefined> {
    const { driver, views } = this.#deps;
    const at = this.placeOf(view);
    if (at === undefined) return undefined;
    const { device, key } = at;
    const state = (await driver.peers(device))?.get(key);
    // What the device shows of a key is of the pair that stands there under it, and of no other that names it.
    const place = `${view.slot}.${key}`;
    const isOthers =
      this.#contested.has(place) && this.#contested.get(place) !== views.issuerOf(view.peer);
    return isOthers ? undefined : state;
  }

  /** Packets that the device of this view has dropped, of all its peers together. */
  async drops({ slot }: PlacedView): Promise<DeviceDrops | undefined> {
    const device = this.#deps.devices.at(slot);
    return device && this.#deps.driver.drops(device.name);
  }

  /** Takes every device down. */
  async removeAll(): Promise<void> {
    const { devices, driver } = this.#deps;
    await this.#queue.run(async () => {
      for (const device of devices.all()) await devices.release(device, driver);
    });
  }

  /** Members come in, others go at once, revoked keys go out of use at once; then the devices follow. */
  async #reconcile(): Promise<void> {
    await this.#followCharter();
    const kept = this.#deps.views.keptKeys();
    for (const pair of this.#pairs.values()) {
      await this.#dropRevoked(pair);
      await this.#leaveBehind(pair, ({ own }) => !kept.has(own));
      await this.#follow(pair);
    }
    const wanted = this.#deps.membership.isIn ? await this.#ownDevices() : [];
    await this.#apply(wanted);
    await this.#removeUnwanted(new Set(wanted.map(({ slot }) => slot)));
  }

  async #followCharter(): Promise<void> {
    const { membership, edges, table, rng, pairKeys, journal, removed } = this.#deps;
    const open = new Set(edges.open().map(({ aid }) => aid));
    for (const aid of open) {
      if (!this.#pairs.has(aid))
        this.#pairs.set(aid, new Pair(table, aid, Secret.take(rng.bytes(32))));
    }
    for (const [aid, pair] of this.#pairs) {
      if (open.has(aid)) continue;
      const wasUp = pair.active !== undefined;
      this.#pairs.delete(aid);
      this.#begun.delete(aid);
      await pair.forget();
      await pairKeys.retire(aid, []);
      const reason =
        membership.suspensionOf(aid) === undefined
          ? whyNone(edges.of(aid))
          : 'suspended for duplicity';
      journal.info('tunnel.removed', { aid, reason });
      if (wasUp) removed(aid, reason);
    }
  }

  async #dropRevoked(pair: Pair): Promise<void> {
    const { views, pairKeys, removed } = this.#deps;
    const revoked = (view: TunnelView) => views.usesRevoked(view);
    if (![...pair.placed(), pair.change].some((view) => view !== undefined && revoked(view)))
      return;
    const wasUp = await pair.drop(revoked);
    await pairKeys.retire(pair.aid, usedViews(pair));
    if (wasUp) removed(pair.aid, 'key epoch revoked');
  }

  /** No tunnel is on a key older than the one before the newest: who has not followed has none until it does. */
  async #leaveBehind(pair: Pair, isGone: (view: TunnelView) => boolean): Promise<void> {
    const { pairKeys, removed, journal, clock } = this.#deps;
    if (![...pair.placed(), pair.change].some((view) => view !== undefined && isGone(view))) return;
    const wasUp = await pair.leaveBehind(isGone, clock.now());
    await pairKeys.retire(pair.aid, usedViews(pair));
    if (!wasUp) return;
    journal.warn('tunnel.left-behind', { aid: pair.aid });
    removed(pair.aid, 'it did not follow the last rotation in time');
  }

  /** A device goes with the views on it, so that another key has a place. */
  async #giveUpSlot(mayGo: Parameters<typeof slotToGiveUp>[1]): Promise<void> {
    const slot = slotToGiveUp([...this.#pairs.values()], mayGo);
    if (slot === undefined) return;
    for (const pair of this.#pairs.values())
      await this.#leaveBehind(pair, isIn(slot, pair.placed()));
    await this.#removeUnwanted(new Set(this.#slotsInUse().keys()));
  }

  async #follow(pair: Pair): Promise<void> {
    if (this.#deps.dormancy.isAsleep(pair.aid, pair)) return pair.settle();
    const newest = this.#deps.views.newest(pair.aid);
    const following = follow(pair, newest);
    if (following === 'settle') await pair.settle();
    else if (following === 'want' && newest !== undefined) await this.#want(pair, newest);
  }

  /** The pair is to change to `view`; one that was staged before drains. */
  #want(pair: Pair, view: TunnelView): Promise<void> {
    return pair.want(view, this.#deps.clock.now(), this.#settings.changeMs);
  }

  async #apply(devices: readonly OwnDevice[]): Promise<void> {
    const failed: unknown[] = [];
    using keys = await this.#keys();
    for (const desired of await this.#desired(devices, keys)) {
      try {
        this.#note(desired, await this.#deps.driver.apply(desired));
        this.#failures.delete(desired.name);
      } catch (error) {
        // One that cannot be made keeps none of the others from being as it should be.
        this.#failures.set(desired.name, error as Error);
        failed.push(error);
      }
    }
    if (failed.length > 0) throw failed[0];
  }

  /** The device that could not be made or changed when that was tried last; undefined: all are as they should be. */
  get deviceFailure(): Error | undefined {
    const wanted = new Set(this.#deps.devices.all().map(({ name }) => String(name)));
    for (const [name, failure] of this.#failures) if (wanted.has(name)) return failure;
    return undefined;
  }

  /**
   * Who has a key that several members name. One that changes hands leaves the device first, with its sessions and whatever
   * handshake is on its way: what the device shows afterwards is of the new holder.
   */
  async #settleContested(
    desired: DesiredDevice,
    contested: Contested,
    slot: number,
  ): Promise<void> {
    const changed = [...contested].filter(
      ([key, { aid }]) =>
        !this.#contested.has(`${slot}.${key}`) || this.#contested.get(`${slot}.${key}`) !== aid,
    );
    for (const place of [...this.#contested.keys()]) {
      const [at, key] = place.split('.') as [string, WireGuardKey];
      if (at === `${slot}` && !contested.has(key)) this.#contested.delete(place);
    }
    const passing = new Set(changed.filter(([, { isUp }]) => !isUp).map(([key]) => key));
    // Nobody's until the device is without it.
    for (const key of passing) this.#contested.set(`${slot}.${key}`, undefined);
    if (passing.size > 0) {
      const peers = desired.peers.filter(({ publicKey }) => !passing.has(publicKey));
      this.#note(desired, await this.#deps.driver.apply({ ...desired, peers }));
    }
    for (const [key, { aid }] of changed) {
      this.#contested.set(`${slot}.${key}`, aid);
      this.#deps.journal.warn('tunnel.key-contested', { device: desired.name, aid });
    }
  }

  #note({ name }: DesiredDevice, changes: readonly string[]): void {
    if (changes.length > 0)
      this.#deps.journal.debug('device.changed', { device: name, changes: changes.join('; ') });
  }

  /** Of every view on a device, for one write. */
  #keys(): Promise<HeldKeys> {
    const views = [...this.#pairs.values()].flatMap((pair) =>
      pair.placed().map((view) => [pair.aid, view] as const),
    );
    return this.#deps.pairKeys.take(views);
  }

  async #desired(devices: readonly OwnDevice[], keys: HeldKeys): Promise<readonly DesiredDevice[]> {
    const { membership, identity } = this.#deps;
    const { mesh } = membership;
    const subnets = this.subnets();
    const states = [...this.#pairs.values()].map((pair) => ({
      ...this.#stateOf(pair, keys),
      subnets: subnets.get(pair.aid) ?? [],
    }));
    const addresses = mesh === undefined ? [] : [`${overlayAddress(mesh, identity.aid)}/128`];
    const turn = turnAt(this.#deps.clock.monotonic());
    const desired = desiredDevices(devices, states, { ...this.#settings, addresses, turn });
    for (const [i, { slot }] of devices.entries())
      await this.#settleContested(
        desired[i] as DesiredDevice,
        contestedKeys(slot, states, turn),
        slot,
      );
    return desired;
  }

  /** Prefixes behind other members that are routed to them. */
  subnets(): ReadonlyMap<Aid, readonly Cidr[]> {
    const { edges, views, membership } = this.#deps;
    const { mesh } = membership;
    const claims = [...this.#pairs.values()].flatMap(({ aid, active }): readonly SubnetClaim[] => {
      const gateway = views.gatewayOf(aid);
      const edge = edges.of(aid);
      if (gateway === undefined || edge.kind !== 'open') return [];
      const endpoints = views.endpointsOf(aid);
      return [
        { aid, gateway, permitted: edge.terms.prefixes, endpoints, isUp: active !== undefined },
      ];
    });
    if (mesh === undefined || claims.length === 0) return new Map();
    return subnetsOf(claims, { overlay: meshPrefix(mesh), own: views.ownSubnets() });
  }

  /** Where packets to a lazy pair are heard while it has no tunnel. */
  #asleep(pair: Pair): DesiredView | undefined {
    const { dormancy, views, devices } = this.#deps;
    if (this.#bed === undefined || this.#leaving.has(pair.aid)) return undefined;
    if (pair.active !== undefined || !dormancy.isLazy(pair.aid)) return undefined;
    const newest = views.newest(pair.aid);
    const slot = newest && devices.of(newest.own)?.slot;
    const peerKey = newest && views.keyOf(newest.peer);
    if (slot === undefined || peerKey === undefined) return undefined;
    return { slot, peerKey, presharedKey: pair.unagreedKey, endpoint: this.#bed };
  }

  /** Pairs that sleep have their endpoint there. */
  bed(endpoint: UdpEndpoint): void {
    this.#bed = endpoint;
  }

  /** The pair has no tunnel and no agreement until somebody wants it again. */
  async letSleep(aid: Aid): Promise<void> {
    const { dormancy, pairKeys, removed } = this.#deps;
    await this.#queue.run(async () => {
      const pair = this.#pairs.get(aid);
      const wasUp = (await pair?.drop(() => true)) === true;
      await pairKeys.retire(aid, []);
      this.#begun.delete(aid);
      dormancy.slept(aid);
      if (wasUp) removed(aid, 'nothing went through it for a while');
      this.#leaving.add(aid);
    });
    // The peer leaves the device with its sessions: a packet that finds one asks for no handshake, and wakes nobody.
    await this.reconcile().finally(() => this.#leaving.delete(aid));
    await this.reconcile();
  }

  #stateOf(pair: Pair, keys: HeldKeys): PairState {
    const viewOf = (view: PlacedView | undefined) => this.#viewOf(pair, view, keys);
    return {
      asleep: this.#asleep(pair),
      aid: pair.aid,
      route: overlayRoute(this.#deps.membership.mesh as Said, pair.aid),
      routeMtu: this.#deps.routeMtu?.(pair.aid),
      active: viewOf(pair.active),
      staged: viewOf(pair.staged),
      draining: pair.draining.flatMap((former) => {
        const view = viewOf(former);
        return view === undefined ? [] : [{ ...view, isSetAside: former.generation === 0 }];
      }),
    };
  }

  #viewOf(pair: Pair, view: PlacedView | undefined, keys: HeldKeys): DesiredView | undefined {
    const { views } = this.#deps;
    const peerKey = view && views.keyOf(view.peer);
    if (view === undefined || peerKey === undefined) return undefined;
    const agreed = keys.of(pair.aid, view);
    const begins = view.initiates || sameView(this.#begun.get(pair.aid), view);
    const way = this.#deps.wayOf?.(pair.aid, view);
    const named = begins && view.port !== 0 ? views.endpointOf(pair.aid, view) : undefined;
    return {
      slot: view.slot,
      peerKey,
      possession: views.possessionOf(view.peer),
      presharedKey: agreed ?? pair.unagreedKey,
      endpoint: agreed === undefined ? undefined : (way?.endpoint ?? named),
      ...(way?.keepalive === undefined ? {} : { keepalive: way.keepalive }),
      insists: way?.insists ?? false,
    };
  }

  /** Those on which a view stands, and one for the newest own key, so that it has an address. */
  async #ownDevices(): Promise<readonly OwnDevice[]> {
    const { ownKeys, devices, driver, isRevoked } = this.#deps;
    let used = this.#slotsInUse();
    for (const [slot, tunnelKey] of used)
      if (devices.at(slot) === undefined) await devices.restore(slot, tunnelKey);
    const { currentRecord } = ownKeys;
    if (currentRecord !== undefined && ![...used.values()].includes(currentRecord)) {
      if (!devices.canPlace(currentRecord)) await this.#removeUnwanted(new Set(used.keys()));
      // No peer holds up the newest key, however many devices its tunnel takes.
      if (!devices.canPlace(currentRecord)) await this.#giveUpSlot(() => true);
      used = this.#slotsInUse();
      used.set((await devices.place(currentRecord)).slot, currentRecord);
    }
    const wanted: OwnDevice[] = [];
    for (const device of devices.all()) {
      const { slot, tunnelKey, name, port } = device;
      if (used.get(slot) !== tunnelKey) continue;
      if (isRevoked(tunnelKey)) {
        await devices.release(device, driver);
        continue;
      }
      if (!(await this.#canLoad(tunnelKey))) continue;
      const { wireguard } = await ownKeys.load(tunnelKey);
      wanted.push({ slot, name, privateKey: wireguard, listenPort: port });
    }
    return wanted;
  }

  #slotsInUse(): Map<number, Said> {
    const used = new Map<number, Said>();
    for (const pair of this.#pairs.values())
      for (const { slot, own } of pair.placed()) used.set(slot, own);
    return used;
  }

  /** The key of two establishment events ago cannot be derived any more: what used it has ended. */
  async #canLoad(tunnelKey: Said): Promise<boolean> {
    const { ownKeys, removed } = this.#deps;
    try {
      await ownKeys.load(tunnelKey);
      return true;
    } catch (error) {
      if ((error as { code?: string }).code !== 'IDENTITY_KEYS_LOST') throw error;
      if (tunnelKey === ownKeys.current.record.d) throw error;
      for (const pair of this.#pairs.values()) {
        const wasUp = await pair.drop((view) => view.own === tunnelKey);
        if (wasUp) removed(pair.aid, 'the key of the tunnel is two rotations old');
      }
      return false;
    }
  }

  async #removeUnwanted(wanted: ReadonlySet<number>): Promise<void> {
    const { ownKeys, devices, driver, journal } = this.#deps;
    for (const device of devices.all()) {
      if (wanted.has(device.slot)) continue;
      await devices.release(device, driver);
      if (devices.of(device.tunnelKey) === undefined) ownKeys.forget(device.tunnelKey);
      journal.info('device.removed', { device: device.name });
    }
  }
}

/** Views whose keys are still needed. */
export function usedViews(pair: Pair): readonly TunnelView[] {
  return pair.change === undefined ? pair.placed() : [...pair.placed(), pair.change];
}

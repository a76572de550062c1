/**
 * Every way in which a change of keys can be interrupted, up to a stated number of faults: the product's own protocol
 * (`transition.ts`), pair state (`pair.ts`) and device layout (`desired-state.ts`) at two ends. At each write and each
 * message an end may crash, or the connection may die; then both start again from disk, and the same may happen
 * again. Messages that are reordered or repeated are what a broken stream and a new one look like: an ordered stream
 * gives no other. Between any two steps the invariants are looked at in both ends' devices.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { MessageStream } from '#agent/network/network';
import { StateTable } from '#agent/state-table';
import { desiredDevices, type PairState, type PairView } from '#agent/tunnel/desired-state';
import { Pair } from '#agent/tunnel/pair';
import { runMoving, runParking } from '#agent/tunnel/transition';
import type { TunnelView } from '#agent/tunnel/view';
import type { Aid, Said } from '#kel/identifiers';
import type { Database } from '#kel/store/durable-table';
import { wireguardPublicKeyHex } from '#src/crypto/wireguard-key';
import { Secret } from '#src/secret';
import type { DesiredDevice, InterfaceName, WireGuardKey } from '#src/wireguard/tunnel-driver';
import { parseCidr, parseUdpEndpoint } from '#src/wireguard/values';
import { SimulatedClock } from '../support/simulated-clock.ts';
import { type PairedStream, streamPair } from '../support/stream-pair.ts';
import { FailingLevel } from '../unit/kel-store/failing-level.ts';

const said = (letter: string) => `EA${letter.repeat(42)}` as Said;
const secret = (text: string) => new Secret(new Uint8Array(32).fill(text.charCodeAt(0)));
const AGREEMENT = new Uint8Array(32).fill(9);

/** A key of an end: its `tun` record and its WireGuard key. */
interface Key {
  readonly said: Said;
  readonly secret: Secret;
  readonly public: WireGuardKey;
}

function keyOf(letter: string): Key {
  return {
    said: said(letter),
    secret: secret(letter),
    public: wireguardPublicKeyHex(secret(letter)),
  };
}

const old = keyOf('o');
const fresh = keyOf('n');
const theirs = keyOf('t');

/** The parking end has a new key; the moving end keeps its own. */
const ENDS = [
  { aid: 'alice' as Aid, own: [old, fresh], peers: [theirs], route: parseCidr('fd00::b/128') },
  { aid: 'bob' as Aid, own: [theirs], peers: [old, fresh], route: parseCidr('fd00::a/128') },
] as const;

type Fault = 'crash parking' | 'crash moving' | 'cut';
const FAULTS: readonly Fault[] = ['crash parking', 'crash moving', 'cut'];

/** Where each fault falls: at the n-th step of the run, counted over both ends. */
type Plan = readonly { readonly at: number; readonly fault: Fault }[];

/** Every place of a second fault, or every seventh, shifted from one first fault to the next: `npm run test:slow` takes all. */
const STRIDE = process.env['KELMESH_SLOW'] === '1' ? 1 : 7;

class Crash extends Error {}

class End {
  readonly index: 0 | 1;
  readonly db = new FailingLevel();
  devices: readonly DesiredDevice[] = [];
  pair!: Pair;
  isUp = true;
  readonly #world: World;

  constructor(world: World, index: 0 | 1) {
    this.#world = world;
    this.index = index;
  }

  async boot(): Promise<void> {
    const { aid } = ENDS[1 - this.index] as (typeof ENDS)[number];
    const table = await StateTable.open(this.db as Database, 'tunnel');
    this.pair = new Pair(table, aid, secret('u'));
    this.isUp = true;
    const { change } = this.pair;
    // As the agent does when it starts.
    if (change?.step === 'parked') {
      const shown =
        change.knocks === true ? this.#world.hasTraffic() : this.#world.hasSession(change);
      if (shown) await this.pair.activate(change, change.knocks === true, 0, 1);
      else await this.pair.reach('staged', change.end);
    }
    this.apply();
  }

  /** The device follows the state; what stands on it outlives the process. */
  apply(): void {
    const end = ENDS[this.index];
    const view = (wanted: TunnelView | undefined, initiates: boolean): PairView | undefined => {
      const key = ENDS[this.index].peers.find((peer) => peer.said === wanted?.peer);
      if (wanted === undefined || key === undefined) return undefined;
      return {
        own: wanted.own,
        peer: wanted.peer,
        peerKey: key.public,
        presharedKey: secret('p'),
        endpoint: initiates ? parseUdpEndpoint('192.0.2.1:1') : undefined,
      };
    };
    const { active, target, draining } = this.pair;
    const state: PairState = {
      aid: this.pair.aid,
      route: end.route,
      active: view(active, active?.initiates ?? false),
      target: view(target, target?.initiates ?? false),
      parked: target?.parked ?? false,
      draining: view(draining, false),
    };
    const live = new Set(this.pair.views().map(({ own }) => own));
    const devices = end.own
      .filter((key) => live.has(key.said))
      .map((key, i) => ({
        tunnelKey: key.said,
        name: `km${i}` as InterfaceName,
        privateKey: key.secret,
        listenPort: 51_820 + i,
      }));
    this.devices = desiredDevices(devices, [state], { mtu: 1_420, addresses: [], keepalive: 25 });
    this.#world.handshakes();
    this.#world.check();
  }

  async reach(step: 'staged' | 'parked', knocks = false): Promise<void> {
    await this.#world.step(this);
    await this.pair.want(NEW_VIEWS[this.index], 0, 1);
    await this.pair.reach(step, this.index === 0 ? 'parking' : 'moving', knocks);
    await this.#world.step(this);
    this.apply();
  }

  async activate(initiates: boolean): Promise<void> {
    await this.#world.step(this);
    await this.pair.activate(NEW_VIEWS[this.index], initiates, 0, 1);
    await this.#world.step(this);
    this.apply();
  }
}

const OLD_VIEWS: readonly [TunnelView, TunnelView] = [
  { own: old.said, peer: theirs.said },
  { own: theirs.said, peer: old.said },
];
const NEW_VIEWS: readonly [TunnelView, TunnelView] = [
  { own: fresh.said, peer: theirs.said },
  { own: theirs.said, peer: fresh.said },
];

class World {
  readonly clock = new SimulatedClock();
  readonly ends: readonly [End, End] = [new End(this, 0), new End(this, 1)];
  readonly states = new Set<string>();
  readonly #plan: Plan;
  /** Of the new keys: both devices held both keys, and one had an endpoint and traffic to send. */
  #session = false;
  /** Packets of the moving end have come on the new key. */
  #traffic = false;
  #streams: readonly [PairedStream, PairedStream] | undefined;
  #steps = 0;
  #isReady = false;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  get steps(): number {
    return this.#steps;
  }

  async start(): Promise<void> {
    for (const end of this.ends) await end.boot();
    this.#isReady = true;
    for (const end of this.ends) {
      await end.pair.activate(OLD_VIEWS[end.index], end.index === 1, 0, 1);
      end.apply();
    }
  }

  /** A point at which something may go wrong. */
  async step(end: End): Promise<void> {
    if (!end.isUp) throw new Crash();
    this.#steps += 1;
    const fault = this.#plan.find(({ at }) => at === this.#steps)?.fault;
    if (fault === undefined) return;
    const [parking, moving] = this.ends;
    if (fault === 'crash parking') parking.isUp = false;
    if (fault === 'crash moving') moving.isUp = false;
    for (const stream of this.#streams ?? []) stream.abort(new Error(fault));
    if (!end.isUp) throw new Crash();
  }

  hasSession(view: TunnelView): boolean {
    return this.#session && view.own === fresh.said;
  }

  hasTraffic(): boolean {
    return this.#traffic;
  }

  /** WireGuard itself, whether the agents run or not. */
  handshakes(): void {
    const [parking, moving] = this.ends;
    const here = deviceOf(parking, fresh)?.peers.find(
      ({ publicKey }) => publicKey === theirs.public,
    );
    const there = deviceOf(moving, theirs)?.peers.find(
      ({ publicKey }) => publicKey === fresh.public,
    );
    if (here === undefined || there === undefined) return;
    const begins = (peer: typeof here) => peer.endpoint !== undefined && peer.keepalive > 0;
    if (begins(here) || begins(there)) this.#session = true;
    if (this.#session && there.allowedIps.length > 0) this.#traffic = true;
  }

  /** DESIGN 10, 4 and section 6: in every state of every device. */
  check(): void {
    if (!this.#isReady) return;
    for (const end of this.ends) {
      const routes = end.devices.flatMap((device) => device.routes);
      assert.ok(routes.length <= 1, `${routes.length} devices have the route`);
      for (const device of end.devices) {
        const owners = device.peers.filter(({ allowedIps }) => allowedIps.length > 0);
        assert.ok(owners.length <= 1, `${owners.length} owners of the prefix on ${device.name}`);
        for (const peer of device.peers)
          assert.ok(
            peer.presharedKey.expose().some((byte) => byte !== 0),
            'no preshared key',
          );
      }
    }
    this.states.add(this.#digest());
  }

  #digest(): string {
    return JSON.stringify([
      this.#session,
      this.#traffic,
      this.ends.map(({ isUp, pair, devices }) => [
        isUp,
        pair.active?.own,
        pair.active?.peer,
        pair.active?.initiates,
        pair.change?.step,
        pair.change?.knocks,
        pair.draining?.own,
        devices.map(({ name, routes, peers }) => [
          name,
          routes,
          peers.map(({ publicKey, allowedIps, keepalive }) => [publicKey, allowedIps, keepalive]),
        ]),
      ]),
    ]);
  }

  /** Whether packets pass both ways, on one pair of keys that both ends route and accept. */
  isOpen(): boolean {
    const [parking, moving] = this.ends;
    const [out] = parking.devices.filter(({ routes }) => routes.length > 0);
    const back = deviceOf(moving, theirs);
    if (out === undefined || back === undefined) return false;
    const ownKey = out.privateKey === fresh.secret ? fresh.public : old.public;
    const accepts = back.peers.find(({ publicKey }) => publicKey === ownKey);
    const owns = out.peers.find(({ publicKey }) => publicKey === theirs.public);
    const isNew = ownKey === fresh.public;
    return (
      (accepts?.allowedIps.length ?? 0) > 0 &&
      (owns?.allowedIps.length ?? 0) > 0 &&
      (!isNew || this.#session)
    );
  }

  /** One attempt, as the agents make it. @returns whether both ends came to their end */
  async attempt(farMs: number): Promise<boolean> {
    const [parking, moving] = this.ends;
    for (const end of this.ends) if (!end.isUp) await end.boot();
    if (parking.pair.active?.own === fresh.said && moving.pair.active?.peer === fresh.said) {
      await moving.pair.settle();
      return true;
    }
    const streams = streamPair({ maxMessage: 1_024 });
    this.#streams = streams;
    let knocked = false;
    const parks = (async () => {
      await parking.reach('staged');
      await runParking(
        this.#over(parking, streams[0], farMs),
        this.clock,
        { parking: fresh.said, moving: theirs.said, th: AGREEMENT },
        {
          mayKnock: farMs > 0,
          park: async (knocks) => {
            knocked = knocks;
            await parking.reach('parked', knocks);
          },
          traffic: async (withinMs) => {
            await this.clock.sleep(withinMs);
            await this.step(parking);
            if (!this.#traffic) throw new Error('no packet');
          },
          handshake: async (isOver) => {
            for (let waited = 0; waited < 15_000; waited += 50) {
              await this.#alive(parking);
              if (this.#session) return;
              if (isOver()) break;
              await this.clock.sleep(50);
            }
            throw new Error('no handshake');
          },
          activate: () => parking.activate(knocked),
          unpark: () => parking.reach('staged'),
        },
      );
    })();
    const moves = runMoving(this.#over(moving, streams[1], farMs), this.clock, {
      stage: async (prepare) => {
        assert.deepEqual(prepare.parking, fresh.said);
        if (moving.pair.active?.peer !== fresh.said) await moving.reach('staged');
      },
      move: async (arrived, knocks) => {
        await arrived;
        await moving.activate(!knocks);
      },
      settle: async () => {
        await this.step(moving);
        await moving.pair.settle();
        await moving.pair.drained();
        await this.step(moving);
        moving.apply();
      },
    });
    const ended = await this.clock.run(
      Promise.all(
        [parks, moves].map((end, i) =>
          end.then(
            () => true,
            (error: Error) => {
              if (error instanceof assert.AssertionError) throw error;
              (streams[i] as PairedStream).abort(error);
              return false;
            },
          ),
        ),
      ),
    );
    return ended.every(Boolean);
  }

  async #alive(end: End): Promise<void> {
    if (!end.isUp) throw new Crash();
  }

  /** A fault before each message that is sent and after each that has come. */
  #over(end: End, stream: PairedStream, farMs: number): MessageStream {
    return {
      peer: stream.peer,
      send: async (message) => {
        await this.step(end);
        await stream.send(message);
      },
      receive: async (signal) => {
        const message = await stream.receive(signal);
        if (farMs > 0) await this.clock.sleep(farMs);
        await this.step(end);
        return message;
      },
      close: () => stream.close(),
      abort: (reason) => stream.abort(reason),
    };
  }
}

function deviceOf(end: End, key: Key): DesiredDevice | undefined {
  return end.devices.find(({ privateKey }) => privateKey === key.secret);
}

/** Runs the plan, then without faults until it must be done. */
async function explore(plan: Plan, farMs: number): Promise<World> {
  const world = new World(plan);
  await world.start();
  assert.ok(world.isOpen());
  for (let attempts = 0; ; attempts++) {
    assert.ok(attempts < plan.length + 4, `not done after ${attempts} attempts`);
    if (await world.attempt(farMs)) break;
  }
  const [parking, moving] = world.ends;
  assert.deepEqual(
    [parking.pair.active?.own, parking.pair.change, moving.pair.active?.peer, moving.pair.change],
    [fresh.said, undefined, fresh.said, undefined],
  );
  assert.notEqual(parking.pair.active?.initiates, moving.pair.active?.initiates);
  assert.ok(world.isOpen(), 'no way is open at the end');
  return world;
}

describe('explorer of the change of tunnel keys', function () {
  this.timeout(120_000);

  for (const [way, farMs] of [
    ['short', 0],
    ['long', 30],
  ] as const) {
    it(`finds a working path again after any two faults, over a ${way} way`, async () => {
      const states = new Set<string>();
      let runs = 0;
      const run = async (plan: Plan): Promise<number> => {
        runs += 1;
        try {
          const world = await explore(plan, farMs);
          for (const state of world.states) states.add(state);
          return world.steps;
        } catch (error) {
          throw new Error(`${JSON.stringify(plan)}: ${(error as Error).message}`, { cause: error });
        }
      };
      const steps = await run([]);
      for (let first = 1; first <= steps; first++) {
        for (const fault of FAULTS) {
          const plan = [{ at: first, fault }];
          const after = await run(plan);
          for (let second = first + 1 + (first % STRIDE); second <= after; second += STRIDE)
            for (const other of FAULTS) await run([...plan, { at: second, fault: other }]);
        }
      }
      console.log(
        `      ${runs} runs, ${states.size} states of both ends, ${steps} steps without a fault`,
      );
      assert.ok(runs > 1_000 && states.size > 15);
    });
  }
});

/**
 * Every way in which a change of keys can be interrupted, up to a stated number of faults: the product's own tunnels at two ends
 * (`Tunnels`, with all that is behind it) over simulated disks, devices and streams. Before and after each write to a disk or a
 * device, and at each message, an end may lose its power, or the connection may be cut; an end that went down comes back two
 * seconds later. Messages that are reordered or repeated are what a broken stream and a new one look like: an ordered stream
 * gives no other. At every one of these points, and whenever time moves, a packet must pass both ways.
 *
 * A peer that never answers and a path that never works are ordinary states: with either, the own keys change again and again,
 * the tunnels to everybody else follow without losing a packet, and the pair catches up when the trouble is over.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { MessageStream, PeerKey } from '#agent/network/network';
import { Tunnels, type TunnelsDeps } from '#agent/tunnel/pairs/tunnels';
import { type TunnelView, viewKey } from '#agent/tunnel/pairs/view';
import { Views, type ViewsDeps } from '#agent/tunnel/pairs/views';
import type { Aid, Said } from '#kel/identifiers';
import type { LogFields } from '#src/journal';
import { Secret } from '#src/secret';
import { StateTable } from '#src/store/state-table';
import { wireguardPublicKey } from '#src/wireguard/static-key';
import type { InterfaceName, TunnelDriver } from '#src/wireguard/tunnel-driver';
import { SeededRng } from '../support/doubles/seeded-rng.ts';
import { type PairedStream, streamPair } from '../support/doubles/stream-pair.ts';
import { SimulatedClock } from '../support/simulation/simulated-clock.ts';
import { Power, SimulatedDisk } from '../support/simulation/simulated-files.ts';
import { SimulatedTunnels } from '../support/simulation/simulated-tunnels.ts';

type Name = 'alice' | 'bob' | 'carol';
const NAMES = ['alice', 'bob', 'carol'] as const;
const TWO = ['alice', 'bob'] as const;
const MESH = `EA${'m'.repeat(42)}` as Said;
const ESTABLISHMENT = `EA${'e'.repeat(42)}` as Said;

type Fault = `${Name} loses power` | 'cut';
const FAULTS: readonly Fault[] = ['alice loses power', 'bob loses power', 'cut'];
/** What may be wrong with one peer for as long as it likes: nothing comes back from its agent, or no datagram between the two. */
type Trouble = 'never answers' | 'has no path';

/** Where each fault falls: at the n-th step of the run, counted over both ends. */
type Plan = readonly { readonly at: number; readonly fault: Fault }[];

/** Every place of a second fault, or every 67th, shifted from one first fault to the next: `npm run test:slow` takes all. */
const isSlow = process.env['KELMESH_SLOW'] === '1';
const STRIDE = isSlow ? 1 : 67;
/** Each place of a first fault with devices that tell their events, and with such as have to be asked; the second ones by turns. */
const TELLING = [TWO, []] as const;
const TURNS = isSlow ? 1 : TELLING.length;
const DOWN_MS = 2_000;
const DRAIN_MS = 5_000;
/** Own keys change this often while a peer is in trouble. */
const ROTATIONS = 4;

const ROWS_SHOWN = 12;
/** Rows of `next-step.ts` that must come up where a fault falls: each is then shown to lose no packet. */
const ROWS: readonly string[] = [
  'agree: unasked',
  'count: first look',
  'flip: staged view is warm',
  'lead: both keys are new',
  'lead: own key is new',
  'lead: the other end is late',
  'rest: an exchange runs',
  'rest: both ends on the newest keys',
  'rest: not connected',
  'retire: silent',
  'wait: not connected, a session may come',
  'wait: the other end leads',
];

/** A key epoch of an end. */
interface Key {
  readonly owner: Name;
  readonly said: Said;
  readonly wireguard: Secret;
  /** As the others hold it. */
  readonly record: object;
}

function newKey(owner: Name, epoch: number): Key {
  const text = `${owner.charAt(0)}${epoch}`;
  const said = `EA${text.repeat(21)}` as Said;
  const wireguard = new Secret(new Uint8Array(32).fill(10 * text.charCodeAt(0) + epoch));
  const wg = wireguardPublicKey(wireguard);
  const record = { t: 'tun', d: said, es: { d: ESTABLISHMENT }, wg, nb: '', na: '9' };
  return { owner, said, wireguard, record };
}

const KEYS = NAMES.flatMap((name) =>
  Array.from({ length: ROTATIONS + 1 }, (_, epoch) => newKey(name, epoch)),
);

function keyOf(name: Name, epoch: number): Key {
  return KEYS.filter(({ owner }) => owner === name)[epoch] as Key;
}

/** Counts a step before and after each write of a program to its disk or its devices. */
class WatchedPower extends Power {
  readonly #step: () => void;

  constructor(step: () => void) {
    super();
    this.#step = step;
  }

  override async write<T>(work: () => Promise<T>, torn: () => Promise<unknown>): Promise<T> {
    if (this.isOn) this.#step();
    const done = await super.write(work, torn);
    this.#step();
    return this.while(Promise.resolve(done));
  }
}

class End {
  readonly name: Name;
  readonly aid: Aid;
  readonly disk: SimulatedDisk;
  epoch = 0;
  power: WatchedPower | undefined;
  tunnels: Tunnels | undefined;
  serve: ((stream: MessageStream) => Promise<void>) | undefined;
  #stop = new AbortController();
  readonly #world: World;

  constructor(world: World, name: Name) {
    this.#world = world;
    this.name = name;
    this.aid = `E${name}` as Aid;
    this.disk = new SimulatedDisk(world.rng.fork(name));
  }

  get isUp(): boolean {
    return this.power?.isOn === true;
  }

  /** As an agent starts: from what is on disk. */
  async boot(): Promise<void> {
    const power = new WatchedPower(() => this.#world.step());
    this.power = power;
    this.#stop = new AbortController();
    power.onCut(() => this.#stop.abort());
    const database = await this.disk.database(power);
    const table = await StateTable.open(database, 'tunnel');
    this.tunnels = new Tunnels(this.#world.deps(this, power, table), {
      prefix: 'km',
      port: 51_820,
      mtu: 1_420,
      keepalive: 25,
      drainMs: DRAIN_MS,
      changeMs: 600_000,
      lazyIdleMs: 300_000,
    });
    await this.tunnels.start(this.#stop.signal);
  }
}

class World {
  readonly rng = new SeededRng('explorer');
  readonly clock = new SimulatedClock();
  readonly states = new Set<string>();
  /** Rows of the tables of `next-step.ts` that came up. */
  readonly rows = new Set<string>();
  /** How often a device was asked for its peers. */
  reads = 0;
  /** Newest last, for whoever reads a failure. */
  #taken: readonly string[] = [];
  readonly #tunnels: SimulatedTunnels;
  readonly #ends: ReadonlyMap<Name, End>;
  readonly #agreedAt = new Map<string, number>();
  readonly #plan: Plan;
  #streams: readonly PairedStream[] = [];
  #isWatched = false;
  #steps = 0;
  /** Pairs that were in trouble. */
  readonly #lost = new Set<string>();
  #trouble: { readonly who: Name; readonly what: Trouble } | undefined;

  /** @param telling ends whose devices tell their events; those of the others have to be asked */
  constructor(plan: Plan, telling: readonly Name[], names: readonly Name[] = TWO) {
    this.#plan = plan;
    const underlay = {
      separated: (a: string, b: string) =>
        this.#trouble?.what === 'has no path' &&
        [a, b].includes(this.#trouble.who) &&
        [a, b].includes('alice'),
      delay: () => 5,
      loses: () => false,
    };
    const tells = (host: string) => telling.some((name) => name === host);
    this.#tunnels = new SimulatedTunnels(this.clock, this.rng, underlay, tells);
    this.#tunnels.onApplied = () => this.#check();
    this.#ends = new Map(names.map((name) => [name, new End(this, name)]));
    for (const [n, name] of names.entries()) this.#tunnels.addHost(name, `10.0.0.${n + 1}`);
  }

  get steps(): number {
    return this.#steps;
  }

  /** Changes the keys of `rotating`, with the faults of the plan, and runs until nothing is left of the former keys. */
  async run(rotating: readonly Name[]): Promise<void> {
    await this.#begin();
    for (const name of rotating) this.#end(name).epoch = 1;
    for (const end of this.#all()) end.tunnels?.pokeAll();
    await this.clock.runUntil(() => {
      this.#check();
      return this.#isDone();
    }, 120_000);
    this.#expectSettled();
  }

  /**
   * The keys of alice change {@link ROTATIONS} times, as an agent does it, while `who` is in trouble; then the trouble ends.
   * @param isThereFirst whether there was a tunnel before the trouble
   */
  async runBeside(who: Name, what: Trouble, isThereFirst: boolean): Promise<void> {
    const aid = `E${who}` as Aid;
    if (!isThereFirst) this.#trouble = { who, what };
    await this.#begin();
    this.#trouble = { who, what };
    for (const other of NAMES) this.#lost.add([who, other].sort().join());
    const alice = this.#end('alice');
    for (let epoch = 1; epoch <= ROTATIONS; epoch++) {
      if (!alice.isUp) await this.clock.runUntil(() => alice.isUp, 10_000);
      const settled = alice.tunnels?.settle() ?? Promise.resolve();
      await this.clock.run(settled.catch(nothing), 60_000);
      alice.epoch = epoch;
      for (const end of this.#all()) end.tunnels?.pokeAll();
      await this.clock.runUntil(() => {
        this.#check();
        return this.#hasFollowed(alice);
      }, 120_000);
      if (epoch < 2) continue;
      assert.equal(alice.tunnels?.activeView(aid), undefined);
      assert.equal(alice.tunnels?.leftBehind(aid) !== undefined, isThereFirst, 'it is shown');
    }
    this.#trouble = undefined;
    for (const stream of this.#streams) stream.abort(new Error('a new connection'));
    for (const end of this.#all()) end.tunnels?.pokeAll();
    await this.clock.runUntil(() => {
      this.#check();
      return this.#isDone();
    }, 300_000);
    assert.ok(this.#isOpen());
    assert.equal(alice.tunnels?.leftBehind(aid), undefined);
    this.#expectSettled();
  }

  async #begin(): Promise<void> {
    for (const end of this.#all()) await this.clock.run(end.boot());
    await this.clock.runUntil(() => this.#isOpen(), 60_000);
    await this.clock.advance(1_000);
    this.#isWatched = true;
  }

  #expectSettled(): void {
    this.#isWatched = false;
    assert.ok(
      this.#plan.every(({ at }) => at <= this.#steps),
      'a fault did not fall',
    );
    for (const [a, b] of this.#pairs()) {
      const [here, there] = [a.tunnels?.activeView(b.aid), b.tunnels?.activeView(a.aid)];
      assert.notEqual(here?.initiates, there?.initiates);
    }
    if (this.#ends.size > 2) return;
    for (const end of this.#all())
      assert.equal(this.#tunnels.devicesOf(end.name).length, 1, `devices of ${end.name}`);
  }

  /** Everybody but who is in trouble is on the newest key of `end`. */
  #hasFollowed(end: End): boolean {
    if (!end.isUp) return false;
    const newest = keyOf(end.name, end.epoch).said;
    return this.#others(end)
      .filter(({ name }) => name !== this.#trouble?.who)
      .every(
        (other) =>
          end.tunnels?.activeView(other.aid)?.own === newest &&
          other.tunnels?.activeView(end.aid)?.peer === newest,
      );
  }

  /** A point at which something may go wrong. */
  step(): void {
    if (!this.#isWatched) return;
    this.#steps += 1;
    this.#check();
    this.states.add(this.state());
    const fault = this.#plan.find(({ at }) => at === this.#steps)?.fault;
    if (fault === undefined) return;
    for (const stream of this.#streams) stream.abort(new Error(fault));
    if (fault === 'cut') {
      this.clock.schedule(DOWN_MS, () => {
        for (const end of this.#all()) end.tunnels?.pokeAll();
      });
      return;
    }
    const end = this.#end(fault.slice(0, fault.indexOf(' ')) as Name);
    if (!end.isUp) return;
    end.power?.cut();
    this.clock.schedule(DOWN_MS, () => {
      void end.boot().then(() => {
        for (const other of this.#others(end)) other.tunnels?.pokeAll();
      });
    });
  }

  deps(end: End, power: Power, table: StateTable): TunnelsDeps {
    const others = this.#others(end);
    const { clock } = this;
    const load = async (said: Said) => KEYS.find((key) => key.said === said);
    const agreed = (aid: Aid, view: TunnelView) => {
      const key = viewKey(end.aid, aid, view);
      if (!this.#agreedAt.has(key)) this.#agreedAt.set(key, clock.monotonic());
      const since = this.#agreedAt.get(key) as number;
      const at = clock.now() - clock.monotonic() + since;
      return { th: new Uint8Array(32).fill(9), at, steady: at, since };
    };
    const driver = this.#tunnels.driver(end.name, clock, power);
    const identity = { aid: end.aid };
    const records = {
      get: (said: Said) => KEYS.find((key) => key.said === said),
      latest: (_: string, aid: Aid) => this.#endOf(this.#byAid(aid)),
      list: (_: string, aid: Aid) => this.#keysOf(aid),
    };
    const ownKeys = {
      get currentRecord() {
        return keyOf(end.name, end.epoch).said;
      },
      get current() {
        return { record: { d: keyOf(end.name, end.epoch).said } };
      },
      load,
      forget: () => undefined,
    };
    const views = new Views({
      identity,
      kel: { state: () => ({ establishment: { said: ESTABLISHMENT } }) },
      records,
      ownKeys,
      clock,
      isRevoked: () => false,
    } as unknown as ViewsDeps);
    return {
      identity,
      views,
      membership: {
        others: () => others.map(({ aid }) => ({ aid })),
        standing: { other: (aid: Aid) => others.find((other) => other.aid === aid) },
        isIn: true,
        mesh: MESH,
      },
      edges: { open: () => others.map(({ aid }) => ({ aid })), of: () => ({ kind: 'open' }) },
      ownKeys,
      pairKeys: {
        ensure: async (aid: Aid, view: TunnelView) => agreed(aid, view),
        agreed,
        take: async () => {
          const psk = new Secret(new Uint8Array(32).fill(5));
          return { of: () => psk, [Symbol.dispose]: () => psk[Symbol.dispose]() };
        },
        retire: async () => undefined,
        onAgreed: () => undefined,
      },
      epochKeys: {
        epoch: () => 0,
        untilNextEpoch: () => 3_600_000,
        show: async () => undefined,
      },
      driver: { ...driver, peers: (name: InterfaceName) => this.#counted(driver, name) },
      network: {
        handle: (_: string, __: object, serve: End['serve']) => {
          end.serve = serve;
        },
        open: async (peer: PeerKey) => this.#open(end, this.#end(peer as unknown as Name)),
      },
      directory: {
        peerOf: (aid: Aid) => {
          const other = this.#byAid(aid);
          return other.isUp ? (other.name as unknown as PeerKey) : undefined;
        },
        aidOf: (peer: PeerKey) => this.#end(peer as unknown as Name).aid,
      },
      clock,
      rng: this.rng,
      table,
      journal: {
        info: nothing,
        warn: nothing,
        error: nothing,
        failed: nothing,
        debug: (_: string, { step }: LogFields = {}) => {
          if (typeof step === 'string') this.#take(end, step);
        },
      },
      isRevoked: () => false,
    } as unknown as TunnelsDeps;
  }

  #take({ name }: End, row: string): void {
    this.rows.add(row);
    this.#taken = [...this.#taken, `${name} ${row}`].slice(-ROWS_SHOWN);
  }

  #counted(driver: TunnelDriver, name: InterfaceName): ReturnType<TunnelDriver['peers']> {
    this.reads += 1;
    return driver.peers(name);
  }

  /** The rows that came up last, of both ends. */
  get taken(): string {
    return this.#taken.join('; ');
  }

  #open(from: End, to: End): MessageStream {
    if (!to.isUp) throw new Error('nobody is there');
    const streams = streamPair({ maxMessage: 1_024 });
    this.#streams = [...this.#streams, ...streams];
    const isSilent =
      this.#trouble?.what === 'never answers' && [from.name, to.name].includes(this.#trouble.who);
    if (!isSilent) void to.serve?.(this.#watched(to, streams[1], from)).catch(nothing);
    return this.#watched(from, streams[0], to);
  }

  /** A step before each message that is sent and after each that has come; an end without power does neither. */
  #watched(end: End, stream: PairedStream, other: End): MessageStream {
    const { power } = end;
    const whilePowered = <T>(work: () => Promise<T>): Promise<T> =>
      power?.while(work()) ?? Promise.reject(new Error('no power'));
    return {
      peer: other.name as unknown as PeerKey,
      send: async (message) => {
        this.step();
        await whilePowered(() => stream.send(message));
      },
      receive: (signal) =>
        whilePowered(async () => {
          const message = await stream.receive(signal);
          await this.clock.sleep(5);
          this.step();
          return message;
        }),
      close: () => stream.close(),
      abort: (reason) => stream.abort(reason),
    };
  }

  #keysOf(aid: Aid) {
    const end = this.#all().find((candidate) => candidate.aid === aid);
    return end === undefined
      ? []
      : KEYS.filter(({ owner }) => owner === end.name).slice(0, end.epoch + 1);
  }

  #endOf({ name, epoch }: End) {
    const host = [...this.#ends.keys()].indexOf(name) + 1;
    return { record: { ue: [{ t: keyOf(name, epoch).said, a: [`10.0.0.${host}:51820`] }] } };
  }

  #isOpen(): boolean {
    return this.#pairs().every(
      ([a, b]) => this.#isTroubled(a, b) || this.#tunnels.canPass(a.name, b.name),
    );
  }

  /** Whether one of the two is in trouble: nothing is expected of the pair. */
  #isTroubled(a: End, b: End): boolean {
    const who = this.#trouble?.who;
    return who !== undefined && [a.name, b.name].includes(who);
  }

  /** Whether the two were in trouble and have no tunnel yet since then. */
  #isComingBack(a: End, b: End): boolean {
    const name = [a.name, b.name].sort().join();
    if (!this.#lost.has(name)) return false;
    const passes = this.#tunnels.canPass(a.name, b.name) && this.#tunnels.canPass(b.name, a.name);
    if (passes) this.#lost.delete(name);
    return !passes;
  }

  #isDone(): boolean {
    return this.#all().every((end) => {
      if (!end.isUp || end.tunnels?.isRotating !== false) return false;
      return this.#others(end).every((other) => {
        const view = end.tunnels?.activeView(other.aid);
        const wanted = [end, other].map(({ name, epoch }) => keyOf(name, epoch).said);
        return view?.own === wanted[0] && view?.peer === wanted[1];
      });
    });
  }

  /** No packet is lost, and none waits, in any state of both ends. */
  #check(): void {
    if (!this.#isWatched) return;
    for (const [from, to] of this.#pairs()) {
      if (this.#isTroubled(from, to) || this.#isComingBack(from, to)) continue;
      const passage = this.#tunnels.passage(from.name, to.name);
      assert.equal(passage, 'passes', `${from.name} to ${to.name}`);
    }
    for (const end of this.#all()) {
      for (const { owners, peers } of this.#tunnels.devicesOf(end.name)) {
        assert.ok(owners.size < this.#ends.size);
        for (const { presharedKey } of peers.values()) assert.match(presharedKey, /[1-9a-f]/);
      }
    }
  }

  /** For whoever reads a failure, and to count them. */
  state(): string {
    return JSON.stringify(
      this.#all().map((end) => [
        end.isUp,
        end.tunnels
          ?.progress()
          .map(({ active, change, draining }) => [
            active && [active.own, active.peer, active.slot, active.initiates],
            change && [change.own, change.peer, change.step, change.place],
            draining.map(({ own, peer, slot, isConfirmed }) => [own, peer, slot, isConfirmed]),
          ]),
        this.#tunnels
          .devicesOf(end.name)
          .map(({ name, owners, peers }) => [
            name,
            [...owners],
            [...peers.values()].map(({ keepalive, sessions }) => [keepalive, sessions.length > 0]),
          ]),
      ]),
    );
  }

  #all(): readonly End[] {
    return [...this.#ends.values()];
  }

  /** Each pair in both directions. */
  #pairs(): readonly (readonly [End, End])[] {
    return this.#all().flatMap((end) => this.#others(end).map((other) => [end, other] as const));
  }

  #end(name: Name): End {
    const end = this.#ends.get(name);
    if (end === undefined) throw new RangeError(`expected an end of this world, got ${name}`);
    return end;
  }

  #byAid(aid: Aid): End {
    return this.#end(aid.slice(1) as Name);
  }

  #others({ name }: End): readonly End[] {
    return this.#all().filter((end) => end.name !== name);
  }
}

function nothing(): void {}

describe('explorer of the change of tunnel keys', function () {
  this.timeout(200_000);

  const rows = new Set<string>();

  for (const rotating of [['alice'], ['bob'], ['alice', 'bob']] as const) {
    it(`loses no packet, whatever two faults fall while ${rotating.join(' and ')} changes keys`, async () => {
      const states = new Set<string>();
      let runs = 0;
      const run = async (plan: Plan, telling: readonly Name[]): Promise<number> => {
        runs += 1;
        const world = new World(plan, telling);
        try {
          await world.run(rotating);
        } catch (error) {
          throw new Error(
            `${JSON.stringify(plan)}, ${telling.length} tell: ${(error as Error).message}; ${world.taken}; ${world.state()}`,
            {
              cause: error,
            },
          );
        }
        for (const state of world.states) states.add(state);
        for (const row of world.rows) rows.add(row);
        return world.steps;
      };
      let steps = 0;
      for (const [turn, telling] of TELLING.entries()) {
        steps = await run([], telling);
        for (let first = 1; first <= steps; first++) {
          for (const fault of FAULTS) {
            const plan = [{ at: first, fault }];
            const after = await run(plan, telling);
            const from = first + 1 + (first % STRIDE) + ((turn * STRIDE) % (TURNS * STRIDE));
            for (let second = from; second <= after; second += TURNS * STRIDE)
              for (const other of FAULTS)
                await run([...plan, { at: second, fault: other }], telling);
          }
        }
      }
      console.log(
        `      ${runs} runs, ${states.size} states of both ends, ${steps} steps without a fault`,
      );
      assert.ok(runs > 500 && states.size > 30);
    });
  }

  for (const what of ['never answers', 'has no path'] as const)
    for (const isThereFirst of [true, false])
      it(`goes on with everybody else, whatever fault falls, beside a peer that ${what}${isThereFirst ? '' : ' from the beginning'}`, async () => {
        let runs = 0;
        const run = async (plan: Plan): Promise<number> => {
          runs += 1;
          const world = new World(plan, ['alice'], NAMES);
          try {
            await world.runBeside('bob', what, isThereFirst);
          } catch (error) {
            throw new Error(
              `${JSON.stringify(plan)}: ${(error as Error).message}; ${world.taken}; ${world.state()}`,
              { cause: error },
            );
          }
          return world.steps;
        };
        const steps = await run([]);
        const stride = Math.max(1, Math.ceil((steps * STRIDE) / 2_000));
        for (let at = 1; at <= steps; at += stride)
          for (const fault of ['alice loses power', 'carol loses power', 'cut'] as const)
            await run([{ at, fault }]);
        console.log(`      ${runs} runs, ${steps} steps without a fault`);
        assert.ok(runs > 50);
      });

  it('asks devices that tell their events a small part of what it asks others while no handshake comes', async () => {
    const readsWith = async (telling: readonly Name[]) => {
      const world = new World([], telling, NAMES);
      await world.runBeside('bob', 'has no path', false);
      return world.reads;
    };
    const [told, asked] = [await readsWith(NAMES), await readsWith([])];
    console.log(`      ${told} reads with events, ${asked} without`);
    assert.ok(3 * told < asked, `${told} with events, ${asked} without`);
  });

  it('comes by every row of the tables that a fault can lead to', () => {
    assert.deepEqual(
      ROWS.filter((row) => !rows.has(row)),
      [],
    );
  });
});

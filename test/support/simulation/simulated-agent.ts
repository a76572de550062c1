/**
 * A federation that can be replayed: the product's own agents on virtual time, each on a machine whose disk,
 * token and WireGuard devices outlive the agent. One seed decides everything; the trace says what happened.
 */
import { createHash } from 'node:crypto';
import { ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import { nodeRequest } from '#agent/identity/node/request';
import { parseInvite } from '#agent/mesh/membership/invite';
import {
  createOrganisation,
  type Organisation,
  openOrganisation,
  requestNode,
} from '#agent/organisation/organisation';
import {
  Agent,
  type AgentSettings,
  type Running,
  type RunningParts,
} from '#agent/organisation/running/agent';
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';
import { type Journal, journalOf, type LogFields } from '#src/journal';
import type { KeyStore } from '#src/keystore/key-store';
import type { Rng } from '#src/rng';
import { seededKeyStore } from '../doubles/seeded-key-store.ts';
import { SeededRng } from '../doubles/seeded-rng.ts';
import { firstAlone } from './first-alone.ts';
import { SimulatedClock } from './simulated-clock.ts';
import { Power, poweredKeyStore, SimulatedDisk } from './simulated-files.ts';
import { SimulatedWorld } from './simulated-network.ts';
import { SimulatedOverlay } from './simulated-overlay.ts';
import { SimulatedTunnels, type Underlay } from './simulated-tunnels.ts';

/** Lines of the trace that are kept for whoever reads a failure. */
const TRACE_KEPT = 400;
const MAX_VERIFIED = 1 << 18;
const QUIET_ROUNDS = 6;
/** Traces what an agent says at level debug too; the world goes the same way. */
const isVerbose = process.env['KELMESH_TRACE'] === '1';

export interface FederationOptions {
  readonly seed: string | number;
  readonly size: number;
  /** Of the mesh; @default 120 */
  readonly epochSeconds?: number;
  /** Milliseconds by which the clock of agent `n` is ahead; @default 0 */
  readonly skew?: (n: number) => number;
  /** The agent whose node agent `n` is, one before it; @default an organisation of its own */
  readonly nodeOf?: (n: number) => number | undefined;
}

export class SimulatedFederation {
  readonly seed: string | number;
  readonly epochSeconds: number;
  readonly clock: SimulatedClock;
  readonly rng: SeededRng;
  readonly world: SimulatedWorld;
  readonly tunnels: SimulatedTunnels;
  readonly overlay: SimulatedOverlay;
  readonly agents: readonly SimulatedAgent[];
  readonly suite: CryptoSuite;
  /** What the governor hands to whoever shall join. */
  inviteLine = '';
  readonly #trace = createHash('sha256');
  readonly #recent: string[] = [];
  readonly #groups = new Map<string, number>();
  /** Pairs of names between which no datagram comes through. */
  readonly #noUdp = new Set<string>();

  private constructor(
    suite: CryptoSuite,
    { seed, size, epochSeconds = 120, skew = () => 0 }: FederationOptions,
  ) {
    this.seed = seed;
    this.epochSeconds = epochSeconds;
    this.suite = suite;
    this.rng = new SeededRng(seed);
    this.clock = new SimulatedClock({ quietRounds: QUIET_ROUNDS });
    this.world = new SimulatedWorld({ clock: this.clock, rng: this.rng });
    const rng = this.rng.fork('tunnels');
    const underlay: Underlay = {
      separated: (a, b) =>
        this.#groups.get(a) !== this.#groups.get(b) || this.#noUdp.has([a, b].sort().join()),
      delay: () => this.world.delay(),
      loses: () => this.world.loses(),
    };
    // Every other machine has a program that tells its events; those of the rest have to be asked.
    const tellsEvents = (host: string) => Number(host.slice(1)) % 2 === 1;
    this.tunnels = new SimulatedTunnels(this.clock, rng, underlay, tellsEvents);
    this.overlay = new SimulatedOverlay(this.clock, this.tunnels, underlay);
    this.agents = Array.from(
      { length: size },
      (_, n) => new SimulatedAgent(this, `m${String(n).padStart(2, '0')}`, skew(n)),
    );
  }

  /** Machines with identities; nothing runs yet. */
  static async create(options: FederationOptions): Promise<SimulatedFederation> {
    const federation = new SimulatedFederation(await sharedSuite(), options);
    for (const [n, agent] of federation.agents.entries()) {
      const above = options.nodeOf?.(n);
      const organisation = above === undefined ? undefined : federation.agents[above];
      await (organisation === undefined ? agent.create() : agent.createNode(organisation));
    }
    return federation;
  }

  get governor(): SimulatedAgent {
    return this.agents[0] as SimulatedAgent;
  }

  /** The governor founds the mesh and starts; the others join with its line, start, and knock. */
  async found(joiners: readonly SimulatedAgent[] = this.agents.slice(1)): Promise<void> {
    await this.governor.organisation.governing.create({
      name: 'simulated',
      memberName: this.governor.name,
      epochSeconds: this.epochSeconds,
    });
    await this.governor.start();
    this.inviteLine = this.governor.organisation.governing.invite(
      this.governor.running.network.addresses(),
    );
    for (const agent of joiners) await agent.join();
  }

  /** The governor's operator admits whoever knocks and is named in `names`, until all are members. */
  async admit(agents: readonly SimulatedAgent[], withinMs = 600_000): Promise<void> {
    const { governor, clock } = this;
    const waiting = new Map(agents.map((agent) => [agent.aid, agent]));
    for (const end = clock.now() + withinMs; waiting.size > 0; ) {
      if (clock.now() > end)
        throw new Error(
          `${this.where}: ${waiting.size} of ${agents.length} have not knocked within ${withinMs} ms`,
        );
      await clock.advance(5_000);
      for (const { aid } of governor.running.sync.knocks.list()) {
        const agent = waiting.get(aid);
        if (agent === undefined) continue;
        await this.perform(governor.organisation.governing.admit(aid, agent.name));
        waiting.delete(aid);
      }
    }
  }

  partition(groups: readonly (readonly SimulatedAgent[])[]): void {
    const names = groups.map((group) => group.map(({ name }) => name));
    for (const [index, group] of names.entries())
      for (const name of group) this.#groups.set(name, index);
    this.world.partition(names);
    this.trace('world', 'partition', { groups: names.map((group) => group.length).join('+') });
  }

  /** No datagram comes through between the two; their agents hear each other as before. */
  blockUdp(a: SimulatedAgent, b: SimulatedAgent): void {
    this.#noUdp.add([a.name, b.name].sort().join());
    this.trace('world', 'no UDP', { between: `${a.name} and ${b.name}` });
  }

  heal(): void {
    this.#groups.clear();
    this.#noUdp.clear();
    this.world.heal();
    this.trace('world', 'heal');
  }

  /** Work that needs no time is done at the same instant, other work as time goes on. */
  async perform<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    work.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    for (let turn = 0; turn < 64 && !settled; turn++)
      await new Promise<void>((resolve) => setImmediate(resolve));
    return settled ? work : this.clock.run(work);
  }

  /** Moves time until `isDone`, looked at every `stepMs`. @returns milliseconds it took; throws with what `why` says */
  async until(
    isDone: () => boolean | Promise<boolean>,
    withinMs: number,
    why: () => string | Promise<string>,
    stepMs = 5_000,
  ): Promise<number> {
    const begun = this.clock.now();
    while (!(await isDone())) {
      if (this.clock.now() - begun >= withinMs)
        throw new Error(
          `${this.where}: not within ${withinMs / 1_000} s: ${await why()}\n${this.recent()}`,
        );
      await this.clock.advance(stepMs);
    }
    return this.clock.now() - begun;
  }

  /** For messages of failures: how to come here again. */
  get where(): string {
    return `seed ${this.seed}, ${this.agents.length} agents, ${new Date(this.clock.now()).toISOString()}`;
  }

  trace(who: string, event: string, fields: LogFields = {}): void {
    const line = `${this.clock.now()} ${who} ${event} ${JSON.stringify(fields)}`;
    this.#trace.update(line);
    this.#recent.push(line);
    if (this.#recent.length > 2 * TRACE_KEPT) this.#recent.splice(0, TRACE_KEPT);
  }

  /** Hex digest of everything that was traced so far: the same seed and program give the same. */
  digest(): string {
    return this.#trace.copy().digest('hex');
  }

  recent(count = 40): string {
    return this.#recent.slice(-count).join('\n');
  }

  /** Ends every agent without a word; no timer of this world fires any more. */
  abandon(): void {
    for (const agent of this.agents) agent.crash();
  }
}

export class SimulatedAgent {
  readonly name: string;
  /** As its configuration says, from the next start on. */
  settings: Pick<AgentSettings, 'rotation' | 'gateway'> &
    Pick<AgentSettings['tunnel'], 'changeMs'> = {
    changeMs: 900_000,
    rotation: {
      askedBy: 'governor',
      everyMs: { tunnel: 0, id: 0 },
      jitter: 0,
      windows: [],
      events: [],
    },
  };
  /** From the next start on it knows no protocol of version 2. */
  speaksFirstAlone = false;
  readonly #federation: SimulatedFederation;
  /** By how much its clock is ahead of the world's. */
  #skewMs: number;
  readonly #disk: SimulatedDisk;
  readonly #token: KeyStore;
  #runs = 0;
  #power = new Power();
  #organisation: Organisation | undefined;
  #running: Running | undefined;
  #aid: Aid | undefined;

  constructor(federation: SimulatedFederation, name: string, skewMs: number) {
    this.#federation = federation;
    this.name = name;
    this.#skewMs = skewMs;
    this.#disk = new SimulatedDisk(federation.rng.fork(`disk ${name}`));
    this.#token = seededKeyStore(federation.rng.fork(`token ${name}`));
    federation.tunnels.addHost(
      name,
      /^\/ip4\/([^/]+)/.exec(federation.world.addressOf(name))?.[1] ?? '',
    );
  }

  get aid(): Aid {
    if (this.#aid === undefined) throw new Error(`${this.name} has no identity yet`);
    return this.#aid;
  }

  get organisation(): Organisation {
    if (this.#organisation === undefined) throw new Error(`${this.name} is down`);
    return this.#organisation;
  }

  /** The parts of the agent as it runs. */
  get running(): RunningParts {
    if (this.#running === undefined) throw new Error(`${this.name} does not run`);
    return this.#running.parts;
  }

  get isRunning(): boolean {
    return this.#running !== undefined && this.#power.isOn;
  }

  async create(): Promise<void> {
    this.#organisation = await createOrganisation(await this.#boot(), {
      algorithm: 'ed25519',
      kind: 'CBOR',
    });
    this.#aid = this.#organisation.identity.aid;
    this.#federation.trace(this.name, 'created', { aid: this.#aid });
  }

  /** A node of `organisation`, which approves it; both at rest. */
  async createNode({ organisation: above }: SimulatedAgent): Promise<void> {
    const delegator = above.identity.aid;
    const options = { algorithm: 'ed25519', kind: 'CBOR', delegator } as const;
    const { message, aid } = await requestNode(await this.#boot(), options);
    const approval = await above.desk.approve(
      nodeRequest(this.name, Buffer.from(message, 'base64')),
    );
    this.#organisation = await openOrganisation(await this.#boot(), approval.stream);
    this.#aid = aid;
    this.#federation.trace(this.name, 'created', { aid, delegator });
  }

  /** Starts the agent; after a crash or a stop it finds what it left. */
  async start(): Promise<void> {
    const { world, tunnels, overlay } = this.#federation;
    this.#organisation ??= await openOrganisation(await this.#boot());
    const clock = this.#organisation.drivers.clock;
    const power = this.#power;
    const work = Agent.start(
      this.#organisation,
      {
        network: async () => {
          const network = world.network(this.name);
          return this.speaksFirstAlone ? firstAlone(network) : network;
        },
        tunnels: tunnels.driver(this.name, clock, power),
        overlay: overlay.driver(this.name, power),
      },
      {
        tunnel: {
          prefix: 'km',
          port: 51_820,
          mtu: 1_420,
          keepalive: 25,
          drainMs: 180_000,
          changeMs: this.settings.changeMs,
          lazyIdleMs: 300_000,
        },
        rotation: this.settings.rotation,
        ...(this.settings.gateway === undefined ? {} : { gateway: this.settings.gateway }),
        endpointHosts: [],
        name: this.name,
      },
    );
    this.#running = await this.#federation.perform(work);
  }

  /** Its clock is set: from now on it shows this much more. */
  stepClock(ms: number): void {
    this.#skewMs += ms;
    this.#federation.trace(this.name, 'clock', { ms });
  }

  /** Takes the governor's line and starts: the agent knocks until it is admitted. */
  async join(line = this.#federation.inviteLine): Promise<void> {
    await this.organisation.governing.join(parseInvite(line));
    await this.start();
  }

  /** Ends it as `kelmesh down` does; the devices stay. */
  async stop(): Promise<void> {
    if (this.#running === undefined) throw new Error(`${this.name} does not run`);
    await this.#federation.perform(this.#running.agent.stop({ removeTunnels: false }));
    this.#power.cut();
  }

  /** The process is gone, in the middle of whatever it did. */
  crash(): void {
    this.#power.cut();
  }

  /** The process will be gone at its `count`-th write from now. */
  crashAtWrite(count: number): void {
    this.#power.cutAtWrite(count);
  }

  #down(): void {
    this.#organisation = undefined;
    this.#running = undefined;
    this.#federation.world.crash(this.name);
    this.#federation.trace(this.name, 'down');
  }

  async #boot() {
    const power = new Power();
    power.onCut(() => this.#down());
    this.#power = power;
    this.#runs += 1;
    const { clock, suite, rng } = this.#federation;
    const own: Clock = {
      // Whole milliseconds, as the system clock gives them.
      now: () => Math.floor(clock.now()) + this.#skewMs,
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => power.while(clock.sleep(ms, signal)),
    };
    const random = rng.fork(`${this.name} run ${this.#runs}`);
    return {
      clock: own,
      rng: random,
      suite: {
        ...suite,
        mlKem1024: {
          ...suite.mlKem1024,
          encapsulate: encapsulateFrom(random.fork('encapsulation')),
        },
      },
      db: await this.#disk.database(power),
      keyStore: poweredKeyStore(this.#token, power),
      logFiles: this.#disk.logFiles(power),
      journal: this.#journal(power),
    };
  }

  #journal(power: Power): Journal {
    return journalOf((level, event, fields) => {
      if (power.isOn && (isVerbose || level !== 'debug'))
        this.#federation.trace(this.name, event, fields);
    });
  }
}

/** ML-KEM as it is, with randomness that repeats; the other half of the suite's does not. */
function encapsulateFrom(rng: Rng): CryptoSuite['mlKem1024']['encapsulate'] {
  return (publicKey) => {
    const { cipherText, sharedSecret } = ml_kem1024.encapsulate(publicKey, rng.bytes(32));
    return { ciphertext: cipherText, sharedSecret };
  };
}

let suitePromise: Promise<CryptoSuite> | undefined;

/** Fifty agents in one process verify each signature fifty times: what was verified once is known. */
function sharedSuite(): Promise<CryptoSuite> {
  suitePromise ??= loadCryptoSuite().then((suite) => ({
    ...suite,
    ed25519: { ...suite.ed25519, verify: remembering(suite.ed25519.verify) },
  }));
  return suitePromise;
}

function remembering(verify: CryptoSuite['ed25519']['verify']): CryptoSuite['ed25519']['verify'] {
  const verified = new Set<string>();
  return (signature, message, publicKey) => {
    const key = createHash('sha256')
      .update(signature)
      .update(publicKey)
      .update(message)
      .digest('latin1');
    if (verified.has(key)) return true;
    if (!verify(signature, message, publicKey)) return false;
    if (verified.size >= MAX_VERIFIED) verified.clear();
    verified.add(key);
    return true;
  };
}

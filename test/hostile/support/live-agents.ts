/**
 * Agents that can be attacked: the product's own, in this process, over libp2p on loopback sockets, with LevelDB and audit logs on
 * disk. Each listens on a loopback address of its own. Time is real; the WireGuard devices alone are simulated, so that neither
 * privileges nor a second program is needed (attacks on real devices start machines: `test/support/machines/federation.ts`).
 */
import { randomUUID } from 'node:crypto';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Level } from 'level';
import { parseInvite } from '#agent/mesh/membership/invite';
import { createLibp2pNetwork, type Libp2pNetworkOptions } from '#agent/network/libp2p';
import type { PeerAddress, PeerKey } from '#agent/network/network';
import type { LocalDrivers } from '#agent/organisation/drivers';
import {
  createOrganisation,
  type Organisation,
  openOrganisation,
} from '#agent/organisation/organisation';
import {
  Agent,
  type AgentSettings,
  type Running,
  type RunningParts,
} from '#agent/organisation/running/agent';
import type { Aid } from '#kel/identifiers';
import { NodeLogFiles } from '#src/audit/log-files';
import type { Clock } from '#src/clock';
import { loadCryptoSuite } from '#src/crypto/suites';
import { type Journal, journalOf, type LogFields, type LogLevel } from '#src/journal';
import type { KeyStore } from '#src/keystore/key-store';
import type { Database } from '#src/store/durable-table';
import { seededKeyStore } from '../../support/doubles/seeded-key-store.ts';
import { SeededRng } from '../../support/doubles/seeded-rng.ts';
import { systemClock } from '../../support/doubles/system-clock.ts';
import { Power } from '../../support/simulation/simulated-files.ts';
import { SimulatedOverlay } from '../../support/simulation/simulated-overlay.ts';
import { SimulatedTunnels, type Underlay } from '../../support/simulation/simulated-tunnels.ts';
import { realTime } from '../../support/simulation/world-time.ts';

const POLL_MS = 50;
const UNDERLAY: Underlay = { separated: () => false, delay: () => 1, loses: () => false };

export interface LiveAgentsOptions {
  /** The first one governs. */
  readonly names: readonly string[];
  /** @default 3600 */
  readonly epochSeconds?: number;
  readonly limits?: Libp2pNetworkOptions['limits'];
}

export interface JournalEntry {
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
}

export class LiveAgents implements AsyncDisposable {
  readonly agents: readonly LiveAgent[];
  readonly #copies: LiveAgent[] = [];
  readonly tunnels: SimulatedTunnels;
  readonly overlay: SimulatedOverlay;
  readonly rng = new SeededRng(randomUUID());
  readonly epochSeconds: number;
  readonly limits: Libp2pNetworkOptions['limits'];
  /** What the governor hands to whoever shall join. */
  inviteLine = '';
  readonly #dir: string;

  private constructor(dir: string, { names, epochSeconds = 3_600, limits }: LiveAgentsOptions) {
    this.#dir = dir;
    this.epochSeconds = epochSeconds;
    this.limits = limits;
    this.tunnels = new SimulatedTunnels(realTime, this.rng.fork('tunnels'), UNDERLAY);
    this.overlay = new SimulatedOverlay(realTime, this.tunnels, UNDERLAY);
    this.agents = names.map((name, n) => new LiveAgent(this, name, `127.77.0.${n + 1}`));
  }

  /** Organisations with identities; nothing runs yet. */
  static async create(options: LiveAgentsOptions): Promise<LiveAgents> {
    const created = new LiveAgents(await mkdtemp(join(tmpdir(), 'kelmesh-hostile-')), options);
    for (const agent of created.agents) await agent.create();
    return created;
  }

  /** A mesh of all of them, each bound to each other. */
  static async mesh(options: LiveAgentsOptions): Promise<LiveAgents> {
    const created = await LiveAgents.create(options);
    try {
      await created.found();
    } catch (error) {
      await created[Symbol.asyncDispose]();
      throw error;
    }
    return created;
  }

  get governor(): LiveAgent {
    return this.get(this.agents[0]?.name ?? '');
  }

  get(name: string): LiveAgent {
    const agent = this.agents.find((one) => one.name === name);
    if (agent === undefined) throw new RangeError(`no agent ${name}`);
    return agent;
  }

  /** A second machine with a copy of the state directory of `agent`, which is stopped, and of its token. */
  async copyOf(agent: LiveAgent): Promise<LiveAgent> {
    const name = `${agent.name}-copy`;
    const host = `127.77.1.${this.#copies.length + 1}`;
    const copy = new LiveAgent(this, name, host, agent);
    this.#copies.push(copy);
    await cp(this.dirOf(agent.name), this.dirOf(name), { recursive: true });
    return copy;
  }

  dirOf(name: string): string {
    return join(this.#dir, name);
  }

  /** The governor founds the mesh and starts; `joiners` join with its line, start, and are admitted. */
  async found(joiners: readonly LiveAgent[] = this.agents.slice(1)): Promise<void> {
    const { governor } = this;
    await governor.organisation.governing.create({
      name: 'attacked',
      memberName: governor.name,
      epochSeconds: this.epochSeconds,
    });
    await governor.start();
    this.inviteLine = governor.organisation.governing.invite(governor.running.network.addresses());
    for (const agent of joiners) {
      await agent.organisation.governing.join(this.invite());
      await agent.start();
    }
    for (const agent of joiners) await this.admit(agent);
    await this.bound([governor, ...joiners]);
  }

  invite(): ReturnType<typeof parseInvite> {
    return parseInvite(this.inviteLine);
  }

  /** The governor's operator admits `agent` as soon as it knocks. */
  async admit(agent: LiveAgent): Promise<void> {
    const { running, organisation } = this.governor;
    await until(`${agent.name} knocks`, () => running.sync.knocks.get(agent.aid) !== undefined);
    await organisation.governing.admit(agent.aid, agent.name);
  }

  /** Each is connected to each other and has proven to it who it is. */
  async bound(agents: readonly LiveAgent[] = this.agents): Promise<void> {
    await until(`${agents.map(({ name }) => name).join(', ')} are bound`, () =>
      agents.every((agent) => agents.every((other) => other === agent || agent.isBoundTo(other))),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.agents, ...this.#copies].map((agent) => agent.stop()));
    await rm(this.#dir, { recursive: true, force: true });
  }
}

export class LiveAgent {
  readonly name: string;
  /** IPv4 address on which it listens. */
  readonly host: string;
  readonly journal: JournalEntry[] = [];
  /** Milliseconds by which the wall clock of this agent is ahead; may be changed while it runs. */
  skewMs = 0;
  readonly #all: LiveAgents;
  readonly #token: KeyStore;
  #port = 0;
  #power = new Power();
  #organisation: Organisation | undefined;
  #running: Running | undefined;
  #aid: Aid | undefined;

  /** @param original of which this is a copy: it has the same token */
  constructor(all: LiveAgents, name: string, host: string, original?: LiveAgent) {
    this.#all = all;
    this.name = name;
    this.host = host;
    this.#token =
      original === undefined
        ? heldOpen(seededKeyStore(all.rng.fork(`token ${name}`)))
        : original.#token;
    this.#aid = original === undefined ? undefined : original.#aid;
    all.tunnels.addHost(name, host);
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
    return this.#running !== undefined;
  }

  get peer(): PeerKey {
    return this.running.network.self;
  }

  /** Where it listens, with its peer id. */
  get address(): PeerAddress {
    const [address] = this.running.network.addresses();
    if (address === undefined) throw new Error(`${this.name} does not listen`);
    return address;
  }

  /** TCP port on which it listens. */
  get port(): number {
    return this.#port;
  }

  isBoundTo(other: LiveAgent): boolean {
    return this.#running?.parts.directory.peerOf(other.aid) !== undefined;
  }

  /** Events of the journal with this name. */
  events(event: string): readonly JournalEntry[] {
    return this.journal.filter((entry) => entry.event === event);
  }

  async create(): Promise<void> {
    const options = { algorithm: 'ed25519', kind: 'CBOR' } as const;
    this.#organisation = await createOrganisation(await this.#drivers(), options);
    this.#aid = this.#organisation.identity.aid;
  }

  /** Starts it, at the same address each time. */
  async start(): Promise<void> {
    this.#organisation ??= await openOrganisation(await this.#drivers());
    const { tunnels, overlay, limits } = this.#all;
    this.#power = new Power();
    this.#running = await Agent.start(
      this.#organisation,
      {
        network: (seed) =>
          createLibp2pNetwork({
            privateKey: seed,
            listen: [`/ip4/${this.host}/tcp/${this.#port}` as PeerAddress],
            bootstrap: [],
            mdns: false,
            clock: this.#clock,
            ...(limits === undefined ? {} : { limits }),
          }),
        tunnels: tunnels.driver(this.name, this.#clock, this.#power),
        overlay: overlay.driver(this.name, this.#power),
      },
      settingsFor(this.host),
    );
    this.#port = Number(/\/tcp\/(\d+)/.exec(this.address)?.[1]);
  }

  /** Ends it as `kelmesh down` does; the devices stay. */
  async stop(): Promise<void> {
    const [running, organisation] = [this.#running, this.#organisation];
    this.#running = undefined;
    this.#organisation = undefined;
    if (running !== undefined) await running.agent.stop({ removeTunnels: false });
    else await organisation?.close();
    this.#power.cut();
  }

  /** Copies the state directory of an agent that is stopped. @returns where */
  async copyState(): Promise<string> {
    const copy = this.#all.dirOf(`${this.name} ${randomUUID()}`);
    await cp(this.#all.dirOf(this.name), copy, { recursive: true });
    return copy;
  }

  /** Puts a copy in the place of the state directory; the token keeps what it holds. */
  async putBack(copy: string): Promise<void> {
    const dir = this.#all.dirOf(this.name);
    await rm(dir, { recursive: true });
    await cp(copy, dir, { recursive: true });
  }

  readonly #clock: Clock = {
    now: () => systemClock.now() + this.skewMs,
    monotonic: () => systemClock.monotonic(),
    sleep: (ms, signal) => systemClock.sleep(ms, signal),
  };

  async #drivers(): Promise<LocalDrivers> {
    const dir = this.#all.dirOf(this.name);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const db = new Level<string, Uint8Array>(join(dir, 'store'), { valueEncoding: 'view' });
    await db.open();
    return {
      clock: this.#clock,
      rng: this.#all.rng.fork(`${this.name} ${randomUUID()}`),
      suite: await loadCryptoSuite(),
      db: db as unknown as Database,
      keyStore: this.#token,
      logFiles: new NodeLogFiles(join(dir, 'audit')),
      journal: this.#journal(),
    };
  }

  #journal(): Journal {
    return journalOf((level, event, fields) => {
      this.journal.push({ level, event, fields });
      if (process.env['KELMESH_TRACE'] === '1')
        process.stderr.write(`${this.name} ${level} ${event} ${JSON.stringify(fields)}\n`);
    });
  }
}

/** A token that stays in its slot when the agent ends. */
function heldOpen(token: KeyStore): KeyStore {
  return { ...token, close: async () => undefined };
}

function settingsFor(host: string): AgentSettings {
  return {
    tunnel: {
      prefix: 'km',
      port: 51_820,
      mtu: 1_420,
      keepalive: 25,
      drainMs: 180_000,
      changeMs: 900_000,
      lazyIdleMs: 300_000,
    },
    rotation: {
      askedBy: 'governor',
      everyMs: { tunnel: 0, id: 0 },
      jitter: 0,
      windows: [],
      events: [],
    },
    endpointHosts: [host],
  };
}

/** Polls until `condition` holds; rejects with what was waited for. A wide margin: the machine may be busy. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 60_000,
): Promise<void> {
  for (const end = performance.now() + withinMs; !(await condition()); ) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(POLL_MS);
  }
}

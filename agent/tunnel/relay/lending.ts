/**
 * The relay of the last resort, as the member that lends it: ports of the data-plane program's relay for two members of the mesh. What
 * goes over them is ciphertext; known are sizes, times, and who asked. Each member has a quota a day, over all its pairs; what is
 * counted is kept by member alone, and not who spoke with whom.
 */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import { sha256 } from '#src/crypto/hash';
import type { Journal } from '#src/journal';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import { ticks } from '#src/ticks';
import type { Relay } from '#src/wireguard/relay-program';
import { ReachError } from '../reach/errors.ts';
import type { ReachMessage } from '../reach/messages.ts';

export interface LendingSettings {
  /** Bytes that one member may have relayed a day, both directions together. */
  readonly dailyBytes: number;
  /** Of one pair. */
  readonly bytesPerSecond: number;
}

export interface LendingDeps {
  readonly relay: Relay;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly table: StateTable;
  readonly self: Aid;
  readonly isMember: (aid: Aid) => boolean;
  /** IP addresses under which others reach the ports. */
  readonly hosts: () => Promise<readonly string[]>;
  /** From which address a member comes; undefined: not known. */
  readonly hostOf: (aid: Aid) => string | undefined;
}

/** Sessions in which one member may be. */
const MAX_PER_MEMBER = 16;
const IDLE_SECONDS = 300;
const COUNT_MS = 30_000;
const DAY_MS = 86_400_000;
const MAX_HOSTS = 4;

/** What a member has used, and on which day since the Unix epoch. */
interface Usage {
  readonly day: number;
  readonly bytes: number;
}

/** A session that runs; kept while it does, so that a restart of the agent goes on counting. */
interface Session {
  readonly ends: readonly [Aid, Aid];
  /** Bytes of it that were counted. */
  readonly counted: number;
}

type Remembered = Readonly<Record<string, Session>>;

export class Lending {
  readonly #deps: LendingDeps;
  readonly #settings: LendingSettings;
  readonly #queue = new SerialQueue();
  /** By the name under which the relay knows them. */
  readonly #sessions: Map<string, Session>;

  constructor(deps: LendingDeps, settings: LendingSettings) {
    this.#deps = deps;
    this.#settings = settings;
    this.#sessions = new Map(Object.entries(deps.table.get<Remembered>('sessions') ?? {}));
  }

  start(signal: AbortSignal): void {
    const { clock, journal } = this.#deps;
    const failed = (error: unknown) => journal.failed('relay.failed', error);
    void ticks({ clock, signal, pauseMs: () => COUNT_MS, failed }, () =>
      this.#queue.run(() => this.#count()),
    );
  }

  /** Bytes relayed today, by member. */
  usage(): ReadonlyMap<Aid, number> {
    const { table } = this.#deps;
    const day = this.#day();
    const used = table.get<Readonly<Record<string, Usage>>>('usage') ?? {};
    const today = Object.entries(used).filter(([, usage]) => usage.day === day);
    return new Map(today.map(([aid, { bytes }]) => [aid as Aid, bytes]));
  }

  /** @throws REACH_REFUSED for who is no member, or has used its quota or its sessions */
  lend(from: Aid, to: Aid): Promise<Extract<ReachMessage, { readonly kind: 'lent' }>> {
    return this.#queue.run(async () => {
      const { relay, isMember, hostOf, self, hosts } = this.#deps;
      if (to === from || to === self || !isMember(to) || !isMember(from))
        throw new ReachError('REACH_REFUSED', 'relayed is between two other members alone');
      const reached = (await hosts()).slice(0, MAX_HOSTS);
      if (reached.length === 0)
        throw new ReachError('REACH_REFUSED', 'this node has no public address');
      await this.#count();
      const name = nameOf(from, to);
      const isLower = from < to;
      const ends: readonly [Aid, Aid] = isLower ? [from, to] : [to, from];
      const left = Math.min(...ends.map((end) => this.#left(end)));
      const others = [...this.#sessions].filter(([other]) => other !== name);
      const isFull = ends.some(
        (end) =>
          others.filter(([, session]) => session.ends.includes(end)).length >= MAX_PER_MEMBER,
      );
      if (left <= 0 || isFull)
        throw new ReachError('REACH_REFUSED', 'the quota of one of the two is used up');
      const ports = await relay.open(name, {
        ends: [hostOf(ends[0]), hostOf(ends[1])],
        quotaBytes: left,
        bytesPerSecond: this.#settings.bytesPerSecond,
        idleSeconds: IDLE_SECONDS,
      });
      this.#sessions.set(name, { ends, counted: 0 });
      await this.#save(this.usage());
      const [port, peerPort] = isLower ? ports : [ports[1], ports[0]];
      return { kind: 'lent', port, peerPort, hosts: reached };
    });
  }

  /** Who is no member any more is relayed no more. */
  async expel(): Promise<void> {
    await this.#queue.run(async () => {
      const { isMember, relay } = this.#deps;
      for (const [name, { ends }] of this.#sessions) {
        if (ends.every(isMember)) continue;
        await relay.close(name);
        this.#sessions.delete(name);
      }
    });
  }

  #left(aid: Aid): number {
    return this.#settings.dailyBytes - (this.usage().get(aid) ?? 0);
  }

  /** What the relay has forwarded since the last look, for both ends; sessions that have ended are forgotten. */
  async #count(): Promise<void> {
    const { relay } = this.#deps;
    if (this.#sessions.size === 0) return;
    const running = new Map((await relay.sessions()).map((session) => [session.name, session]));
    const used = new Map(this.usage());
    for (const [name, session] of this.#sessions) {
      const now = running.get(name);
      if (now === undefined) {
        this.#sessions.delete(name);
        continue;
      }
      const bytes = now.bytes - session.counted;
      this.#sessions.set(name, { ...session, counted: now.bytes });
      if (bytes > 0) for (const end of session.ends) used.set(end, (used.get(end) ?? 0) + bytes);
    }
    await this.#save(used);
  }

  async #save(used: ReadonlyMap<Aid, number>): Promise<void> {
    const day = this.#day();
    const usage = Object.fromEntries([...used].map(([aid, bytes]) => [aid, { day, bytes }]));
    await this.#deps.table.put({ usage, sessions: Object.fromEntries(this.#sessions) });
  }

  #day(): number {
    return Math.floor(this.#deps.clock.now() / DAY_MS);
  }
}

/** The same whoever asks; it says who to nobody that does not know them. */
function nameOf(a: Aid, b: Aid): string {
  const [lower, higher] = a < b ? [a, b] : [b, a];
  return sha256(Buffer.from(`${lower} ${higher}`)).toHex();
}

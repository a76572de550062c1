/**
 * DeviceWays for packets between this end and others, where the address that a record names does not lead there: both ends tell each other
 * their candidates over the control channel, probe them from the devices' own sockets, and set what works at one moment; where
 * nothing does, a member relays. What was found is in memory: devices keep their endpoints, and a way that is lost is looked for again.
 */
import type { Aid } from '#kel/identifiers';
import { ticks } from '#src/ticks';
import { type Conversation, converse, serveConversations } from '../../network/conversation.ts';
import type { PeerKey } from '../../network/network.ts';
import type { DeviceWay, KeyPairing } from './device-ways.ts';
import { DeviceWays } from './device-ways.ts';
import { ReachError } from './errors.ts';
import { decodeReach } from './messages.ts';
import { answerObservation } from './observation.ts';
import { Search, type SearchDeps } from './search.ts';
import { reachManners, runAnswering, runOpening, say } from './session.ts';

export interface ReachDeps extends Omit<SearchDeps, 'ways'> {
  /** Views to which nothing comes although it was asked, now. */
  readonly faint: () => Promise<readonly PairOfKeys[]>;
  /** What a member is lent that asks for a relay to `to`. Throws REACH_REFUSED. */
  readonly answerLend: (conversation: Conversation, from: Aid, to: Aid) => Promise<void>;
}

export interface PairOfKeys {
  readonly aid: Aid;
  readonly keys: KeyPairing;
}

/** What the record names is tried for so long before another way is looked for. */
const GRACE_MS = 500;
/** The higher AID leaves the lower one the first word. */
const STAGGER_MS = 3_000;
const RETRY_MS = 1_000;
/** As long as a change of keys waits for its handshake. */
const SEEK_MS = 16_000;
const LOOK_MS = 10_000;
/** A pair that found no way looks again after this, and after twice as long each time. */
const REST_MS = 20_000;
const MAX_REST_MS = 600_000;
/** How often a pair that is relayed looks for a way of its own. */
const UPGRADE_MS = 30_000;

export class Reach {
  readonly #deps: ReachDeps;
  readonly #ways = new DeviceWays();
  readonly #searching = new Set<Aid>();
  readonly #wanted = new Set<Aid>();
  readonly #upgrades = new Map<Aid, number>();
  /** Of those that found no way: how often in a row, and until when they rest. */
  readonly #rests = new Map<Aid, { readonly failures: number; readonly until: number }>();
  #signal: AbortSignal = AbortSignal.abort();

  constructor(deps: ReachDeps) {
    this.#deps = deps;
  }

  wayOf(aid: Aid, keys: KeyPairing): DeviceWay | undefined {
    return this.#ways.of(aid, keys);
  }

  start(signal: AbortSignal): void {
    const { clock, network, journal } = this.#deps;
    this.#signal = signal;
    serveConversations({ network, clock, signal }, reachManners, (conversation) =>
      this.#answer(conversation).catch((error: unknown) => {
        journal.failed('reach.failed', error, {}, 'debug');
        throw error;
      }),
    );
    const failed = (error: unknown) => journal.failed('reach.failed', error);
    void ticks({ clock, signal, pauseMs: () => LOOK_MS, failed }, () => this.#look());
  }

  /** A view stands on devices at both ends and waits for its handshake: a way is looked for when that does not come by itself. */
  want(aid: Aid, keys: KeyPairing): void {
    if (this.#signal.aborted || this.#wanted.has(aid)) return;
    this.#wanted.add(aid);
    void this.#seek(aid, keys)
      .then((isFound) => this.#rest(aid, isFound))
      .catch((error: unknown) => {
        if (!this.#signal.aborted) this.#deps.journal.failed('reach.failed', error, { aid });
      })
      .finally(() => this.#wanted.delete(aid));
  }

  async #look(): Promise<void> {
    const { clock, placeOf, self, directory } = this.#deps;
    this.#ways.keep((aid, keys) => placeOf(aid, keys) !== undefined);
    for (const { aid, keys } of await this.#deps.faint()) {
      const until = this.#rests.get(aid)?.until ?? 0;
      if (directory.peerOf(aid) !== undefined && clock.monotonic() >= until) this.want(aid, keys);
    }
    for (const { aid, keys } of this.#ways.relayed()) {
      const due = this.#upgrades.get(aid) ?? clock.monotonic() + UPGRADE_MS;
      this.#upgrades.set(aid, due);
      if (clock.monotonic() < due || !(self < aid)) continue;
      this.#upgrades.set(aid, clock.monotonic() + UPGRADE_MS);
      await this.#open(aid, keys).catch(() => false);
    }
  }

  #rest(aid: Aid, isFound: boolean): void {
    if (isFound) {
      this.#rests.delete(aid);
      return;
    }
    const failures = (this.#rests.get(aid)?.failures ?? 0) + 1;
    const ms = Math.min(REST_MS * 2 ** (failures - 1), MAX_REST_MS);
    this.#rests.set(aid, { failures, until: this.#deps.clock.monotonic() + ms });
  }

  /** @returns whether there is a way */
  async #seek(aid: Aid, keys: KeyPairing): Promise<boolean> {
    const { clock, self, lifeOf, placeOf, journal } = this.#deps;
    const end = clock.monotonic() + SEEK_MS;
    await clock.sleep(GRACE_MS, this.#signal);
    for (let pause = self < aid ? 0 : STAGGER_MS; clock.monotonic() < end; pause = RETRY_MS) {
      if (pause > 0) await clock.sleep(pause, this.#signal);
      if (placeOf(aid, keys) === undefined || (await lifeOf(aid, keys)).isAlive) return true;
      try {
        if (await this.#open(aid, keys)) return true;
      } catch (error) {
        this.#signal.throwIfAborted();
        journal.failed('reach.failed', error, { aid }, 'debug');
      }
    }
    return false;
  }

  /** @returns whether there is a way now */
  async #open(aid: Aid, keys: KeyPairing): Promise<boolean> {
    const { directory, clock, network } = this.#deps;
    const peer = directory.peerOf(aid);
    if (peer === undefined) throw new ReachError('REACH_UNREACHABLE', `${aid} is not connected`);
    return this.#alone(aid, async () => {
      using search = await Search.begin({ ...this.#deps, ways: this.#ways }, aid, keys);
      const { own } = search;
      const deps = { network, clock, signal: this.#signal };
      // Not before it has ended is the search given up.
      return await converse(deps, reachManners, peer, (conversation) =>
        runOpening(conversation, own, search),
      );
    });
  }

  async #answer(conversation: Conversation): Promise<void> {
    const { directory, isMember, answerLend } = this.#deps;
    const first = decodeReach(await conversation.receive());
    const aid = directory.aidOf(conversation.stream.peer as PeerKey);
    if (aid === undefined || !isMember(aid))
      throw new ReachError('REACH_REFUSED', 'the peer is no member');
    try {
      switch (first.kind) {
        case 'observe':
          return await answerObservation(this.#deps, conversation, aid, first.token);
        case 'lend':
          return await answerLend(conversation, aid, first.to);
        case 'call': {
          const keys = { own: first.peer, peer: first.own };
          return await this.#alone(aid, async () => {
            using search = await Search.begin({ ...this.#deps, ways: this.#ways }, aid, keys);
            await runAnswering(conversation, first, search);
          });
        }
        default:
          throw new ReachError('REACH_BAD_MESSAGE', `expected a request, got ${first.kind}`);
      }
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === 'REACH_REFUSED' || code === 'REACH_BUSY')
        await say(conversation, { kind: 'refused', code }).catch(() => undefined);
      else throw error;
    }
  }

  /** One search of a pair at a time. @throws REACH_BUSY */
  async #alone<T>(aid: Aid, search: () => Promise<T>): Promise<T> {
    if (this.#searching.has(aid))
      throw new ReachError('REACH_BUSY', `a way to ${aid} is looked for already`);
    this.#searching.add(aid);
    try {
      return await search();
    } finally {
      this.#searching.delete(aid);
    }
  }
}

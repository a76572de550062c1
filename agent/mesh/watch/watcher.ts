/** Follows foreign logs: asks the source of each watched AID now and then, and serves other members that ask here. */
import type { Aid } from '#kel/identifiers';
import type { ReplyStore } from '#kel/reply/reply-store';
import { sectionsOf } from '#kel/reply/sections';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import { failureOf, type Journal } from '#src/journal';
import type { Rng } from '#src/rng';
import { jittered, ticks } from '#src/ticks';
import type { Network, PeerKey } from '../../network/network.ts';
import type { Membership } from '../membership/membership.ts';
import type { PeerDirectory } from '../sync/peer-directory.ts';
import { WatchError } from './errors.ts';
import { askLog, serveLogs } from './log-request.ts';
import { concerned, FETCH_MS, type FetchLog, MAX_FETCH_BYTES, readLogFile } from './log-source.ts';
import type { Watched, WatchList, WatchSource } from './watch-list.ts';

/** Between two looks at which source is due, and between two questions to one source. */
const ROUND_MS = 30_000;
const INTERVAL_MS = 600_000;
/** Delegators of delegators that are followed to members. */
const MAX_DELEGATORS = 4;

export interface WatcherDeps extends LogStores {
  readonly watch: WatchList;
  readonly membership: Membership;
  readonly network: Network;
  readonly directory: PeerDirectory;
  /** Absent: this node asks nothing over HTTP. */
  readonly fetchLog: FetchLog | undefined;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly journal: Journal;
}

/** Where logs, and what is said beside them, are kept. */
export interface LogStores {
  readonly kel: LevelKelStore;
  readonly replies: ReplyStore;
}

/**
 * Takes what a stream says about `aid` and its delegators, and nothing else of it. Of the replies those count that they
 * sign, and those of the endpoints and witnesses that they name. @throws WATCH_NOT_CESR
 */
export async function takeLog(
  { kel, replies }: LogStores,
  stream: Uint8Array,
  aid: Aid,
): Promise<void> {
  const aids = concerned(stream, aid);
  const isNamed = (other: Aid) =>
    [...aids].some(
      (one) =>
        kel.state(one)?.witnesses.includes(other) === true ||
        replies.endRoles(one).some(({ eid }) => eid === other),
    );
  const said: Uint8Array[] = [];
  for (const { kind, bytes } of sectionsOf(stream, Number.POSITIVE_INFINITY)) {
    if (kind === 'events') await kel.process(bytes, { accepts: (other) => aids.has(other) });
    if (kind === 'replies') said.push(bytes);
  }
  for (const accepts of [(other: Aid) => aids.has(other), isNamed])
    for (const bytes of said) await replies.process(bytes, { accepts });
}

export class Watcher {
  readonly #deps: WatcherDeps;
  readonly #due = new Map<Aid, number>();
  #signal: AbortSignal = AbortSignal.abort();

  constructor(deps: WatcherDeps) {
    this.#deps = deps;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    const { network, kel, clock } = this.#deps;
    serveLogs({ network, kel, clock, mayHave: (peer, aid) => this.mayHave(peer, aid) });
    void this.#loop(signal);
  }

  /** Asks the source once. Throws WATCH_…, and for an unreachable source nothing is changed. */
  async fetch(aid: Aid, source: WatchSource): Promise<void> {
    switch (source.kind) {
      case 'import':
        return;
      case 'file':
        return takeLog(this.#deps, readLogFile(source.path), aid);
      case 'url':
        return takeLog(this.#deps, await this.#get(source.url), aid);
      case 'members':
        return this.#askMembers(aid);
    }
  }

  /** Whether `peer` is given the log of `aid`: a member, and a log of the mesh or a watched one. */
  mayHave(peer: PeerKey, aid: Aid): boolean {
    const { directory, membership, watch } = this.#deps;
    const asking = directory.aidOf(peer);
    return (
      asking !== undefined &&
      membership.isIn &&
      membership.maySync(asking) &&
      (membership.known().has(aid) || watch.has(aid) || this.#delegates(aid))
    );
  }

  async #get(url: string): Promise<Uint8Array> {
    const { fetchLog, clock } = this.#deps;
    if (fetchLog === undefined)
      throw new WatchError('WATCH_UNREACHABLE', `${url}: this agent has no way to fetch it`);
    const stop = new AbortController();
    return withDeadline(clock, FETCH_MS, fetchLog(url, MAX_FETCH_BYTES, stop.signal), () => {
      stop.abort();
      throw new WatchError('WATCH_UNREACHABLE', `${url}: no answer within ${FETCH_MS} ms`);
    });
  }

  async #askMembers(aid: Aid): Promise<void> {
    const { kel, directory } = this.#deps;
    const wanted = [aid];
    for (let next = wanted.pop(), asked = 0; next !== undefined; next = wanted.pop()) {
      for (const peer of directory.bound()) await this.#askMember(peer, next);
      asked += 1;
      const delegator = kel
        .waiting()
        .find((entry) => entry.aid === next && entry.code === 'KEL_AWAITS_DELEGATOR')?.from[0];
      if (delegator !== undefined && asked <= MAX_DELEGATORS) wanted.push(delegator as Aid);
    }
  }

  async #askMember(peer: PeerKey, aid: Aid): Promise<void> {
    const { kel, journal } = this.#deps;
    try {
      const from = (kel.state(aid)?.sn ?? -1) + 1;
      for await (const page of askLog(this.#deps, peer, aid, from))
        await takeLog(this.#deps, page, aid);
    } catch (error) {
      journal.failed('watch.member-failed', error, { aid, peer }, 'debug');
    }
  }

  /** Whether `aid` is the delegator of a watched AID. */
  #delegates(aid: Aid): boolean {
    const { watch, kel } = this.#deps;
    return watch.list().some((watched) => kel.state(watched.aid)?.delegator === aid);
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { clock, watch, journal } = this.#deps;
    const failed = (error: unknown) => journal.failed('agent.failed', error, {}, 'error');
    let pauseMs = 0;
    await ticks({ clock, signal, pauseMs: () => pauseMs, failed }, async () => {
      pauseMs = ROUND_MS;
      for (const watched of watch.list())
        if (!signal.aborted && this.#isDue(watched)) await this.#refresh(watched);
    });
  }

  #isDue({ aid, fetched, since }: Watched): boolean {
    const { clock, rng } = this.#deps;
    const now = clock.monotonic();
    // What is on disk is of the wall clock, which may have been set since.
    const age = Math.max(0, clock.now() - (fetched ?? since));
    const due = this.#due.get(aid) ?? now + (fetched === null ? 0 : INTERVAL_MS - age);
    this.#due.set(aid, due);
    if (due > now) return false;
    const [jitter = 0] = rng.bytes(1);
    this.#due.set(aid, now + jittered(INTERVAL_MS, jitter));
    return true;
  }

  async #refresh({ aid, source }: Watched): Promise<void> {
    if (source.kind === 'import') return;
    const { watch, journal } = this.#deps;
    try {
      await this.fetch(aid, source);
      await watch.fetched(aid);
    } catch (error) {
      if (this.#signal.aborted) return;
      journal.failed('watch.failed', error, { aid });
      await watch.fetched(aid, failureOf(error));
    }
  }
}

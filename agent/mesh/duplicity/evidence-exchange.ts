/**
 * Evidence of duplicity travels from member to member: when two are bound to each other, when one learns of a
 * new fork, and now and then with one at random, so that whatever was lost on the way arrives in the end.
 *
 * It proves itself, so it is taken from anyone who is connected, though less of it, and nothing is told in return: a governor that
 * shows one face here and another there can remove whoever knows both, and does not silence it. Who is refused hands over what it has.
 */
import type { Aid } from '#kel/identifiers';
import type { DuplicityCase } from '#kel/store/duplicity-evidence';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import { Allowance } from '#src/allowance';
import { concatBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import { KeyedWork } from '#src/keyed-work';
import type { Rng } from '#src/rng';
import { jittered, ticks } from '#src/ticks';
import { type Conversation, converse, hold, type Manners } from '../../network/conversation.ts';
import type { MessageStream, Network, PeerKey } from '../../network/network.ts';
import type { Membership } from '../membership/membership.ts';
import { forkId } from '../membership/suspensions.ts';
import { SyncError } from '../sync/errors.ts';
import { syncFailure } from '../sync/failure.ts';
import type { PeerDirectory } from '../sync/peer-directory.ts';
import type { WatchList } from '../watch/watch-list.ts';
import {
  decodeEvidenceMessage,
  type EvidenceMessage,
  encodeEvidenceMessage,
  evidenceLimits,
  evidenceProtocol,
  MAX_FORKS,
  MAX_GIVEN_BYTES,
  MAX_OUTSIDER_FILE,
} from './messages.ts';

const SESSION_MS = 30_000;
const EXCHANGE_MS = 60_000;
const RETRY_MS = 2_000;
const MAX_ATTEMPTS = 5;
/** Files taken and given in one session; the rest comes with the next. */
const MAX_FILES = 64;
/** The same from one that is no member here. */
const MAX_OUTSIDER_FILES = 4;
/** Sessions and files of one outsider, and of all together: each file is verified. */
const OUTSIDER = { burst: 10, perSecond: 1 / 30 };
const OUTSIDERS = { burst: 40, perSecond: 1 / 2 };

const manners: Manners = {
  protocol: evidenceProtocol,
  limits: evidenceLimits,
  messageMs: SESSION_MS,
  wholeMs: SESSION_MS,
  failure: syncFailure,
};

export interface EvidenceExchangeDeps {
  readonly network: Network;
  readonly membership: Membership;
  readonly directory: PeerDirectory;
  readonly kel: LevelKelStore;
  readonly watch: WatchList;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly journal: Journal;
}

export class EvidenceExchange {
  readonly #deps: EvidenceExchangeDeps;
  #exchanges: KeyedWork<PeerKey> | undefined;
  /** Connected peers that say that this organisation is out, and which evidence each was given. */
  readonly #refusedBy = new Map<PeerKey, Set<string>>();
  readonly #outsider: Allowance<PeerKey>;
  readonly #outsiders: Allowance<'all'>;
  #signal: AbortSignal = AbortSignal.abort();

  constructor(deps: EvidenceExchangeDeps) {
    this.#deps = deps;
    this.#outsider = new Allowance(deps.clock, OUTSIDER);
    this.#outsiders = new Allowance<'all'>(deps.clock, OUTSIDERS);
  }

  /** Sessions and files of outsiders that were not looked at, because there were too many. */
  get turnedAway(): number {
    return this.#outsider.refused + this.#outsiders.refused;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.#exchanges = this.#work(signal);
    const { network, kel } = this.#deps;
    network.handle(evidenceProtocol, evidenceLimits, (stream) => this.#answer(stream));
    network.listen({
      connected: () => undefined,
      disconnected: (peer) => void this.#refusedBy.delete(peer),
    });
    const off = kel.subscribeDuplicity(() => this.pushAll());
    signal.addEventListener('abort', off);
    void this.#loop(signal);
  }

  /** With every member that is bound, and with whoever does not take this organisation for one. */
  pushAll(): void {
    for (const peer of new Set([...this.#deps.directory.bound(), ...this.#refusedBy.keys()]))
      this.push(peer);
  }

  /** `peer` does not take this organisation for a member: it gets the evidence that there is, and is asked for none. */
  refusedBy(peer: PeerKey): void {
    if (!this.#deps.network.peers().includes(peer)) return;
    if (!this.#refusedBy.has(peer)) this.#refusedBy.set(peer, new Set());
    this.push(peer);
  }

  /** With `peer`, now or right after the session that runs. */
  push(peer: PeerKey): void {
    this.#exchanges?.poke(peer);
  }

  #work(signal: AbortSignal): KeyedWork<PeerKey> {
    const { clock } = this.#deps;
    return new KeyedWork({
      clock,
      signal,
      run: async (peer) => {
        try {
          await this.#run(peer);
        } catch (error) {
          if (this.#refusedBy.has(peer) || this.#isMember(peer)) throw error;
        }
        return 'done';
      },
      pauseMs: (failures) => RETRY_MS * failures,
      persists: (failures) => failures < MAX_ATTEMPTS,
      failed: (peer, error) => this.#failed(peer, error),
    });
  }

  async #run(peer: PeerKey): Promise<void> {
    const { network, clock } = this.#deps;
    const deps = { network, clock, signal: this.#signal };
    let handed = this.#refusedBy.get(peer);
    if (handed === undefined) {
      if (!this.#isMember(peer)) return;
      await converse(deps, manners, peer, (conversation) => this.#open(conversation));
    }
    // Few at a time, until it has them all.
    while (handed !== undefined && this.#toHand(handed).length > 0) {
      const known = handed;
      await converse(deps, manners, peer, (conversation) => this.#hand(conversation, known));
      handed = this.#refusedBy.get(peer);
    }
  }

  async #open(conversation: Conversation): Promise<void> {
    await send(conversation, { kind: 'have', forks: this.#forks() });
    const theirs = await expectHave(conversation);
    await this.#give(conversation, theirs);
    await this.#take(conversation);
  }

  #toHand(handed: ReadonlySet<string>): readonly DuplicityCase[] {
    const lacking = this.#offered().filter((fork) => !handed.has(forkId(fork)));
    return lacking.slice(0, MAX_OUTSIDER_FILES);
  }

  /** As an outsider of the other end: some files, whatever it says to know. */
  async #hand(conversation: Conversation, handed: Set<string>): Promise<void> {
    const forks = this.#toHand(handed);
    await send(conversation, { kind: 'have', forks: forks.map(forkId) });
    const theirs = new Set(await expectHave(conversation));
    for (const fork of forks) {
      const file = theirs.has(forkId(fork)) ? new Uint8Array(0) : await this.#fileOf(fork);
      if (file.length > 0 && file.length <= MAX_OUTSIDER_FILE)
        await send(conversation, { kind: 'give', file });
    }
    await send(conversation, { kind: 'give', file: new Uint8Array(0) });
    await next(conversation);
    for (const fork of forks) handed.add(forkId(fork));
  }

  async #answer(stream: MessageStream): Promise<void> {
    const deps = { clock: this.#deps.clock, signal: this.#signal };
    await hold(stream, deps, manners, (conversation) =>
      this.#isMember(stream.peer) ? this.#exchange(conversation) : this.#hearOutsider(conversation),
    ).catch((error: unknown) => this.#failed(stream.peer, error));
  }

  async #exchange(conversation: Conversation): Promise<void> {
    const theirs = await expectHave(conversation);
    await send(conversation, { kind: 'have', forks: this.#forks() });
    await this.#take(conversation);
    await this.#give(conversation, theirs);
  }

  /** Takes what proves itself, and tells nothing: not what is known here, and no file. */
  async #hearOutsider(conversation: Conversation): Promise<void> {
    const { peer } = conversation.stream;
    this.#charge(peer);
    await expectHave(conversation);
    await send(conversation, { kind: 'have', forks: [] });
    for (let count = 0; count <= MAX_OUTSIDER_FILES; count++) {
      const message = await next(conversation);
      if (message.kind !== 'give') throw new SyncError('SYNC_BAD_MESSAGE', 'expected give');
      if (message.file.length === 0) break;
      if (count === MAX_OUTSIDER_FILES || message.file.length > MAX_OUTSIDER_FILE)
        throw new SyncError('SYNC_BAD_MESSAGE', 'more evidence than is taken from an outsider');
      this.#charge(peer);
      await this.#takeProof(peer, message.file);
    }
    await send(conversation, { kind: 'give', file: new Uint8Array(0) });
  }

  /** @throws SYNC_NOT_A_MEMBER when it, or all outsiders together, have asked for enough */
  #charge(peer: PeerKey): void {
    if (!this.#outsider.take(peer) || !this.#outsiders.take('all'))
      throw new SyncError('SYNC_NOT_A_MEMBER', 'enough evidence of outsiders for a while');
  }

  async #takeProof(peer: PeerKey, file: Uint8Array): Promise<void> {
    const { kel, membership, watch, journal } = this.#deps;
    const known = membership.known();
    const accepts = (aid: Aid) => known.has(aid) || watch.has(aid);
    const outcome = await kel.takeEvidence(file, { accepts });
    const isNews = outcome === 'new';
    journal[isNews ? 'info' : 'debug']('evidence.received', { outcome, peer });
  }

  async #give(conversation: Conversation, theirs: readonly string[]): Promise<void> {
    const held = new Set(theirs);
    const lacking = this.#offered().filter((fork) => !held.has(forkId(fork)));
    for (const fork of lacking.slice(0, MAX_FILES))
      await send(conversation, { kind: 'give', file: await this.#fileOf(fork) });
    await send(conversation, { kind: 'give', file: new Uint8Array(0) });
  }

  /** Where the log before the fork is too long for a message, the two events: the other end holds that log. */
  async #fileOf(fork: DuplicityCase): Promise<Uint8Array> {
    const { kel } = this.#deps;
    const file = await kel.evidenceFile(fork).catch(() => undefined);
    if (file !== undefined && file.length <= MAX_GIVEN_BYTES) return file;
    const all = await kel.duplicities();
    const found = all.find((other) => forkId(other) === forkId(fork));
    return concatBytes(
      found?.acceptedMessage ?? new Uint8Array(0),
      found?.conflictingMessage ?? new Uint8Array(0),
    );
  }

  async #take(conversation: Conversation): Promise<void> {
    for (let count = 0; count <= MAX_FILES; count++) {
      const message = await next(conversation);
      if (message.kind !== 'give') throw new SyncError('SYNC_BAD_MESSAGE', 'expected give');
      if (message.file.length === 0) return;
      await this.#takeFile(conversation.stream.peer, message.file);
    }
    throw new SyncError('SYNC_BAD_MESSAGE', `more than ${MAX_FILES} files in one session`);
  }

  async #takeFile(peer: PeerKey, file: Uint8Array): Promise<void> {
    const { kel, membership, watch, journal, directory } = this.#deps;
    const known = membership.known();
    const accepts = (aid: Aid) => known.has(aid) || watch.has(aid);
    const outcome = await kel.takeEvidence(file, { accepts });
    // Not a whole file: the pair alone is judged by the log that is held.
    if (outcome === 'refused') await kel.process(file, { accepts });
    journal.info('evidence.received', { outcome, from: directory.aidOf(peer) });
  }

  /** The newest of each AID first: what a bound cuts off is never the only fork of anybody. */
  #offered(): readonly DuplicityCase[] {
    const { membership, watch, kel } = this.#deps;
    const known = membership.known();
    const offered = kel.duplicityCases().filter(({ aid }) => known.has(aid) || watch.has(aid));
    return newestOfEachFirst(offered);
  }

  #forks(): readonly string[] {
    return this.#offered().slice(0, MAX_FORKS).map(forkId);
  }

  #isMember(peer: PeerKey): boolean {
    const { directory, membership } = this.#deps;
    const aid = directory.aidOf(peer);
    return aid !== undefined && membership.isIn && membership.maySync(aid);
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { clock, rng, directory, journal } = this.#deps;
    const pauseMs = () => jittered(EXCHANGE_MS, rng.bytes(1)[0] ?? 0);
    const failed = (error: unknown) => journal.failed('agent.failed', error, {}, 'error');
    await ticks({ clock, signal, pauseMs, failed }, () => {
      const [choice = 0] = rng.bytes(1);
      const peers = directory.bound();
      const peer = peers[choice % Math.max(1, peers.length)];
      if (peer !== undefined) this.push(peer);
    });
  }

  #failed(peer: PeerKey, error: unknown): void {
    if (this.#signal.aborted) return;
    this.#deps.journal.failed('evidence.failed', error, { peer }, 'debug');
  }
}

/** @param forks of one AID oldest first  @returns the newest of every AID, then the second newest, and so on */
export function newestOfEachFirst(forks: readonly DuplicityCase[]): readonly DuplicityCase[] {
  const seen = new Map<string, number>();
  return forks
    .toReversed()
    .map((fork) => {
      const rank = seen.get(fork.aid) ?? 0;
      seen.set(fork.aid, rank + 1);
      return { fork, rank };
    })
    .sort((a, b) => a.rank - b.rank)
    .map(({ fork }) => fork);
}

async function send(conversation: Conversation, message: EvidenceMessage): Promise<void> {
  await conversation.send(encodeEvidenceMessage(message));
}

async function next(conversation: Conversation): Promise<EvidenceMessage> {
  return decodeEvidenceMessage(await conversation.receive());
}

async function expectHave(conversation: Conversation): Promise<readonly string[]> {
  const message = await next(conversation);
  if (message.kind !== 'have') throw new SyncError('SYNC_BAD_MESSAGE', 'expected have');
  return message.forks;
}

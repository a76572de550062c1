/**
 * The replies that stand, durable: of each signer and subject the newest, whatever the order of arrival.
 *
 * What waits for a log or for more signatures waits in memory only: it can be sent again. Every signer has a
 * bound, at which his oldest reply goes; the store has one, at which nothing new comes in.
 */
import { type ParsedMessage, parseStream, type StreamItem } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import type { Aid, Said } from '#kel/identifiers';
import type { EstablishedKeys } from '#kel/key-state/established-keys';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { KelStore, MessageOutcome, ProcessOptions } from '#kel/store/kel-store';
import { SerialQueue } from '#src/serial-queue';
import { type Database, DurableTable } from '#src/store/durable-table';
import { StoreError } from '#src/store/errors';
import { type Endorsement, encodeEndorsed, endorsementsOf } from './endorsement.ts';
import {
  type EndorsedReply,
  evaluateReply,
  type ReplyContext,
  type ReplyDecision,
  rankOf,
} from './evaluate.ts';
import { microsecondsOf } from './fields.ts';
import type { KeyStateNotice } from './key-state-notice.ts';
import {
  parseReply,
  type Reply,
  type ReplyContent,
  type Role,
  type Scheme,
  signerOf,
  subjectOf,
} from './reply.ts';
import { WaitingReplies, type WaitingReply } from './waiting-replies.ts';

export interface ReplyLimits {
  /** Replies of one signer. @default 1,024 */
  readonly maxPerSigner: number;
  /** Replies in all. @default 65,536 */
  readonly maxReplies: number;
}

export interface ReplyStoreOptions {
  readonly kel: Pick<KelStore, 'state' | 'establishment'>;
  readonly verifySignature: VerifySignature;
  /** Whose key state notices about others count, besides those of their witnesses. */
  readonly isWatcher: (aid: Aid) => boolean;
  readonly limits?: Partial<ReplyLimits>;
}

type Accepts = (aid: Aid) => boolean;
type Verdict = Omit<MessageOutcome, 'offset'>;

interface Held {
  readonly rank: string;
  readonly reply: Reply;
}

type Index = Map<Aid, Map<string, Held>>;

const defaultLimits: ReplyLimits = { maxPerSigner: 1024, maxReplies: 65_536 };
const PREFIX = 'reply.';

export class ReplyStore {
  readonly #table: DurableTable;
  readonly #options: ReplyStoreOptions;
  readonly #limits: ReplyLimits;
  readonly #queue = new SerialQueue();
  readonly #waiting = new WaitingReplies();
  /** By signer and subject. */
  #index: Index = new Map();
  #size = 0;
  /** A write failed, and the disk holds all of it or none: it is read again before the next one. */
  #isStale = false;

  private constructor(table: DurableTable, options: ReplyStoreOptions) {
    this.#table = table;
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
  }

  /** @throws STORE_CORRUPT when an entry does not read back as the reply it was */
  static async open(db: Database, options: ReplyStoreOptions): Promise<ReplyStore> {
    const store = new ReplyStore(await DurableTable.open(db, 'reply'), options);
    await store.#load();
    return store;
  }

  /**
   * Judges every message of a stream of replies; a stale one is a `duplicate`. Durable when it resolves.
   * @param stream attacker-controlled; messages of other types are refused
   * @param accepts whose replies are wanted; asked before a signature is checked  @throws STORE_WRITE_FAILED
   */
  process(
    stream: Uint8Array,
    { accepts = () => true }: ProcessOptions = {},
  ): Promise<readonly MessageOutcome[]> {
    const copy = new Uint8Array(stream);
    return this.#exclusive(async () => {
      const outcomes: MessageOutcome[] = [];
      for (const item of parseStream(copy))
        outcomes.push({ ...(await this.#take(item, accepts)), offset: item.offset });
      return outcomes;
    });
  }

  /** Looks again at what waited for the log of `aid`. */
  async release(aid: Aid): Promise<void> {
    if (!this.#waiting.isAwaited(aid)) return;
    await this.#exclusive(async () => {
      for (const { endorsed } of this.#waiting.takeFor(aid)) await this.#settle(endorsed);
    });
  }

  /** Where `eid` says that it is reached; by one scheme or all. */
  locations(
    eid: Aid,
    scheme?: Scheme,
  ): readonly { readonly scheme: Scheme; readonly url: string }[] {
    return this.#contents(eid).flatMap((content) =>
      content.type === 'location' &&
      content.url !== '' &&
      (scheme === undefined || content.scheme === scheme)
        ? { scheme: content.scheme, url: content.url }
        : [],
    );
  }

  /** Whom `cid` says to serve it, and as what; what it has cut is left out. */
  endRoles(cid: Aid): readonly { readonly role: Role; readonly eid: Aid }[] {
    return this.#contents(cid).flatMap((content) =>
      content.type === 'end-role' && content.isAllowed
        ? { role: content.role, eid: content.eid }
        : [],
    );
  }

  /** The notice that has the log of `aid` furthest, of equal ones the latest. */
  keyState(aid: Aid): { readonly source: Aid; readonly notice: KeyStateNotice } | undefined {
    let furthest: { source: Aid; notice: KeyStateNotice } | undefined;
    for (const [source, held] of this.#index) {
      const content = held.get(`ksn.${aid}`)?.reply.content;
      if (content?.type !== 'key-state') continue;
      const { notice } = content;
      if (furthest === undefined || isFurther([source, notice], [furthest.source, furthest.notice]))
        furthest = { source, notice };
    }
    return furthest;
  }

  get size(): number {
    return this.#size;
  }

  #exclusive<T>(task: () => Promise<T>): Promise<T> {
    return this.#queue.run(async () => {
      if (this.#isStale) await this.#load();
      try {
        return await task();
      } catch (error) {
        this.#isStale = true;
        throw error;
      }
    });
  }

  async #take(item: StreamItem, accepts: Accepts): Promise<Verdict> {
    if (item.type === 'fault') return refused(item);
    try {
      return await this.#takeMessage(item, accepts);
    } catch (error) {
      if (error instanceof KelError) return refused({ code: error.code, reason: error.message });
      throw error;
    }
  }

  /** The best verdict of those on its endorsements: each counts by itself. */
  async #takeMessage({ body, attachments }: ParsedMessage, accepts: Accepts): Promise<Verdict> {
    const reply = parseReply(body);
    const about = { aid: signerOf(reply.content), said: reply.said };
    if (!accepts(about.aid)) {
      const reason = `no reply of ${about.aid} is wanted here`;
      return { ...refused({ code: 'KEL_NOT_WANTED', reason }), ...about };
    }
    let best: Verdict = refused({
      code: 'KEL_WRONG_SIGNER',
      reason: `reply ${reply.said}: expected the signature of ${about.aid}, got none`,
    });
    for (const endorsement of endorsementsOf(attachments)) {
      const endorsed = { reply, bytes: new Uint8Array(body), endorsement };
      const verdict = await this.#settle(this.#waiting.joined(endorsed));
      if (RANKS.indexOf(verdict.verdict) >= RANKS.indexOf(best.verdict)) best = verdict;
    }
    return { ...best, ...about };
  }

  async #settle(endorsed: EndorsedReply): Promise<Verdict> {
    const { content } = endorsed.reply;
    const signer = signerOf(content);
    const current = this.#index.get(signer)?.get(subjectOf(content));
    const decision = evaluateReply(current?.rank, endorsed, await this.#contextFor(endorsed));
    this.#waiting.remove(endorsed);
    switch (decision.kind) {
      case 'accept':
        return this.#accept(decision);
      case 'stale':
        return { verdict: 'duplicate', reason: decision.reason };
      case 'reject':
        return refused(decision);
      case 'escrow': {
        const { code, reason, awaits } = decision;
        return this.#waiting.add({ endorsed: decision.endorsed, awaits } satisfies WaitingReply)
          ? { verdict: 'waiting', code, reason }
          : refused({ code: 'KEL_LIMIT', reason: `too large to wait; ${reason}` });
      }
    }
  }

  async #accept({ endorsed, rank }: Extract<ReplyDecision, { kind: 'accept' }>): Promise<Verdict> {
    const { reply, bytes, endorsement } = endorsed;
    const signer = signerOf(reply.content);
    const subject = subjectOf(reply.content);
    const held = this.#index.get(signer) ?? new Map<string, Held>();
    const isFull = !held.has(subject) && held.size >= this.#limits.maxPerSigner;
    const oldest = isFull ? oldestOf(held) : undefined;
    if (oldest !== undefined && rank < oldest[1].rank)
      return { verdict: 'duplicate', reason: `${signer} has newer replies up to its bound` };
    const gained = held.has(subject) || oldest !== undefined ? 0 : 1;
    if (gained > 0 && this.#size >= this.#limits.maxReplies)
      return refused({ code: 'KEL_LIMIT', reason: `${this.#size} replies are held, no more` });
    if (oldest !== undefined) this.#table.delete(keyOf(signer, oldest[0]));
    this.#table.put(keyOf(signer, subject), encodeEndorsed(bytes, endorsement));
    await this.#table.commit();
    if (oldest !== undefined) held.delete(oldest[0]);
    held.set(subject, { rank, reply });
    this.#index.set(signer, held);
    this.#size += gained;
    return { verdict: 'accepted' };
  }

  async #contextFor({ endorsement }: EndorsedReply): Promise<ReplyContext> {
    const { kel, verifySignature, isWatcher } = this.#options;
    const established = await establishedBy(kel, endorsement);
    return {
      verifySignature,
      isWatcher,
      state: (aid) => kel.state(aid),
      establishment: () => established,
    };
  }

  #contents(signer: Aid): readonly ReplyContent[] {
    const held = this.#index.get(signer) ?? new Map<string, Held>();
    return [...held.keys()].sort().map((subject) => (held.get(subject) as Held).reply.content);
  }

  async #load(): Promise<void> {
    this.#table.discard();
    const index: Index = new Map();
    let size = 0;
    for await (const [key, value] of this.#table.entries(PREFIX)) {
      const endorsed = readStored(key, value);
      const { reply } = endorsed;
      const signer = signerOf(reply.content);
      const held = index.get(signer) ?? new Map<string, Held>();
      held.set(subjectOf(reply.content), { rank: rankOf(endorsed), reply });
      index.set(signer, held);
      size += 1;
    }
    this.#index = index;
    this.#size = size;
    this.#isStale = false;
  }
}

/** From the worst to the best. */
const RANKS: readonly MessageOutcome['verdict'][] = ['refused', 'duplicate', 'waiting', 'accepted'];

function refused({ code, reason }: { readonly code: string; readonly reason: string }): Verdict {
  return { verdict: 'refused', code, reason };
}

function keyOf(signer: Aid, subject: string): string {
  return `${PREFIX}${signer}.${subject}`;
}

function oldestOf(held: ReadonlyMap<string, Held>): readonly [string, Held] | undefined {
  let oldest: readonly [string, Held] | undefined;
  for (const entry of held)
    if (oldest === undefined || entry[1].rank < oldest[1].rank) oldest = entry;
  return oldest;
}

async function establishedBy(
  kel: Pick<KelStore, 'establishment'>,
  endorsement: Endorsement,
): Promise<EstablishedKeys | undefined> {
  if ('signature' in endorsement) return undefined;
  const { sn, said } = endorsement.establishment;
  return kel.establishment(endorsement.aid, sn, said as Said);
}

/** By sequence number, then time, then name: the same for every order of arrival. */
function isFurther(
  [source, { state, dateTime }]: readonly [Aid, KeyStateNotice],
  [other, before]: readonly [Aid, KeyStateNotice],
): boolean {
  if (state.sn !== before.state.sn) return state.sn > before.state.sn;
  const gained = microsecondsOf(dateTime) - microsecondsOf(before.dateTime);
  return gained === 0n ? source > other : gained > 0n;
}

/** Only verified replies are put, and the checksum of the table says that this is what was put. */
function readStored(key: string, value: Uint8Array): EndorsedReply {
  const [item] = parseStream(value);
  if (item?.type === 'message') {
    try {
      const reply = parseReply(item.body);
      const [endorsement] = endorsementsOf(item.attachments);
      const { content } = reply;
      if (endorsement !== undefined && keyOf(signerOf(content), subjectOf(content)) === key)
        return { reply, bytes: item.body, endorsement };
    } catch (error) {
      if (!(error instanceof KelError)) throw error;
    }
  }
  throw new StoreError('STORE_CORRUPT', `${key}: expected the reply of this place, got another`, {
    fields: { key },
  });
}

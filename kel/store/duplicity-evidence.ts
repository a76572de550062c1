/**
 * Proof that an AID signed two events for one place of its log: the one first seen and the other. Anyone can
 * verify both messages; they are kept as long as the store lives.
 */
import type { KeyEventMessage } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import { concatBytes, uint32be } from '#src/bytes';
import type { DurableTable } from '#src/store/durable-table';
import { decodeJson, encodeJson } from '#src/store/json-value';
import { decodeMessage } from '../message/stored-message.ts';
import { CONFLICT, conflictKey, eventKey, PROOF, proofKey } from './keys.ts';

/** One fork of a log. */
export interface DuplicityCase {
  readonly aid: Aid;
  readonly sn: number;
  /** First seen here, which is not everywhere the same. */
  readonly accepted: Said;
  readonly conflicting: Said;
  /** When the second one came; milliseconds since the Unix epoch. */
  readonly since: number;
}

export interface Duplicity extends DuplicityCase {
  /** Signed messages. */
  readonly acceptedMessage: Uint8Array;
  readonly conflictingMessage: Uint8Array;
}

/**
 * Cases kept per AID, beyond those that an operator has resolved: the first proves the point, and whoever has the keys can
 * sign any number. The first one is kept whatever else is there and however large it is: nothing crowds it out.
 */
const MAX_PER_AID = 16;
/** Of all AIDs, beyond the first case of each. */
const MAX_IN_ALL = 4096;
/** Bytes of one of the two messages, of cases after the first; larger ones carry noise. */
const MAX_BYTES = 64 * 1024;
/** Whole files, kept where the log that stands here is not the one that forked. */
const MAX_PROOF_BYTES = 1 << 20;
const MAX_PROOF_BYTES_IN_ALL = 64 << 20;

export class DuplicityEvidence {
  readonly #table: DurableTable;
  readonly #cases = new Map<Aid, DuplicityCase[]>();
  #count = 0;
  #proofBytes = 0;
  #isLoaded = false;
  #dropped = 0;
  /** How many cases of an AID an operator has resolved. */
  readonly #resolved = new Map<Aid, number>();
  /** Not told yet. */
  #news: DuplicityCase[] = [];

  constructor(table: DurableTable) {
    this.#table = table;
  }

  /** Reads the cases in place of what is in memory; those that were not told before are news. */
  async load(): Promise<void> {
    const untold = new Set(this.#news);
    const told = new Set(
      [...this.#cases.values()]
        .flat()
        .filter((known) => !untold.has(known))
        .map(keyOf),
    );
    this.#cases.clear();
    this.#count = 0;
    this.#proofBytes = 0;
    this.#news = [];
    for await (const [key, value] of this.#table.entries(CONFLICT)) {
      const found = decodeCase(key, value);
      this.#add(found);
      if (this.#isLoaded && !told.has(keyOf(found))) this.#news.push(found);
    }
    for await (const [, file] of this.#table.entries(PROOF)) this.#proofBytes += file.length;
    this.#isLoaded = true;
  }

  /** The table is committed. @returns what nobody was told of */
  settle(): readonly DuplicityCase[] {
    const news = this.#news;
    this.#news = [];
    return news;
  }

  cases(): readonly DuplicityCase[] {
    return [...this.#cases.values()].flat();
  }

  /** Cases that a bound kept out since the store was opened. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Makes room for as many new cases of `aid` as at first. @param count of those that are resolved */
  resolved(aid: Aid, count: number): void {
    this.#resolved.set(aid, count);
  }

  /** The case of these two events, whichever was seen first. */
  find(aid: Aid, sn: number, saids: readonly [Said, Said]): DuplicityCase | undefined {
    return this.#cases
      .get(aid)
      ?.find(
        (known) =>
          known.sn === sn && saids.includes(known.accepted) && saids.includes(known.conflicting),
      );
  }

  /**
   * @param accepted first seen  @param messages both, encoded, `accepted` first
   * @returns false when the case is known or a bound is reached
   */
  add(
    { event }: KeyEventMessage,
    accepted: Said,
    messages: readonly [Uint8Array, Uint8Array],
    since: number,
  ): boolean {
    const { aid, sn, said } = event;
    if (this.find(aid, sn, [accepted, said]) !== undefined) return false;
    if (!this.#hasRoom(aid, messages)) {
      this.#dropped += 1;
      return false;
    }
    const found = { aid, sn, accepted, conflicting: said, since };
    const header = encodeJson([accepted, since, messages[0].length]);
    this.#table.put(
      conflictKey(aid, sn, said),
      concatBytes(uint32be(header.length), header, ...messages),
    );
    this.#add(found);
    this.#news.push(found);
    return true;
  }

  /** Keeps the whole file of a case that was added. @returns false when it is too large */
  addProof({ aid, sn, conflicting }: DuplicityCase, file: Uint8Array): boolean {
    if (file.length > MAX_PROOF_BYTES || this.#proofBytes + file.length > MAX_PROOF_BYTES_IN_ALL)
      return false;
    this.#table.put(proofKey(aid, sn, conflicting), file);
    this.#proofBytes += file.length;
    return true;
  }

  messagesOf({ aid, sn, conflicting }: DuplicityCase): readonly [Uint8Array, Uint8Array] {
    const value = this.#table.get(conflictKey(aid, sn, conflicting)) ?? new Uint8Array(8);
    const { header, rest } = split(value);
    const [, , length] = decodeJson(header) as [Said, number, number];
    return [rest.slice(0, length), rest.slice(length)];
  }

  proofOf({ aid, sn, conflicting }: DuplicityCase): Uint8Array | undefined {
    return this.#table.get(proofKey(aid, sn, conflicting));
  }

  /** The events before the fork, found by their prior events: a recovery may have replaced them since. Undefined when one is missing. */
  prefixOf(found: DuplicityCase): readonly Uint8Array[] | undefined {
    const events: Uint8Array[] = [];
    const [message] = this.messagesOf(found);
    for (let at: Uint8Array | undefined = message, { sn } = found; ; ) {
      if (at === undefined) return undefined;
      if (sn < found.sn) events.push(at);
      const prior = priorOf(at);
      if (prior === undefined) return events.reverse();
      sn -= 1;
      at = this.#table.get(eventKey(found.aid, sn, prior));
    }
  }

  list(): readonly Duplicity[] {
    return this.cases().map((found) => {
      const [acceptedMessage, conflictingMessage] = this.messagesOf(found);
      return { ...found, acceptedMessage, conflictingMessage };
    });
  }

  #hasRoom(aid: Aid, messages: readonly Uint8Array[]): boolean {
    const open = (this.#cases.get(aid)?.length ?? 0) - (this.#resolved.get(aid) ?? 0);
    if (open <= 0) return true;
    const isLarge = messages.some(({ length }) => length > MAX_BYTES);
    return !isLarge && open < MAX_PER_AID && this.#count < MAX_IN_ALL;
  }

  #add(found: DuplicityCase): void {
    this.#cases.set(found.aid, [...(this.#cases.get(found.aid) ?? []), found]);
    this.#count += 1;
  }
}

function keyOf({ aid, sn, conflicting }: DuplicityCase): string {
  return conflictKey(aid, sn, conflicting);
}

function decodeCase(key: string, value: Uint8Array): DuplicityCase {
  const [, aid, ordinal, conflicting] = key.split('.') as [string, Aid, string, Said];
  const [accepted, since] = decodeJson(split(value).header) as [Said, number, number];
  return { aid, sn: Number.parseInt(ordinal, 16), accepted, conflicting, since };
}

function split(value: Uint8Array): { header: Uint8Array; rest: Uint8Array } {
  const length = new DataView(value.buffer, value.byteOffset).getUint32(0);
  return { header: value.subarray(4, 4 + length), rest: value.subarray(4 + length) };
}

function priorOf(message: Uint8Array): Said | undefined {
  const decoded = decodeMessage(message);
  return 'event' in decoded && 'prior' in decoded.event ? decoded.event.prior : undefined;
}

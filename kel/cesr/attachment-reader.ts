/** Reads attachment groups, text (qb64) and binary (qb2), from bytes that may end before the group does. */
import { KelError } from '#kel/errors';
import { type AttachmentLists, appendAttachments, emptyAttachments } from './attachments.ts';
import { COUNTER_HEAD_LENGTH, type Counter, decodeCounter, readSmallCounter } from './counter.ts';
import { decodeDateTime } from './date-time.ts';
import {
  decodeIndexedSignature,
  INDEXER_HEAD_LENGTH,
  type IndexedSignature,
  indexedSignatureLength,
  readSmallSignature,
  SMALL_SIGNATURE_LENGTH,
} from './indexer.ts';
import { decodeMatter, MATTER_HEAD_LENGTH, type Matter, matterLength } from './matter.ts';
import { decodeOrdinal } from './number.ts';

/** Longest attachments of one message, in bytes. */
export const MAX_ATTACHMENT_BYTES = 512 * 1024;

/** Thrown when the group goes on behind the bytes at hand. */
export class Incomplete {
  /** The reader needs bytes up to here, at least. */
  readonly needed: number;

  constructor(needed: number) {
    this.needed = needed;
  }
}

/** A frame whose content is bad, though its end is known: reading can go on there. */
export class BadFrame extends Error {
  readonly end: number;

  constructor(end: number, cause: KelError) {
    super(cause.message, { cause });
    this.end = end;
  }
}

/** Text or binary counter: every group begins with one. */
export function isCounterStart(byte: number): boolean {
  return byte === 0x2d || byte >> 5 === 7;
}

export interface GroupEnd {
  readonly at: number;
  /** The group was a frame: it closes the message. */
  readonly isFrame: boolean;
}

/**
 * Reads the group at `at` into `into`.
 * @throws Incomplete; BadFrame; KEL_BAD_CODE, KEL_BAD_STREAM, KEL_BAD_VALUE, KEL_LIMIT
 */
export function readGroup(bytes: Buffer, at: number, into: AttachmentLists): GroupEnd {
  const reader = new PrimitiveReader(bytes, at, bytes.length);
  const counter = reader.counter();
  if (counter.code !== 'V') {
    // The group may turn out incomplete: nothing of it may be kept then.
    const group = emptyAttachments();
    readItems(reader, counter, group);
    appendAttachments(into, group);
    return { at: reader.at, isFrame: false };
  }
  const end = reader.at + reader.bytesOf(counter.count * 4);
  if (end - at > MAX_ATTACHMENT_BYTES) {
    throw new KelError(
      'KEL_LIMIT',
      `attachments of ${end - at} bytes are above ${MAX_ATTACHMENT_BYTES}`,
    );
  }
  if (end > bytes.length) throw new Incomplete(end);
  readFrame(bytes, reader.at, end, into);
  return { at: end, isFrame: true };
}

function readFrame(bytes: Buffer, from: number, end: number, into: AttachmentLists): void {
  const reader = new PrimitiveReader(bytes, from, end);
  try {
    while (reader.at < end) {
      const counter = reader.counter();
      if (counter.code === 'V') throw new KelError('KEL_BAD_STREAM', 'a frame inside a frame');
      readItems(reader, counter, into);
    }
  } catch (error) {
    if (error instanceof Incomplete) {
      throw new BadFrame(
        end,
        new KelError('KEL_BAD_STREAM', 'a group runs over the end of its frame'),
      );
    }
    throw error instanceof KelError ? new BadFrame(end, error) : error;
  }
}

/** Fewest characters of one item of each group, to see at once how much a counter asks for. */
const LEAST_ITEM = {
  A: 88,
  B: 88,
  C: 132,
  D: 200,
  E: 60,
  F: 116,
  G: 68,
  H: 48,
  I: 112,
  J: 8,
  K: 8,
  L: 4,
} as const;

function readItems(reader: PrimitiveReader, { code, count }: Counter, into: AttachmentLists): void {
  if (code === 'V') throw new KelError('KEL_BAD_STREAM', 'a frame inside a group');
  reader.require(count * LEAST_ITEM[code]);
  if (code === 'L') {
    reader.skip(count * 4);
    return;
  }
  for (let i = 0; i < count; i++) readItem(reader, code, into);
}

function readItem(
  reader: PrimitiveReader,
  code: Exclude<Counter['code'], 'V' | 'L'>,
  into: AttachmentLists,
): void {
  switch (code) {
    case 'A':
      into.signatures.push(reader.indexedSignature());
      return;
    case 'B':
      into.witnessSignatures.push(reader.indexedSignature());
      return;
    case 'C':
      into.receiptCouples.push({ prefix: reader.qualified(), signature: reader.matter() });
      return;
    case 'D':
      into.transferableReceipts.push({ ...reader.triple(), signature: reader.indexedSignature() });
      return;
    case 'E':
      into.firstSeen.push({
        ordinal: reader.ordinal(),
        dateTime: decodeDateTime(reader.qualified()),
      });
      return;
    case 'F':
      into.transferableSignatures.push({ ...reader.triple(), signatures: readSignatures(reader) });
      return;
    case 'G':
      into.sealSources.push({ sn: reader.ordinal(), said: reader.qualified() });
      return;
    case 'H':
      into.lastSignatures.push({ prefix: reader.qualified(), signatures: readSignatures(reader) });
      return;
    case 'I':
      into.sealSourceTriples.push(reader.triple());
      return;
    case 'J':
    case 'K':
      readPathSignatures(reader);
      return;
  }
}

function readSignatures(reader: PrimitiveReader): readonly IndexedSignature[] {
  const counter = reader.counter();
  if (counter.code !== 'A')
    throw new KelError('KEL_BAD_STREAM', `expected a group of signatures -A, got -${counter.code}`);
  const lists = emptyAttachments();
  readItems(reader, counter, lists);
  return lists.signatures;
}

/** Signatures on parts of other data are no concern of a key event: checked for form, then left. */
function readPathSignatures(reader: PrimitiveReader): void {
  reader.matter();
  const counter = reader.counter();
  if (!'ACFJ'.includes(counter.code) || ++reader.depth > 2) {
    throw new KelError('KEL_BAD_STREAM', `group -${counter.code} behind a path`);
  }
  readItems(reader, counter, emptyAttachments());
  reader.depth--;
}

/** Characters that are turned into text at once: most frames whole, and of a long group one item at least. */
const TEXT_LENGTH = 1024;

class PrimitiveReader {
  at: number;
  depth = 0;
  readonly #bytes: Buffer;
  readonly #end: number;
  /** Binary primitives are read by their text, which is the same value. */
  #isBinary: boolean;
  /** Text of the bytes from `#textFrom`. */
  #text = '';
  #textFrom: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
    this.#textFrom = at;
    this.#isBinary = (bytes[at] ?? 0) >> 5 === 7;
  }

  bytesOf(characters: number): number {
    return this.#isBinary ? (characters / 4) * 3 : characters;
  }

  /** @throws Incomplete, or KEL_LIMIT when no message may be that long */
  require(characters: number): void {
    const needed = this.at + this.bytesOf(characters);
    if (needed - this.at > MAX_ATTACHMENT_BYTES) {
      throw new KelError(
        'KEL_LIMIT',
        `a group of ${characters} characters is above ${MAX_ATTACHMENT_BYTES}`,
      );
    }
    if (needed > this.#end) throw new Incomplete(needed);
  }

  skip(characters: number): void {
    this.at += this.bytesOf(characters);
  }

  /** A group inside a frame may be of the other domain. */
  counter(): Counter {
    const isBinary = (this.#bytes[this.at] ?? 0) >> 5 === 7;
    if (isBinary !== this.#isBinary) {
      this.#isBinary = isBinary;
      this.#text = '';
    }
    this.require(4);
    if (!isBinary) {
      const small = readSmallCounter(this.#bytes, this.at);
      if (small !== undefined) {
        this.at += 4;
        return small;
      }
    }
    const head = isBinary ? this.#binaryHead() : this.#peek(COUNTER_HEAD_LENGTH);
    if (head.startsWith('-0')) this.require(COUNTER_HEAD_LENGTH);
    const counter = decodeCounter(head);
    this.skip(counter.length);
    return counter;
  }

  /** No more than the counter itself: groups of both domains may take turns. */
  #binaryHead(): string {
    const to = Math.min(this.at + this.bytesOf(COUNTER_HEAD_LENGTH), this.#end);
    return this.#bytes.toString('base64url', this.at, to);
  }

  indexedSignature(): IndexedSignature {
    this.require(4);
    if (!this.#isBinary && this.at + SMALL_SIGNATURE_LENGTH <= this.#end) {
      const small = readSmallSignature(this.#bytes, this.at);
      if (small !== undefined) {
        this.at += SMALL_SIGNATURE_LENGTH;
        return small;
      }
    }
    return decodeIndexedSignature(
      this.#take(indexedSignatureLength(this.#peek(4).slice(0, INDEXER_HEAD_LENGTH))),
    );
  }

  matter(): Matter {
    return decodeMatter(this.#primitive());
  }

  /** A primitive as text, checked. */
  qualified(): string {
    const text = this.#primitive();
    decodeMatter(text);
    return text;
  }

  ordinal(): number {
    return decodeOrdinal(this.#primitive());
  }

  triple(): { prefix: string; sn: number; said: string } {
    return { prefix: this.qualified(), sn: this.ordinal(), said: this.qualified() };
  }

  #primitive(): string {
    this.require(4);
    const head = this.#peek(MATTER_HEAD_LENGTH);
    if (head >= '7' && head < ':') this.require(MATTER_HEAD_LENGTH);
    return this.#take(matterLength(head));
  }

  /** Fewer where the bytes end. */
  #peek(characters: number): string {
    const length = Math.max(characters, TEXT_LENGTH);
    let from = ((this.at - this.#textFrom) / this.bytesOf(4)) * 4;
    if (from < 0 || from + characters > this.#text.length) {
      const to = Math.min(this.at + this.bytesOf(length), this.#end);
      this.#text = this.#bytes.toString(this.#isBinary ? 'base64url' : 'latin1', this.at, to);
      this.#textFrom = this.at;
      from = 0;
    }
    return this.#text.slice(from, from + characters);
  }

  #take(characters: number): string {
    this.require(characters);
    const text = this.#peek(characters);
    this.skip(characters);
    return text;
  }
}

/**
 * Streams of messages, each a body followed by its attachments (CESR 1.0 cold start and framing).
 *
 * What is found does not depend on how the input is cut. A message that cannot be read gives a fault and
 * reading goes on behind it where its end is known, else at the next place that looks like a message.
 */
import { KelError, type KelErrorCode } from '#kel/errors';
import {
  BadFrame,
  Incomplete,
  isCounterStart,
  MAX_ATTACHMENT_BYTES,
  readGroup,
} from './attachment-reader.ts';
import { type AttachmentLists, type Attachments, emptyAttachments } from './attachments.ts';
import { MAX_BODY_BYTES } from './body.ts';
import { GENUS_VERSION_1 } from './counter.ts';
import {
  isBodyStart,
  kindOfFirstByte,
  sniffVersion,
  VERSION_SNIFF_LENGTH,
  type Version,
} from './version.ts';

export interface ParsedMessage {
  readonly type: 'message';
  /** Of the first byte of the body, in the stream. */
  readonly offset: number;
  readonly version: Version;
  /** View into the input: copy it before keeping it. */
  readonly body: Uint8Array;
  readonly attachments: Attachments;
}

export interface StreamFault {
  readonly type: 'fault';
  readonly offset: number;
  readonly code: KelErrorCode;
  readonly reason: string;
}

export type StreamItem = ParsedMessage | StreamFault;

const GENUS_SECOND = GENUS_VERSION_1.charCodeAt(1);

/** Searches for the next message per stream; a stream that needs more is dropped. */
export const MAX_RESYNCS = 64;

/** Reads a whole stream. @param bytes not changed while the messages are in use */
export function* parseStream(bytes: Uint8Array): Generator<StreamItem, void, undefined> {
  const parser = new StreamParser();
  yield* parser.push(bytes);
  yield* parser.finish();
}

interface OpenMessage {
  readonly start: number;
  readonly version: Version;
  readonly bodyEnd: number;
  /** Where the next group would begin. */
  at: number;
  readonly attachments: AttachmentLists;
}

export class StreamParser {
  /** Bytes not yet consumed begin at `#at`; `#window` ends where the input ends. */
  #window: Buffer = Buffer.alloc(0);
  #memory: Buffer | undefined;
  #at = 0;
  /** Stream offset of the first byte of the window. */
  #base = 0;
  #open: OpenMessage | undefined;
  /** No progress is possible before the window has this length. */
  #needed = 0;
  #isSearching = false;
  #resyncs = 0;

  /** @param chunk not changed while the messages are in use */
  push(chunk: Uint8Array): Iterable<StreamItem> {
    this.#append(chunk);
    return this.#items(false);
  }

  /** The stream ends here. */
  finish(): Iterable<StreamItem> {
    return this.#items(true);
  }

  #append(chunk: Uint8Array): void {
    const view = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const rest = this.#window.length - this.#at;
    if (rest === 0) {
      this.#shift(this.#window.length);
      this.#window = view;
      this.#memory = undefined;
      return;
    }
    // Never written twice: messages already handed out are views into this memory.
    if (this.#memory === undefined || this.#memory.length < this.#window.length + view.length) {
      const memory = Buffer.alloc(2 * (rest + view.length));
      this.#window.copy(memory, 0, this.#at);
      this.#shift(this.#at);
      this.#memory = memory;
      this.#window = memory.subarray(0, rest);
    }
    view.copy(this.#memory, this.#window.length);
    this.#window = this.#memory.subarray(0, this.#window.length + view.length);
  }

  /** Positions move down by `length`: the window begins that much later. */
  #shift(length: number): void {
    this.#base += length;
    this.#at -= length;
    this.#needed = Math.max(0, this.#needed - length);
    if (this.#open !== undefined) {
      const { start, bodyEnd, at } = this.#open;
      this.#open = {
        ...this.#open,
        start: start - length,
        bodyEnd: bodyEnd - length,
        at: at - length,
      };
    }
  }

  *#items(isFinal: boolean): Generator<StreamItem, void, undefined> {
    if (!isFinal && this.#window.length < this.#needed) return;
    for (;;) {
      const item = this.#next(isFinal);
      if (item === undefined) return;
      yield item;
    }
  }

  /** The next item, or undefined when there is none before more input. */
  #next(isFinal: boolean): StreamItem | undefined {
    for (;;) {
      if (this.#isSearching && !this.#search(isFinal)) return undefined;
      try {
        const item =
          this.#open === undefined ? this.#begin(isFinal) : this.#continue(this.#open, isFinal);
        if (item !== 'again') return item;
      } catch (error) {
        if (error instanceof Incomplete) {
          if (!isFinal) {
            this.#needed = error.needed;
            return undefined;
          }
          return this.#lose(
            new KelError(
              'KEL_TRUNCATED',
              `the stream ends ${error.needed - this.#window.length} bytes or more before the message does`,
            ),
          );
        }
        if (error instanceof BadFrame) return this.#skipMessage(error);
        if (error instanceof KelError) return this.#lose(error);
        throw error;
      }
    }
  }

  /** At the start of a message, or of something else. */
  #begin(isFinal: boolean): StreamItem | 'again' | undefined {
    while (isSpace(this.#window[this.#at])) this.#at++;
    const first = this.#window[this.#at];
    if (first === undefined) return undefined;
    if (kindOfFirstByte(first) === undefined) return this.#strayGroup(first);
    if (!isFinal) this.#require(this.#at + VERSION_SNIFF_LENGTH);
    const rest = this.#window.length - this.#at;
    if (rest < VERSION_SNIFF_LENGTH && !isBodyStart(this.#window, this.#at)) {
      throw new KelError('KEL_TRUNCATED', `the stream ends with ${rest} bytes that are no message`);
    }
    const version = sniffVersion(this.#window, this.#at);
    if (version.size > MAX_BODY_BYTES) {
      throw new KelError('KEL_LIMIT', `a body of ${version.size} bytes is above ${MAX_BODY_BYTES}`);
    }
    const bodyEnd = this.#at + version.size;
    this.#open = {
      start: this.#at,
      version,
      bodyEnd,
      at: bodyEnd,
      attachments: emptyAttachments(),
    };
    return 'again';
  }

  /** Behind a body, or behind one of its groups. */
  #continue(open: OpenMessage, isFinal: boolean): StreamItem | 'again' | undefined {
    this.#require(open.at);
    const first = this.#window[open.at];
    if (first === undefined) return isFinal ? this.#close(open) : this.#wait(open.at + 1);
    if (!isCounterStart(first)) {
      if (kindOfFirstByte(first) === undefined && !isSpace(first)) {
        throw new KelError(
          'KEL_BAD_STREAM',
          `neither an attachment nor a message begins with byte 0x${first.toString(16)} behind the body`,
        );
      }
      return this.#close(open);
    }
    if (this.#isGenusAt(open.at, isFinal)) return this.#close(open);
    const end = readGroup(this.#window, open.at, open.attachments);
    if (end.at - open.bodyEnd > MAX_ATTACHMENT_BYTES) {
      throw new KelError('KEL_LIMIT', `attachments above ${MAX_ATTACHMENT_BYTES} bytes`);
    }
    open.at = end.at;
    return end.isFrame ? this.#close(open) : 'again';
  }

  #close(open: OpenMessage): ParsedMessage {
    this.#open = undefined;
    this.#at = open.at;
    return {
      type: 'message',
      offset: this.#base + open.start,
      version: open.version,
      body: this.#window.subarray(open.start, open.bodyEnd),
      attachments: open.attachments,
    };
  }

  /** Only a genus code may stand before a body; a group there belongs to nothing. */
  #strayGroup(first: number): StreamItem | 'again' {
    if (!isCounterStart(first)) {
      throw new KelError('KEL_BAD_STREAM', `no message begins with byte 0x${first.toString(16)}`);
    }
    if (this.#isGenusAt(this.#at, false)) {
      this.#at += GENUS_VERSION_1.length;
      return 'again';
    }
    const offset = this.#base + this.#at;
    this.#at = readGroup(this.#window, this.#at, emptyAttachments()).at;
    return {
      type: 'fault',
      offset,
      code: 'KEL_BAD_STREAM',
      reason: 'attachments that follow no body',
    };
  }

  #isGenusAt(at: number, isFinal: boolean): boolean {
    // Nearly always another counter stands here.
    if (at + 1 < this.#window.length && this.#window[at + 1] !== GENUS_SECOND) return false;
    const available = this.#window.toString('latin1', at, at + GENUS_VERSION_1.length);
    if (
      !isFinal &&
      available.length < GENUS_VERSION_1.length &&
      GENUS_VERSION_1.startsWith(available)
    ) {
      throw new Incomplete(at + GENUS_VERSION_1.length);
    }
    return available === GENUS_VERSION_1;
  }

  /** The message ends where its frame ends, and nothing of it is used. */
  #skipMessage(bad: BadFrame): StreamFault {
    const start = this.#open?.start ?? this.#at;
    this.#open = undefined;
    this.#at = bad.end;
    return faultOf(this.#base + start, bad.cause as KelError);
  }

  /** Nobody knows where this message ends: search from behind its first byte. */
  #lose(error: KelError): StreamFault {
    const start = this.#open?.start ?? this.#at;
    this.#open = undefined;
    this.#at = start + 1;
    this.#isSearching = true;
    this.#resyncs++;
    const dropped =
      this.#resyncs > MAX_RESYNCS ? '; too many faults, the rest of the stream is dropped' : '';
    return faultOf(this.#base + start, error, dropped);
  }

  /** @returns true when `#at` stands on what looks like a message */
  #search(isFinal: boolean): boolean {
    const last = this.#window.length - (isFinal ? 0 : VERSION_SNIFF_LENGTH - 1);
    if (this.#resyncs > MAX_RESYNCS) this.#at = this.#window.length;
    for (; this.#at < last; this.#at++) {
      if (isBodyStart(this.#window, this.#at)) {
        this.#isSearching = false;
        return true;
      }
    }
    return false;
  }

  #require(length: number): void {
    if (this.#window.length < length) throw new Incomplete(length);
  }

  #wait(length: number): undefined {
    this.#needed = length;
    return undefined;
  }
}

function faultOf(offset: number, error: KelError, suffix = ''): StreamFault {
  return { type: 'fault', offset, code: error.code, reason: error.message + suffix };
}

/** Editors and shells put these between messages and at the end; they carry nothing. */
function isSpace(byte: number | undefined): boolean {
  return byte === 0x0a || byte === 0x0d || byte === 0x20 || byte === 0x09;
}

/**
 * The tail file: entries of the last, unfinished bundle, in frames. One frame is one durable write.
 *
 *   frame = "KMT1" · first index (8 bytes) · payload length (4 bytes) · SHA-256(those 16 bytes ‖ payload) · payload
 *
 * The next frame is written only after the one before is durable. So an invalid frame with a valid one behind it
 * is corruption, and an invalid frame at the end is a write that a crash cut short, which nobody was told of.
 */
import { createHash } from 'node:crypto';
import { concatBytes, equalBytes, uint32be, uint64be, utf8 } from '#src/bytes';
import { decodeEntries, encodeEntries } from './tile.ts';

const magic = utf8('KMT1');
const headBytes = 16;
const frameBytes = headBytes + 32;

export interface Tail {
  /** Index of the first entry; undefined when there is none. */
  readonly first: number | undefined;
  readonly entries: readonly Uint8Array[];
  /** Bytes of valid frames; what stands behind was cut short. */
  readonly length: number;
  /** Where a damaged frame begins that valid frames follow. */
  readonly corruptAt: number | undefined;
}

export function encodeFrame(first: number, entries: readonly Uint8Array[]): Uint8Array {
  const payload = encodeEntries(entries);
  const head = concatBytes(magic, uint64be(BigInt(first)), uint32be(payload.length));
  return concatBytes(head, frameDigest(head, payload), payload);
}

export function decodeTail(bytes: Uint8Array): Tail {
  const entries: Uint8Array[] = [];
  let first: number | undefined;
  let at = 0;
  while (at < bytes.length) {
    const frame = frameAt(bytes, at);
    if (frame === undefined || (first !== undefined && frame.first !== first + entries.length)) {
      const corruptAt = frame !== undefined || hasFrameAfter(bytes, at) ? at : undefined;
      return { first, entries, length: at, corruptAt };
    }
    first ??= frame.first;
    entries.push(...frame.entries);
    at = frame.end;
  }
  return { first, entries, length: at, corruptAt: undefined };
}

function frameAt(bytes: Uint8Array, at: number) {
  if (at + frameBytes > bytes.length || !equalBytes(bytes.subarray(at, at + 4), magic))
    return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  const first = Number(view.getBigUint64(4));
  const end = at + frameBytes + view.getUint32(12);
  if (end > bytes.length) return undefined;
  const payload = bytes.subarray(at + frameBytes, end);
  const head = bytes.subarray(at, at + headBytes);
  if (!equalBytes(bytes.subarray(at + headBytes, at + frameBytes), frameDigest(head, payload)))
    return undefined;
  const entries = decodeEntries(payload);
  return entries === undefined ? undefined : { first, entries, end };
}

function hasFrameAfter(bytes: Uint8Array, at: number): boolean {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (
    let next = buffer.indexOf(magic, at + 1);
    next >= 0;
    next = buffer.indexOf(magic, next + 1)
  ) {
    if (frameAt(bytes, next) !== undefined) return true;
  }
  return false;
}

function frameDigest(head: Uint8Array, payload: Uint8Array): Uint8Array {
  return createHash('sha256').update(head).update(payload).digest();
}

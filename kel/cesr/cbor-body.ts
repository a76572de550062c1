/**
 * CBOR (RFC 8949) as KERI hashes it: fields in order, definite lengths, shortest heads, no tags, no byte strings.
 * cbor-x encodes; the decoder is strict by construction, because cbor-x would take what it never writes.
 */
import { Encoder } from 'cbor-x';
import {
  type BinaryReader,
  expectRoom,
  narrow,
  readBody,
  readList,
  readMap,
} from './binary-reader.ts';
import type { BodyMap, BodyValue } from './body-value.ts';

const encoder = new Encoder({ useRecords: false, variableMapSize: true, mapsAsObjects: false });

export function encodeCbor(value: BodyValue): Uint8Array {
  return encoder.encode(hasWideInteger(value) ? withBigIntegers(value) : value);
}

/** cbor-x writes integers beyond 32 bits as floats unless they are BigInt, and a BigInt always in 8 bytes. */
function hasWideInteger(value: BodyValue): boolean {
  if (typeof value === 'number') return isWide(value);
  if (Array.isArray(value)) return value.some(hasWideInteger);
  if (value instanceof Map) {
    for (const item of value.values()) if (hasWideInteger(item)) return true;
  }
  return false;
}

function withBigIntegers(value: BodyValue): BodyValue {
  if (typeof value === 'number') return isWide(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(withBigIntegers);
  if (value instanceof Map)
    return new Map([...value].map(([key, item]) => [key, withBigIntegers(item)]));
  return value;
}

function isWide(value: number): boolean {
  return Number.isInteger(value) && (value >= 2 ** 32 || value < -(2 ** 32));
}

/** @throws KEL_BAD_BODY unless `bytes` is exactly what {@link encodeCbor} writes for a map */
export function decodeCbor(bytes: Uint8Array): BodyMap {
  return readBody(bytes, 'CBOR', read);
}

function read(reader: BinaryReader, depth: number): BodyValue {
  expectRoom(reader, depth);
  const text = shortText(reader);
  if (text !== undefined) return text;
  const head = reader.byte();
  const major = head >> 5;
  const info = head & 0x1f;
  switch (major) {
    case 0:
      return integer(argument(reader, info));
    case 1: {
      const value = argument(reader, info);
      return integer(typeof value === 'bigint' ? -1n - value : -1 - value);
    }
    case 3:
      return reader.text(length(reader, info));
    case 4:
      return readList(reader, length(reader, info), depth, read);
    case 5:
      return readMap(reader, length(reader, info), depth, read);
    case 7:
      return simple(reader, info);
    default:
      throw reader.fault(
        major === 2 ? 'byte strings have no place in a body' : 'tags have no place in a body',
      );
  }
}

/** Text of up to 255 bytes, as nearly every value is; undefined where something else stands. */
function shortText(reader: BinaryReader): string | undefined {
  const { bytes, at } = reader;
  const head = bytes[at] as number;
  if (head >= 0x60 && head < 0x78) {
    reader.at = at + 1;
    return reader.text(head - 0x60);
  }
  if (head !== 0x78 || (bytes[at + 1] as number) < 24) return undefined;
  reader.at = at + 2;
  return reader.text(bytes[at + 1] as number);
}

function length(reader: BinaryReader, info: number): number {
  const value = argument(reader, info);
  if (typeof value === 'bigint') throw reader.fault(`claims ${value} items`);
  return value;
}

/** The shortest head or none (RFC 8949 4.2.1). */
function argument(reader: BinaryReader, info: number): number | bigint {
  if (info < 24) return info;
  const value =
    info === 24
      ? reader.uint(1)
      : info === 25
        ? reader.uint(2)
        : info === 26
          ? reader.uint(4)
          : undefined;
  const least = info === 24 ? 24 : info === 25 ? 2 ** 8 : 2 ** 16;
  if (value !== undefined) {
    if (value < least) throw reader.fault(`number ${value} in too long a form`);
    return value;
  }
  if (info !== 27) throw reader.fault('indefinite length');
  const wide = reader.uint64();
  if (wide < 2n ** 32n) throw reader.fault(`number ${wide} in too long a form`);
  return wide;
}

function integer(value: number | bigint): number | bigint {
  return typeof value === 'number' ? value : narrow(value);
}

function simple(reader: BinaryReader, info: number): BodyValue {
  if (info === 20) return false;
  if (info === 21) return true;
  if (info === 22) return null;
  if (info === 27) return reader.float64();
  throw reader.fault(`simple value ${info} has no place in a body`);
}

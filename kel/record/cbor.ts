/**
 * CBOR of records: fields in the order of the schema, definite lengths, shortest heads, byte strings
 * without tag; integers up to 32 bits, text, lists, maps, true and false, and nothing else.
 *
 * cbor-x encodes. The decoder is strict by construction: it takes only what the encoder writes, and it
 * builds nothing that the bytes in hand do not contain.
 */
import { Encoder } from 'cbor-x';
import { BinaryReader } from '#kel/cesr/binary-reader';
import type { WireMap } from './schema.ts';

export type WireValue = string | number | boolean | Uint8Array | readonly WireValue[] | WireMap;

const FALSE = 0xf4;
const TRUE = 0xf5;

/** Deepest record: record, party, checkpoint, value. */
const MAX_DEPTH = 8;

const encoder = new Encoder({
  useRecords: false,
  variableMapSize: true,
  mapsAsObjects: false,
  tagUint8Array: false,
});

export function encodeRecordBody(fields: WireMap): Uint8Array {
  return new Uint8Array(encoder.encode(fields));
}

/** @throws KEL_BAD_BODY unless `bytes` is exactly what {@link encodeRecordBody} writes */
export function decodeRecordBody(bytes: Uint8Array): WireMap {
  const reader = new BinaryReader(bytes, 'record');
  const value = read(reader, 0);
  if (reader.remaining > 0) throw reader.fault('more behind the map');
  if (!(value instanceof Map)) throw reader.fault('expected a map');
  return value;
}

function read(reader: BinaryReader, depth: number): WireValue {
  if (depth > MAX_DEPTH) throw reader.fault(`nested deeper than ${MAX_DEPTH}`);
  reader.takeValue();
  const head = reader.byte();
  if (head === FALSE || head === TRUE) return head === TRUE;
  const argument = readArgument(reader, head & 0x1f);
  switch (head >> 5) {
    case 0:
      return argument;
    case 2:
      return readBytes(reader, argument);
    case 3:
      return reader.text(argument);
    case 4:
      return readList(reader, argument, depth + 1);
    case 5:
      return readMap(reader, argument, depth + 1);
    default:
      throw reader.fault(`type ${head >> 5} has no place in a record`);
  }
}

/** The shortest head or none (RFC 8949 4.2.1). */
function readArgument(reader: BinaryReader, info: number): number {
  if (info < 24) return info;
  if (info > 26) throw reader.fault('a number above 32 bits or an indefinite length');
  const value = reader.uint(info === 24 ? 1 : info === 25 ? 2 : 4);
  const least = info === 24 ? 24 : info === 25 ? 2 ** 8 : 2 ** 16;
  if (value < least) throw reader.fault(`number ${value} in too long a form`);
  return value;
}

function readBytes(reader: BinaryReader, length: number): Uint8Array {
  const from = reader.at;
  if (length > reader.remaining)
    throw reader.fault(`needs ${length} bytes, ${reader.remaining} left`);
  reader.at += length;
  return new Uint8Array(reader.bytes.subarray(from, reader.at));
}

function readList(reader: BinaryReader, length: number, depth: number): readonly WireValue[] {
  const list: WireValue[] = [];
  reader.takeContainer(length, 1);
  for (let left = length; left > 0; left--) list.push(read(reader, depth));
  return list;
}

function readMap(reader: BinaryReader, size: number, depth: number): WireMap {
  const map = new Map<string, WireValue>();
  reader.takeContainer(size, 2);
  for (let left = size; left > 0; left--) {
    const label = read(reader, depth);
    if (typeof label !== 'string') throw reader.fault('a label that is not text');
    map.set(label, read(reader, depth));
  }
  if (map.size !== size) throw reader.fault('a label twice');
  return map;
}

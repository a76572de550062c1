/**
 * CBOR of records: fields in the order of the schema, definite lengths, shortest heads, byte strings
 * without tag; integers up to 32 bits, text, lists, maps, true and false, and nothing else.
 *
 * cbor-x encodes. The decoder is strict by construction: it takes only what the encoder writes, and it
 * builds nothing that the bytes in hand do not contain.
 */
import { Encoder } from 'cbor-x';
import { bodyReader, wholeMap } from '#kel/cesr/body-reader';
import { cborOf } from '#src/cbor-reader';
import type { WireMap } from './schema.ts';

export type WireValue = string | number | boolean | Uint8Array | readonly WireValue[] | WireMap;

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

const read = cborOf({
  labels: 'in any order',
  integers: 'unsigned, to 32 bits',
  bytes: 'copied',
  simple: 'booleans',
});

/** @throws KEL_BAD_BODY unless `bytes` is exactly what {@link encodeRecordBody} writes */
export function decodeRecordBody(bytes: Uint8Array): WireMap {
  return wholeMap<WireValue>(bodyReader(bytes, 'record', MAX_DEPTH), read);
}

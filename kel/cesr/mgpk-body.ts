/** MessagePack as KERI hashes it: fields in order, shortest forms, no binary, no extension types. */
import { concatBytes, utf8 } from '#src/bytes';
import { narrow, readList, readMap, readWhole, type ValueReader } from '#src/value-reader';
import { bodyReader, wholeMap } from './body-reader.ts';
import type { BodyMap, BodyValue } from './body-value.ts';

export function encodeMgpk(value: BodyValue): Uint8Array {
  const parts: Uint8Array[] = [];
  write(value, parts);
  return concatBytes(...parts);
}

function write(value: BodyValue, parts: Uint8Array[]): void {
  if (value === null) parts.push(Uint8Array.of(0xc0));
  else if (typeof value === 'boolean') parts.push(Uint8Array.of(value ? 0xc3 : 0xc2));
  else if (typeof value === 'string') {
    const bytes = utf8(value);
    parts.push(head(bytes.length, [0xa0, 32], [0xd9, 0xda, 0xdb]), bytes);
  } else if (typeof value === 'number' && !Number.isInteger(value)) {
    const out = Buffer.alloc(9, 0xcb);
    out.writeDoubleBE(value, 1);
    parts.push(out);
  } else if (typeof value === 'number' || typeof value === 'bigint')
    parts.push(integer(BigInt(value)));
  else if (Array.isArray(value)) {
    parts.push(head(value.length, [0x90, 16], [undefined, 0xdc, 0xdd]));
    for (const item of value) write(item, parts);
  } else if (value instanceof Map) {
    parts.push(head(value.size, [0x80, 16], [undefined, 0xde, 0xdf]));
    for (const [key, item] of value) {
      write(key, parts);
      write(item, parts);
    }
  }
}

type SizedHeads = readonly [one: number | undefined, two: number, four: number];

function head(
  length: number,
  [fix, below]: readonly [number, number],
  [one, two, four]: SizedHeads,
): Uint8Array {
  if (length < below) return Uint8Array.of(fix | length);
  if (one !== undefined && length < 2 ** 8) return Uint8Array.of(one, length);
  if (length < 2 ** 16) return Uint8Array.of(two, length >> 8, length & 0xff);
  const out = Buffer.alloc(5, four);
  out.writeUInt32BE(length, 1);
  return out;
}

function integer(value: bigint): Uint8Array {
  if (value >= 0n) {
    if (value < 128n) return Uint8Array.of(Number(value));
    return sized(
      value,
      value < 2n ** 8n
        ? [0xcc, 1]
        : value < 2n ** 16n
          ? [0xcd, 2]
          : value < 2n ** 32n
            ? [0xce, 4]
            : [0xcf, 8],
    );
  }
  if (value >= -32n) return Uint8Array.of(Number(value & 0xffn));
  return sized(
    value,
    value >= -(2n ** 7n)
      ? [0xd0, 1]
      : value >= -(2n ** 15n)
        ? [0xd1, 2]
        : value >= -(2n ** 31n)
          ? [0xd2, 4]
          : [0xd3, 8],
  );
}

function sized(value: bigint, [code, length]: readonly [number, number]): Uint8Array {
  const out = Buffer.alloc(1 + length, code);
  for (let i = 0; i < length; i++) out[length - i] = Number((value >> BigInt(8 * i)) & 0xffn);
  return out;
}

/** @throws KEL_BAD_BODY unless `bytes` is exactly what {@link encodeMgpk} writes for a map */
export function decodeMgpk(bytes: Uint8Array): BodyMap {
  return wholeMap<BodyValue>(bodyReader(bytes, 'MGPK'), (reader) => readWhole(reader, read));
}

function read(reader: ValueReader, depth: number): BodyValue {
  reader.takeValue(depth);
  const code = reader.byte();
  if (code < 0x80) return code;
  if (code < 0x90) return readMap(reader, code & 0x0f, depth, read);
  if (code < 0xa0) return readList(reader, code & 0x0f, depth, read);
  if (code < 0xc0) return reader.text(code & 0x1f);
  if (code >= 0xe0) return code - 0x100;
  switch (code) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xcb:
      return reader.float64();
    case 0xcc:
      return atLeast(reader, reader.uint(1), 128);
    case 0xcd:
      return atLeast(reader, reader.uint(2), 2 ** 8);
    case 0xce:
      return atLeast(reader, reader.uint(4), 2 ** 16);
    case 0xcf:
      return narrow(atLeast(reader, reader.uint64(), 2n ** 32n));
    case 0xd0:
      return below(reader, (reader.uint(1) << 24) >> 24, -32);
    case 0xd1:
      return below(reader, (reader.uint(2) << 16) >> 16, -(2 ** 7));
    case 0xd2:
      return below(reader, reader.uint(4) | 0, -(2 ** 15));
    case 0xd3:
      return narrow(below(reader, BigInt.asIntN(64, reader.uint64()), -(2n ** 31n)));
    case 0xd9:
      return reader.text(atLeast(reader, reader.uint(1), 32));
    case 0xda:
      return reader.text(atLeast(reader, reader.uint(2), 2 ** 8));
    case 0xdb:
      return reader.text(atLeast(reader, reader.uint(4), 2 ** 16));
    case 0xdc:
      return readList(reader, atLeast(reader, reader.uint(2), 16), depth, read);
    case 0xdd:
      return readList(reader, atLeast(reader, reader.uint(4), 2 ** 16), depth, read);
    case 0xde:
      return readMap(reader, atLeast(reader, reader.uint(2), 16), depth, read);
    case 0xdf:
      return readMap(reader, atLeast(reader, reader.uint(4), 2 ** 16), depth, read);
    default:
      throw reader.fault(`type 0x${code.toString(16)} has no place in a body`);
  }
}

function atLeast<T extends number | bigint>(reader: ValueReader, value: T, least: T): T {
  if (value < least) throw reader.fault(`number ${value} in too long a form`);
  return value;
}

/** For negative numbers: a value that would fit the next shorter form is not canonical. */
function below<T extends number | bigint>(reader: ValueReader, value: T, limit: T): T {
  if (value >= limit) throw reader.fault(`number ${value} in another form`);
  return value;
}

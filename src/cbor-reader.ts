/**
 * The one reader of CBOR (RFC 8949): shortest heads, definite lengths, no tags, within the budget of its size. Three formats are read by
 * it, and each says what it takes beside that: Kelmesh's own messages (`cbor.ts`), key events, whose field order is KERI's
 * (`kel/cesr/cbor-body.ts`), and records (`kel/record/cbor.ts`).
 */
import {
  narrow,
  type ReadValue,
  readList,
  readMap,
  readSortedMap,
  readWhole,
  type ValueReader,
} from './value-reader.ts';

export interface CborForm {
  /** Labels of maps in bytewise order of their encoding, or in any, which is kept. */
  readonly labels: 'sorted' | 'in any order';
  /** Those beyond 2^53 − 1 as BigInt. */
  readonly integers: 'unsigned, to 32 bits' | 'safe' | 'to 64 bits';
  readonly bytes: 'copied' | 'shared' | 'refused';
  /** Beside integers, texts and what holds them. */
  readonly simple: 'booleans' | 'words' | 'words and floats';
}

/** What any form may hold. */
export type CborItem =
  | number
  | bigint
  | string
  | boolean
  | null
  | Uint8Array
  | readonly CborItem[]
  | ReadonlyMap<string, CborItem>;

/** @returns what reads all of a message in this form; throws what the reader's error is */
export function cborOf(form: CborForm): (reader: ValueReader) => CborItem {
  const readFields = form.labels === 'sorted' ? readSortedMap : readMap;
  const read: ReadValue<CborItem> = (reader, depth) => {
    reader.takeValue(depth);
    const text = shortText(reader);
    if (text !== undefined) return text;
    const head = reader.byte();
    const info = head & 0x1f;
    switch (head >> 5) {
      case 0:
        return integer(reader, argument(reader, info), form);
      case 1: {
        const value = argument(reader, info);
        return integer(reader, typeof value === 'bigint' ? -1n - value : -1 - value, form);
      }
      case 2:
        return byteString(reader, info, form);
      case 3:
        return reader.text(length(reader, info));
      case 4:
        return readList(reader, length(reader, info), depth, read);
      case 5:
        return readFields(reader, length(reader, info), depth, read);
      case 7:
        return simple(reader, info, form);
      default:
        throw reader.fault('tags have no place here');
    }
  };
  return (reader) => readWhole(reader, read);
}

/** Text of up to 255 bytes, as nearly every value is; undefined where something else stands. */
function shortText(reader: ValueReader): string | undefined {
  const { bytes, at } = reader;
  const head = bytes[at] as number;
  if (head >= 0x60 && head < 0x78) {
    reader.at = at + 1;
    return reader.text(head - 0x60);
  }
  const length = head === 0x78 ? (bytes[at + 1] ?? 0) : 0;
  if (length < 24) return undefined;
  reader.at = at + 2;
  return reader.text(length);
}

function length(reader: ValueReader, info: number): number {
  const value = argument(reader, info);
  if (typeof value === 'bigint') throw reader.fault(`claims ${value} items`);
  return value;
}

/** The shortest head or none (RFC 8949 4.2.1). */
function argument(reader: ValueReader, info: number): number | bigint {
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

function integer(
  reader: ValueReader,
  value: number | bigint,
  { integers }: CborForm,
): number | bigint {
  if (integers === 'unsigned, to 32 bits' && (typeof value === 'bigint' || value < 0))
    throw reader.fault(`integer ${value} is negative or above 32 bits`);
  if (typeof value === 'number') return value;
  const narrowed = narrow(value);
  if (typeof narrowed === 'bigint' && integers === 'safe')
    throw reader.fault(`integer ${value} is too large`);
  return narrowed;
}

function byteString(reader: ValueReader, info: number, { bytes }: CborForm): Uint8Array {
  if (bytes === 'refused') throw reader.fault('byte strings have no place here');
  const view = reader.view(length(reader, info));
  // Plain either way: a `slice` of a Buffer does not copy, here or with whoever reads it.
  return bytes === 'shared'
    ? new Uint8Array(view.buffer, view.byteOffset, view.length)
    : new Uint8Array(view);
}

function simple(
  reader: ValueReader,
  info: number,
  { simple: takes }: CborForm,
): boolean | null | number {
  if (info === 20) return false;
  if (info === 21) return true;
  if (info === 22 && takes !== 'booleans') return null;
  if (info === 27 && takes === 'words and floats') return reader.float64();
  throw reader.fault(`simple value ${info} has no place here`);
}

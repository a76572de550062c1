/**
 * The bytes of an inner CA's file: certificates in the clear, private keys sealed (`sealed-ca.ts`).
 *
 *   file       = header || sealed || checksum
 *   header     = "kelmesh inner ca 2\n" || memory (u32, KiB) || passes (u32) || lanes (u32) || salt (16 bytes)
 *                || length (u32) of body || body
 *   body       = issuing (1 byte) || count (1 byte) || count × generation || retired count (1 byte) || count × retired
 *   generation = number (u32) || algorithm (1 byte) || prepared (u64) || activated (u64) || issued until (u64)
 *                || length (u32) || certificate (PEM) || length (u32) || cross certificate (PEM, may be empty)
 *   retired    = number (u32) || SHA-256 of the certificate (32 bytes) || prepared (u64) || activated (u64) || retired (u64)
 *                || why (1 byte)
 *   sealed     = see `sealed-ca.ts`; the header is its associated data
 *   checksum   = SHA-256 of all before it, 32 bytes
 *
 * Integers are big-endian, times are milliseconds since the Unix epoch, 0 for never. The checksum has no key: it tells a
 * damaged file from a wrong passphrase. Version 1, still read, has one generation and no times:
 *
 *   header     = "kelmesh inner ca 1\n" || memory || passes || lanes || salt || algorithm (1 byte)
 *                || length (u32) || certificate (PEM)
 */
import { ByteReader } from '#src/byte-reader';
import { concatBytes, equalBytes, uint32be, uint64be, utf8 } from '#src/bytes';
import { SEAL_OVERHEAD } from '#src/crypto/aead';
import { sha256 } from '#src/crypto/hash';
import { costProblem, type PassphraseCost } from '#src/crypto/passphrase';
import type { CertificateAlgorithm } from '#src/mtls/key-algorithm';
import { CaError } from './errors.ts';

/** One key of the CA, with its certificate. */
export interface Generation {
  /** Counts from 1, never again the same. */
  readonly number: number;
  readonly algorithm: CertificateAlgorithm;
  /** 0 in a file of version 1. */
  readonly preparedAt: number;
  /** 0 while it is prepared. */
  readonly activatedAt: number;
  /** When the last certificate that it issued runs out; 0 when it issued none; undefined in a file of version 1. */
  readonly issuedUntil: number | undefined;
  /** PEM, self-signed. */
  readonly certificate: string;
  /** PEM of its key, signed with that of the generation before; empty when there is none. */
  readonly cross: string;
}

/** Receipt of a generation whose key is erased. */
export interface RetiredGeneration {
  readonly number: number;
  /** SHA-256 of the certificate, 64 hex digits. */
  readonly fingerprint: string;
  readonly preparedAt: number;
  readonly activatedAt: number;
  readonly retiredAt: number;
  readonly why: RetirementReason;
}

/** `due`: its certificates had run out; `now`: it did not wait for that; `undone`: it was prepared, and never used since. */
export type RetirementReason = 'due' | 'now' | 'undone';

export interface CaFile {
  /** That of the file that was read; what is written is of version 2. */
  readonly version: 1 | 2;
  readonly cost: PassphraseCost;
  /** 16 bytes. */
  readonly salt: Uint8Array;
  /** Index in `generations` of the one that issues. */
  readonly issuing: number;
  /** One or two, the older first. */
  readonly generations: readonly Generation[];
  /** The last {@link MAX_RETIRED}, the oldest first. */
  readonly retired: readonly RetiredGeneration[];
  readonly sealed: Uint8Array;
}

export const MAX_CA_FILE_LENGTH = 256 * 1024;
export const MAX_RETIRED = 64;
export const SALT_LENGTH = 16;

const MAGIC_LENGTH = 19;
const magic = (version: 1 | 2) => utf8(`kelmesh inner ca ${version}\n`);
const CHECKSUM_LENGTH = 32;
const MIN_LENGTH = MAGIC_LENGTH + 12 + SALT_LENGTH + 5 + SEAL_OVERHEAD + 1 + CHECKSUM_LENGTH;
const MAX_GENERATIONS = 2;
/** The last moment that a `Date` can name. */
const MAX_TIME = 8_640_000_000_000_000n;

const algorithmCodes: Readonly<Record<CertificateAlgorithm, number>> = {
  p384: 1,
  p256: 2,
  ed25519: 3,
};
const reasonCodes: Readonly<Record<RetirementReason, number>> = { due: 1, now: 2, undone: 3 };

export function encodeCaFile(file: CaFile): Uint8Array {
  const body = concatBytes(encodeCaHeader(file), file.sealed);
  return concatBytes(body, sha256(body));
}

/** All before `sealed`: its associated data. */
export function encodeCaHeader(file: Omit<CaFile, 'sealed'>): Uint8Array {
  const { version, cost, salt } = file;
  return concatBytes(
    magic(version),
    uint32be(cost.memory),
    uint32be(cost.passes),
    uint32be(cost.lanes),
    salt,
    version === 1 ? encodeFirst(file.generations[0]) : field(encodeBody(file)),
  );
}

function encodeFirst(generation: Generation | undefined): Uint8Array {
  if (generation === undefined) throw corrupt('it has no generation');
  return concatBytes(
    Uint8Array.of(algorithmCodes[generation.algorithm]),
    field(utf8(generation.certificate)),
  );
}

function encodeBody({ issuing, generations, retired }: Omit<CaFile, 'sealed'>): Uint8Array {
  return concatBytes(
    Uint8Array.of(issuing, generations.length),
    ...generations.map(encodeGeneration),
    Uint8Array.of(retired.length),
    ...retired.map(encodeRetired),
  );
}

function encodeGeneration(generation: Generation): Uint8Array {
  const { number, algorithm, preparedAt, activatedAt, issuedUntil = 0 } = generation;
  return concatBytes(
    uint32be(number),
    Uint8Array.of(algorithmCodes[algorithm]),
    time(preparedAt),
    time(activatedAt),
    time(issuedUntil),
    field(utf8(generation.certificate)),
    field(utf8(generation.cross)),
  );
}

function encodeRetired(retired: RetiredGeneration): Uint8Array {
  return concatBytes(
    uint32be(retired.number),
    Buffer.from(retired.fingerprint, 'hex'),
    time(retired.preparedAt),
    time(retired.activatedAt),
    time(retired.retiredAt),
    Uint8Array.of(reasonCodes[retired.why]),
  );
}

/** Everything that needs no passphrase; accepts only what {@link encodeCaFile} gives. @throws CA_CORRUPT */
export function parseCaFile(bytes: Uint8Array): CaFile {
  if (bytes.length < MIN_LENGTH || bytes.length > MAX_CA_FILE_LENGTH) {
    throw corrupt(`expected ${MIN_LENGTH} to ${MAX_CA_FILE_LENGTH} bytes, got ${bytes.length}`);
  }
  const version = versionOf(bytes);
  const content = bytes.subarray(0, -CHECKSUM_LENGTH);
  if (!equalBytes(sha256(content), bytes.subarray(-CHECKSUM_LENGTH))) {
    throw corrupt('its checksum does not fit its content');
  }
  const reader = new ByteReader(content.subarray(MAGIC_LENGTH), corrupt);
  const cost = { memory: reader.uint32(), passes: reader.uint32(), lanes: reader.uint32() };
  const problem = costProblem(cost);
  if (problem !== undefined) throw corrupt(problem);
  const salt = reader.bytes(SALT_LENGTH);
  const generations = version === 1 ? parseFirst(reader) : parseBody(reader);
  const sealed = reader.rest();
  if (sealed.length <= SEAL_OVERHEAD) throw corrupt('its sealed part is cut');
  return { version, cost, salt, ...generations, sealed };
}

function versionOf(bytes: Uint8Array): 1 | 2 {
  const begin = bytes.subarray(0, MAGIC_LENGTH);
  if (equalBytes(begin, magic(2))) return 2;
  if (equalBytes(begin, magic(1))) return 1;
  throw corrupt('it does not begin as a CA file of version 1 or 2');
}

type Body = Pick<CaFile, 'issuing' | 'generations' | 'retired'>;

function parseFirst(reader: ByteReader): Body {
  const first: Generation = {
    number: 1,
    algorithm: keyOf(algorithmCodes, reader.uint8(), 'key algorithm'),
    certificate: text(reader),
    preparedAt: 0,
    activatedAt: 0,
    issuedUntil: undefined,
    cross: '',
  };
  return { issuing: 0, generations: [first], retired: [] };
}

function parseBody(outer: ByteReader): Body {
  const reader = new ByteReader(outer.field(), corrupt);
  const issuing = reader.uint8();
  const generations = list(reader, MAX_GENERATIONS, parseGeneration);
  const retired = list(reader, MAX_RETIRED, parseRetired);
  if (reader.rest().length > 0) throw corrupt('there is more behind its last generation');
  if (issuing >= generations.length)
    throw corrupt(`generation ${issuing} of ${generations.length} issues`);
  const numbers = [...retired, ...generations].map(({ number }) => number);
  if (new Set(numbers).size < numbers.length)
    throw corrupt(`its generations are numbered ${numbers.join(', ')}`);
  return { issuing, generations, retired };
}

function list<T>(reader: ByteReader, most: number, parse: (reader: ByteReader) => T): readonly T[] {
  const count = reader.uint8();
  if (count > most) throw corrupt(`expected at most ${most} generations, got ${count}`);
  return Array.from({ length: count }, () => parse(reader));
}

function parseGeneration(reader: ByteReader): Generation {
  return {
    number: reader.uint32(),
    algorithm: keyOf(algorithmCodes, reader.uint8(), 'key algorithm'),
    preparedAt: parseTime(reader),
    activatedAt: parseTime(reader),
    issuedUntil: parseTime(reader),
    certificate: text(reader),
    cross: text(reader),
  };
}

function parseRetired(reader: ByteReader): RetiredGeneration {
  return {
    number: reader.uint32(),
    fingerprint: Buffer.from(reader.bytes(32)).toString('hex'),
    preparedAt: parseTime(reader),
    activatedAt: parseTime(reader),
    retiredAt: parseTime(reader),
    why: keyOf(reasonCodes, reader.uint8(), 'reason'),
  };
}

function keyOf<K extends string>(
  codes: Readonly<Record<K, number>>,
  code: number,
  what: string,
): K {
  const key = (Object.keys(codes) as K[]).find((each) => codes[each] === code);
  if (key === undefined) throw corrupt(`unknown ${what} ${code}`);
  return key;
}

function parseTime(reader: ByteReader): number {
  const ms = reader.uint64();
  if (ms > MAX_TIME) throw corrupt(`a time of ${ms} ms`);
  return Number(ms);
}

function text(reader: ByteReader): string {
  const bytes = reader.field();
  if (bytes.some((byte) => byte > 127)) throw corrupt('its certificate is not PEM');
  return Buffer.from(bytes).toString('latin1');
}

function time(ms: number): Uint8Array {
  return uint64be(BigInt(ms));
}

function field(bytes: Uint8Array): Uint8Array {
  return concatBytes(uint32be(bytes.length), bytes);
}

function corrupt(reason: string): CaError {
  return new CaError('CA_CORRUPT', `CA file: ${reason}`);
}

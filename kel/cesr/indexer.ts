/**
 * Indexed signatures of CESR 1.0. `index` points into the key list of the signed event, `ondex` into the
 * next-key digests of the establishment event before it; a current-only signature has no ondex.
 */
import { KelError } from '#kel/errors';
import {
  base64ToInteger,
  decodeBase64,
  decodePrimitiveAt,
  encodeBase64,
  integerToBase64,
  sextetOf,
} from './base64.ts';

export type IndexedAlgorithm = 'ed25519' | 'secp256k1' | 'p256' | 'ed448';

export interface IndexedSignature {
  readonly code: string;
  readonly algorithm: IndexedAlgorithm;
  readonly index: number;
  /** undefined for a current-only signature. */
  readonly ondex: number | undefined;
  readonly raw: Uint8Array;
}

export interface IndexedSignatureInput {
  readonly index: number;
  /** Without it: the same as `index`. */
  readonly ondex?: number;
  readonly raw: Uint8Array;
  /** Without it: chosen from algorithm, index and ondex. */
  readonly code?: string;
  /** Default `ed25519`. */
  readonly algorithm?: IndexedAlgorithm;
  /** The key was not committed to before: the signature counts towards the current threshold only. */
  readonly currentOnly?: boolean;
}

interface IndexerFormat {
  readonly algorithm: IndexedAlgorithm;
  readonly currentOnly: boolean;
  /** Characters of the index, and of the ondex behind it (0: the ondex is the index). */
  readonly indexLength: number;
  readonly ondexLength: number;
  readonly rawLength: number;
}

export const INDEXER_CODES: ReadonlyMap<string, IndexerFormat> = new Map([
  ...pair('A', 'B', 'ed25519', 1, 0, 64),
  ...pair('C', 'D', 'secp256k1', 1, 0, 64),
  ...pair('E', 'F', 'p256', 1, 0, 64),
  ...pair('0A', '0B', 'ed448', 1, 1, 114),
  ...pair('2A', '2B', 'ed25519', 2, 2, 64),
  ...pair('2C', '2D', 'secp256k1', 2, 2, 64),
  ...pair('2E', '2F', 'p256', 2, 2, 64),
  ...pair('3A', '3B', 'ed448', 3, 3, 114),
]);

/** Small and big code of each algorithm: both lists, then current only. */
const CODES_BY_ALGORITHM: Readonly<
  Record<IndexedAlgorithm, readonly [string, string, string, string]>
> = {
  ed25519: ['A', '2A', 'B', '2B'],
  secp256k1: ['C', '2C', 'D', '2D'],
  p256: ['E', '2E', 'F', '2F'],
  ed448: ['0A', '3A', '0B', '3B'],
};

/** Characters that {@link indexedSignatureLength} needs. */
export const INDEXER_HEAD_LENGTH = 2;

/** @throws KEL_BAD_CODE when code, index, ondex or length do not fit each other */
export function encodeIndexedSignature(input: IndexedSignatureInput): string {
  const code = input.code ?? chooseCode(input);
  const format = formatOf(code);
  const ondex = format.currentOnly ? undefined : (input.ondex ?? input.index);
  if (input.raw.length !== format.rawLength) {
    throw new KelError(
      'KEL_BAD_CODE',
      `indexed signature ${code}: expected ${format.rawLength} bytes, got ${input.raw.length}`,
    );
  }
  if (format.ondexLength === 0 && ondex !== undefined && ondex !== input.index) {
    throw new KelError(
      'KEL_BAD_CODE',
      `indexed signature ${code}: index ${input.index} and ondex ${ondex} differ`,
    );
  }
  const head =
    code +
    indexText(code, input.index, format.indexLength) +
    indexText(code, ondex ?? 0, format.ondexLength);
  const pad = (3 - (input.raw.length % 3)) % 3;
  const padded = new Uint8Array(pad + input.raw.length);
  padded.set(input.raw, pad);
  return head + encodeBase64(padded).slice(head.length % 4);
}

/** @throws KEL_BAD_CODE */
export function decodeIndexedSignature(qb64: string): IndexedSignature {
  const code = codeOf(qb64);
  const format = formatOf(code);
  const length = fullLength(code, format);
  if (qb64.length !== length) {
    throw new KelError(
      'KEL_BAD_CODE',
      `indexed signature ${code}: expected ${length} characters, got ${qb64.length}`,
    );
  }
  const indexEnd = code.length + format.indexLength;
  const headLength = indexEnd + format.ondexLength;
  const index = base64ToInteger(qb64.slice(code.length, indexEnd));
  const ondex =
    format.ondexLength === 0 ? index : base64ToInteger(qb64.slice(indexEnd, headLength));
  if (index === undefined || ondex === undefined)
    throw new KelError('KEL_BAD_CODE', `indexed signature ${code}: bad index`);
  if (format.currentOnly && format.ondexLength > 0 && ondex !== 0) {
    throw new KelError('KEL_BAD_CODE', `indexed signature ${code}: expected ondex 0, got ${ondex}`);
  }
  const padded = decodeBase64(qb64, headLength);
  const pad = (3 - (format.rawLength % 3)) % 3;
  for (let i = 0; i < pad; i++) {
    if (padded[i] !== 0)
      throw new KelError('KEL_BAD_CODE', `indexed signature ${code}: pad bits are not zero`);
  }
  return {
    code,
    algorithm: format.algorithm,
    index,
    ondex: format.currentOnly ? undefined : ondex,
    raw: padded.subarray(pad),
  };
}

/** Characters of an Ed25519 signature with an index of one character. */
export const SMALL_SIGNATURE_LENGTH = 88;

/**
 * The usual signatures (`A`, `B`), read where they stand.
 * @param text has {@link SMALL_SIGNATURE_LENGTH} characters from `at`
 * @returns undefined for every other code and for what {@link decodeIndexedSignature} refuses
 */
export function readSmallSignature(text: Uint8Array, at: number): IndexedSignature | undefined {
  const first = text[at];
  if (first !== 0x41 && first !== 0x42) return undefined;
  const index = sextetOf(text[at + 1] as number);
  const raw = decodePrimitiveAt(text, at, at + SMALL_SIGNATURE_LENGTH, 2);
  if (index < 0 || raw === undefined) return undefined;
  return first === 0x41
    ? { code: 'A', algorithm: 'ed25519', index, ondex: index, raw }
    : { code: 'B', algorithm: 'ed25519', index, ondex: undefined, raw };
}

/** Full length in characters. @param head at least {@link INDEXER_HEAD_LENGTH} characters  @throws KEL_BAD_CODE */
export function indexedSignatureLength(head: string): number {
  const code = codeOf(head);
  return fullLength(code, formatOf(code));
}

function chooseCode({
  index,
  ondex,
  currentOnly,
  algorithm = 'ed25519',
}: IndexedSignatureInput): string {
  const [both, bothBig, current, currentBig] = CODES_BY_ALGORITHM[algorithm];
  if (currentOnly) return index < 64 ? current : currentBig;
  const oneCharacter = algorithm === 'ed448' ? (ondex ?? index) < 64 : (ondex ?? index) === index;
  return index < 64 && oneCharacter ? both : bothBig;
}

function codeOf(qb64: string): string {
  const first = qb64.charAt(0);
  return first >= 'A' ? first : qb64.slice(0, 2);
}

function formatOf(code: string): IndexerFormat {
  const format = INDEXER_CODES.get(code);
  if (format === undefined)
    throw new KelError('KEL_BAD_CODE', `unknown signature code ${JSON.stringify(code)}`);
  return format;
}

function fullLength(code: string, { indexLength, ondexLength, rawLength }: IndexerFormat): number {
  const headLength = code.length + indexLength + ondexLength;
  return headLength - (headLength % 4) + Math.ceil(rawLength / 3) * 4;
}

function indexText(code: string, index: number, length: number): string {
  if (length === 0) return '';
  if (!Number.isInteger(index) || index < 0 || index >= 64 ** length) {
    throw new KelError(
      'KEL_BAD_CODE',
      `indexed signature ${code}: index ${index} is not below ${64 ** length}`,
    );
  }
  return integerToBase64(index, length);
}

function pair(
  both: string,
  current: string,
  algorithm: IndexedAlgorithm,
  indexLength: number,
  ondexLength: number,
  rawLength: number,
): (readonly [string, IndexerFormat])[] {
  const shared = { algorithm, indexLength, ondexLength, rawLength };
  return [
    [both, { ...shared, currentOnly: false }],
    [current, { ...shared, currentOnly: true }],
  ];
}

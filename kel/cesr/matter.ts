/**
 * Primitives of CESR 1.0: a code and raw bytes as text (qb64) or binary (qb2).
 * Both directions are exact inverses: pad bits and lead bytes must be zero, sizes as the table says.
 */
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import {
  base64ToInteger,
  decodeBase64,
  encodeBase64,
  integerToBase64,
  isBase64,
} from './base64.ts';
import { hardLengthOf, MATTER_CODES, type MatterFormat } from './matter-codes.ts';

export interface Matter {
  readonly code: string;
  readonly raw: Uint8Array;
  /** The value of a tag; empty for every other code. */
  readonly soft: string;
}

/** Longest code with its size, in characters: what {@link matterLength} needs to see. */
export const MATTER_HEAD_LENGTH = 8;

const SMALL_MAX_QUADLETS = 64 ** 2 - 1;

/**
 * @param code hard part; of variable codes the one whose lead bytes fit, in the small or the big form
 * @param soft the value of a tag code
 * @throws KEL_BAD_CODE for an unknown code or a length that is not the code's
 */
export function encodeMatter(code: string, raw: Uint8Array, soft = ''): string {
  const format = formatOf(code);
  const pad = padLength(raw.length);
  const padded = new Uint8Array(pad + raw.length);
  padded.set(raw, pad);
  const text = encodeBase64(padded);
  if (format.rawLength === undefined) {
    const quadlets = text.length / 4;
    if (pad !== format.leadLength || quadlets > 64 ** format.softLength - 1)
      throw wrongLength(code, raw.length);
    return code + integerToBase64(quadlets, format.softLength) + text;
  }
  if (raw.length !== format.rawLength) throw wrongLength(code, raw.length);
  if (soft.length !== format.softLength - format.fill || !isBase64(soft)) {
    throw new KelError(
      'KEL_BAD_CODE',
      `code ${code}: expected a value of ${format.softLength - format.fill} Base64 characters, got ${quote(soft)}`,
    );
  }
  const head = code + '_'.repeat(format.fill) + soft;
  return head + text.slice(head.length % 4);
}

/** Chooses selector and size of a variable code. @param type `A` text, `B` bytes, … (table in `matter-codes.ts`) */
export function encodeVariableMatter(type: string, raw: Uint8Array): string {
  const lead = padLength(raw.length);
  const small = (raw.length + lead) / 3 <= SMALL_MAX_QUADLETS;
  return encodeMatter(small ? `${4 + lead}${type}` : `${7 + lead}AA${type}`, raw);
}

/**
 * Code of a primitive that is checked as {@link decodeMatter} does, without its raw bytes.
 * @throws KEL_BAD_CODE
 */
export function checkMatter(qb64: string): string {
  // The common case: 32 bytes under a code of one character. Two pad bits follow the code.
  if (qb64.length === 44 && MATTER_CODES.get(qb64.charAt(0))?.rawLength === 32) {
    if (isBase64(qb64) && (base64ToInteger(qb64.charAt(1)) ?? 64) < 16) return qb64.charAt(0);
  }
  return decodeMatter(qb64).code;
}

/** @throws KEL_BAD_CODE */
export function decodeMatter(qb64: string): Matter {
  const length = matterLength(qb64);
  if (length !== qb64.length) {
    throw new KelError(
      'KEL_BAD_CODE',
      `primitive ${quote(qb64)}: expected ${length} characters, got ${qb64.length}`,
    );
  }
  const code = codeOf(qb64);
  const format = formatOf(code);
  const headLength = format.hardLength + format.softLength;
  const padded = decodeBase64(qb64, headLength);
  const pad = format.rawLength === undefined ? format.leadLength : padLength(format.rawLength);
  for (let i = 0; i < pad; i++) {
    if (padded[i] !== 0)
      throw new KelError('KEL_BAD_CODE', `primitive ${quote(qb64)}: pad bits are not zero`);
  }
  return { code, raw: padded.subarray(pad), soft: softOf(qb64, format) };
}

export function encodeMatterBinary(code: string, raw: Uint8Array, soft = ''): Uint8Array {
  return decodeBase64(encodeMatter(code, raw, soft));
}

/** @throws KEL_BAD_CODE */
export function decodeMatterBinary(qb2: Uint8Array): Matter {
  if (qb2.length % 3 !== 0) {
    throw new KelError(
      'KEL_BAD_CODE',
      `binary primitive: expected a multiple of 3 bytes, got ${qb2.length}`,
    );
  }
  return decodeMatter(encodeBase64(qb2));
}

/**
 * Full length in characters of the primitive that begins with `head`.
 * @param head at least {@link MATTER_HEAD_LENGTH} characters, or the whole primitive
 * @throws KEL_BAD_CODE
 */
export function matterLength(head: string): number {
  const code = codeOf(head);
  const { hardLength, softLength, rawLength } = formatOf(code);
  const headLength = hardLength + softLength;
  if (rawLength !== undefined) {
    return headLength - (headLength % 4) + ((rawLength + padLength(rawLength)) / 3) * 4;
  }
  const quadlets =
    head.length < headLength ? undefined : base64ToInteger(head.slice(hardLength, headLength));
  if (quadlets === undefined)
    throw new KelError('KEL_BAD_CODE', `primitive ${quote(head)}: no size after code ${code}`);
  return headLength + quadlets * 4;
}

function codeOf(qb64: string): string {
  const hardLength = hardLengthOf(qb64.charAt(0));
  if (hardLength === undefined)
    throw new KelError('KEL_BAD_CODE', `no primitive begins with ${quote(qb64)}`);
  return qb64.slice(0, hardLength);
}

function formatOf(code: string): MatterFormat {
  const format = MATTER_CODES.get(code);
  if (format === undefined)
    throw new KelError('KEL_BAD_CODE', `unknown primitive code ${quote(code)}`);
  return format;
}

function softOf(qb64: string, { hardLength, softLength, fill, rawLength }: MatterFormat): string {
  if (rawLength === undefined || softLength === 0) return '';
  const soft = qb64.slice(hardLength + fill, hardLength + softLength);
  if (qb64.slice(hardLength, hardLength + fill) !== '_'.repeat(fill) || !isBase64(soft)) {
    throw new KelError('KEL_BAD_CODE', `tag ${quote(qb64)}: bad value`);
  }
  return soft;
}

function padLength(rawLength: number): number {
  return (3 - (rawLength % 3)) % 3;
}

function wrongLength(code: string, length: number): KelError {
  const expected = MATTER_CODES.get(code)?.rawLength;
  return new KelError(
    'KEL_BAD_CODE',
    `code ${code}: expected ${expected ?? 'another number of'} bytes, got ${length}`,
  );
}

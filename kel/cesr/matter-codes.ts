/**
 * The code table of CESR 1.0 primitives ("Matter"), as KERI 1.0 uses it. Everything about the form of a
 * primitive follows from its row; the codec in `matter.ts` holds no knowledge of single codes.
 */

/** Soft characters (`softLength`, of which the first `fill` are `_`) carry the value of a tag or the size of a variable primitive. */
export interface MatterFormat {
  readonly hardLength: number;
  readonly softLength: number;
  readonly fill: number;
  /** Bytes of the raw value; undefined when the soft part counts quadlets. */
  readonly rawLength: number | undefined;
  /** Zero bytes that belong to the value's encoding and not to the room of the code. */
  readonly leadLength: number;
}

export const SALT_OR_ORDINAL = '0A';
export const DATE_TIME = '1AAG';
export const ED25519_SIGNATURE = '0B';
export const P256_SIGNATURE = '0I';
export const BLAKE3_256 = 'E';

const FIXED: readonly (readonly [rawLength: number, codes: string])[] = [
  // Seeds, keys and 256-bit digests; `a` Salt 256 and `b` gram head are later additions.
  [32, 'A B C D E F G H I J O Q a b'],
  // Ed448 seed and X448 key as the table of 1.0 has them.
  [56, 'K L'],
  // Short, label of 2, tall, big, large, great, vast numbers.
  [2, 'M W'],
  [5, 'R'],
  [8, 'N'],
  [11, 'S'],
  [14, 'T'],
  [17, 'U'],
  // Sealed box of a 44-character seed.
  [92, 'P'],
  // Salt 128, nonce, and every ordinal in an attachment.
  [16, '0A'],
  // Signatures without index, 512-bit digests.
  [64, '0B 0C 0D 0E 0F 0G 0I'],
  [4, '0H'],
  // secp256k1 and P-256 keys, compressed points.
  [33, '1AAA 1AAB 1AAI 1AAJ'],
  [57, '1AAC 1AAD'],
  [114, '1AAE'],
  [24, '1AAG'],
  // Sealed box of a 24-character salt.
  [72, '1AAH'],
  // Null, two booleans, escape, empty: the code is the value.
  [0, '1AAK 1AAL 1AAM 1AAO 1AAP'],
];

/** Tags: the value stands in the soft characters. Rows: code, soft length, fill. */
const TAGS: readonly (readonly [code: string, softLength: number, fill: number])[] = [
  ['0J', 2, 1],
  ['0K', 2, 0],
  ['X', 3, 0],
  ['1AAF', 4, 0],
  ['0L', 6, 1],
  ['0M', 6, 0],
  ['Y', 7, 0],
  ['1AAN', 8, 0],
  ['0N', 10, 1],
  ['0O', 10, 0],
  ['Z', 11, 0],
];

/** Text, bytes, four ciphers and decimals, each with a small and a big form and 0, 1 or 2 lead bytes. */
const VARIABLE_TYPES = 'ABCDEFH';

/** Length of the hard part by first character; anything else does not begin a primitive. */
export function hardLengthOf(first: string): number | undefined {
  if (/^[A-Za-z]$/.test(first)) return 1;
  return HARD_LENGTHS.get(first);
}

const HARD_LENGTHS: ReadonlyMap<string, number> = new Map([
  ['0', 2],
  ['1', 4],
  ['2', 4],
  ['3', 4],
  ['4', 2],
  ['5', 2],
  ['6', 2],
  ['7', 4],
  ['8', 4],
  ['9', 4],
]);

export const MATTER_CODES: ReadonlyMap<string, MatterFormat> = new Map([
  ...FIXED.flatMap(([rawLength, codes]) =>
    codes.split(' ').map((code) => [code, fixed(code, rawLength)] as const),
  ),
  // Label1: the one short code with a lead byte.
  ['V', { ...fixed('V', 1), leadLength: 1 }] as const,
  ...TAGS.map(
    ([code, softLength, fill]) => [code, { ...fixed(code, 0), softLength, fill }] as const,
  ),
  ...[...VARIABLE_TYPES].flatMap((type) =>
    [0, 1, 2].flatMap((lead) => [
      [`${4 + lead}${type}`, variable(2, lead)] as const,
      [`${7 + lead}AA${type}`, variable(4, lead)] as const,
    ]),
  ),
]);

function fixed(code: string, rawLength: number): MatterFormat {
  return { hardLength: code.length, softLength: 0, fill: 0, rawLength, leadLength: 0 };
}

function variable(hardLength: number, leadLength: number): MatterFormat {
  return { hardLength, softLength: hardLength, fill: 0, rawLength: undefined, leadLength };
}

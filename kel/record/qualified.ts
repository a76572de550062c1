/** The qualified Base64 values that stand in records. */
import { decodeMatter } from '#kel/cesr/matter';
import { BLAKE3_256, SALT_OR_ORDINAL } from '#kel/cesr/matter-codes';
import { KelError } from '#kel/errors';
import type { Aid, Said } from '#kel/identifiers';

/** Self-addressing (`E`), Ed25519 (`B`, `D`), P-256 (`1AAI`, `1AAJ`). */
const AID_CODES: readonly string[] = ['E', 'D', 'B', '1AAI', '1AAJ'];

export function isAid(text: string): text is Aid {
  return AID_CODES.includes(codeOf(text) ?? '');
}

/** BLAKE3-256, the one digest that records and their logs use. */
export function isSaid(text: string): text is Said {
  return codeOf(text) === BLAKE3_256;
}

export function isSalt(text: string): boolean {
  return codeOf(text) === SALT_OR_ORDINAL;
}

function codeOf(text: string): string | undefined {
  try {
    return decodeMatter(text).code;
  } catch (error) {
    if (error instanceof KelError) return undefined;
    throw error;
  }
}

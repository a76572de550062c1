/** Identifiers as they stand in events: qualified Base64 (CESR text domain), branded so that they do not mix. */

import { isDigestCode } from '#kel/cesr/digest';
import { checkMatter } from '#kel/cesr/matter';
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import type { Brand } from '#src/brand';

/** AID: `E…` self-addressing, or `B…`/`D…`/`1AAI…` basic; validated by `parseAid`. */
export type Aid = Brand<string, 'Aid'>;

/** SAID of an event or record: 44 characters for 256-bit digests. */
export type Said = Brand<string, 'Said'>;

/** Public verification key, qb64: `D…` transferable Ed25519, `B…` non-transferable, `1AAJ…` P-256. */
export type VerificationKey = Brand<string, 'VerificationKey'>;

/** Codes that begin an AID besides digests: `B`, `D`, secp256k1 and P-256 keys, non-transferable and transferable. */
const KEY_CODES: ReadonlySet<string> = new Set(['B', 'D', '1AAA', '1AAB', '1AAI', '1AAJ']);
/** Non-transferable codes by the transferable code of the same curve. */
const MATERIAL_OF_CODE: ReadonlyMap<string, string> = new Map([
  ['B', 'D'],
  ['1AAA', '1AAB'],
  ['1AAI', '1AAJ'],
]);
const NON_TRANSFERABLE_CODES: ReadonlySet<string> = new Set(['B', '1AAA', '1AAI']);

/** @throws KEL_BAD_IDENTIFIER */
export function parseAid(text: unknown): Aid {
  const code = codeOf('AID', text);
  if (!KEY_CODES.has(code) && !isDigestCode(code)) throw wrongType('an AID', text);
  return text as Aid;
}

/** @throws KEL_BAD_IDENTIFIER */
export function parseSaid(text: unknown): Said {
  if (!isDigestCode(codeOf('SAID', text))) throw wrongType('a SAID', text);
  return text as Said;
}

/** @throws KEL_BAD_IDENTIFIER */
export function parseVerificationKey(text: unknown): VerificationKey {
  if (!KEY_CODES.has(codeOf('verification key', text))) throw wrongType('a verification key', text);
  return text as VerificationKey;
}

/** An AID that is its own key and can never rotate: witnesses have such. @param aid a parsed AID */
export function isNonTransferable(aid: Aid): boolean {
  return NON_TRANSFERABLE_CODES.has(aid.startsWith('1') ? aid.slice(0, 4) : aid.slice(0, 1));
}

/** The AID derives from its inception event and not from a key. @param aid a parsed AID */
export function isSelfAddressing(aid: Aid): boolean {
  return isDigestCode(aid.startsWith('0') ? aid.slice(0, 2) : aid.slice(0, 1));
}

/**
 * The key apart from the question whether it may rotate: equal for `D…` and `B…` of one key, which is then one signer.
 * @param key a parsed verification key, or an AID that is one
 */
export function keyMaterial(key: VerificationKey | Aid): string {
  const code = key.startsWith('1') ? key.slice(0, 4) : key.slice(0, 1);
  return (MATERIAL_OF_CODE.get(code) ?? code) + key.slice(code.length);
}

function codeOf(what: string, text: unknown): string {
  if (typeof text !== 'string') {
    throw new KelError('KEL_BAD_IDENTIFIER', `${what}: expected text, got ${typeof text}`);
  }
  try {
    return checkMatter(text);
  } catch (cause) {
    throw new KelError(
      'KEL_BAD_IDENTIFIER',
      `${what}: ${quote(text)} is not a qualified primitive`,
      { cause },
    );
  }
}

function wrongType(what: string, text: unknown): KelError {
  return new KelError('KEL_BAD_IDENTIFIER', `expected ${what}, got ${quote(text)}`);
}

/** Self-addressing identifiers: the digest of a body in which the digest itself is written as 44 `#`. */
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import { equalBytes } from '#src/bytes';
import { blake3 } from '#src/crypto/hash';
import { decodePrimitiveAt } from './base64.ts';
import { encodeBody } from './body.ts';
import type { BodyMap, BodyValue } from './body-value.ts';
import { blake3Digest, verifyDigest } from './digest.ts';
import { BLAKE3_256 } from './matter-codes.ts';
import type { BodyKind } from './version.ts';

const SAID_LENGTH = 44;
const DUMMY = '#'.repeat(SAID_LENGTH);

/**
 * Computes the SAID of `fields` and encodes them with it under every label of `labels` (`d`; for
 * self-addressing inceptions also `i`). The labels stand in `fields` with any value, to fix their place.
 */
export function encodeWithSaid(
  protocol: string,
  kind: BodyKind,
  fields: Iterable<readonly [string, BodyValue]>,
  labels: readonly string[] = ['d'],
): { readonly bytes: Uint8Array; readonly said: string } {
  const map = new Map(fields);
  for (const label of labels) map.set(label, DUMMY);
  const said = blake3Digest(encodeBody(protocol, kind, map));
  for (const label of labels) map.set(label, said);
  return { bytes: encodeBody(protocol, kind, map), said };
}

/**
 * Verifies field `d` of a canonical body over its bytes.
 * @param alsoIdentifier the field `i` right behind `d` holds the same value and was a dummy too
 * @returns the SAID  @throws KEL_BAD_SAID
 */
export function verifySaid(bytes: Uint8Array, fields: BodyMap, alsoIdentifier = false): string {
  const said = fields.get('d');
  if (typeof said !== 'string') throw new KelError('KEL_BAD_SAID', 'field d: expected a SAID');
  const blanked = Buffer.allocUnsafe(bytes.length);
  blanked.set(bytes);
  const at = blank(blanked, said, 0);
  if (alsoIdentifier) blank(blanked, said, at + said.length);
  if (!matches(bytes, at, said, blanked)) {
    throw new KelError(
      'KEL_BAD_SAID',
      `field d says ${said}, the content hashes to ${blake3Digest(blanked)}`,
    );
  }
  return said;
}

/** @param at where `said` stands in `bytes` */
function matches(bytes: Uint8Array, at: number, said: string, blanked: Uint8Array): boolean {
  if (said.length === SAID_LENGTH && said.startsWith(BLAKE3_256)) {
    const digest = decodePrimitiveAt(bytes, at, at + SAID_LENGTH, 1);
    return digest !== undefined && equalBytes(digest, blake3(blanked));
  }
  try {
    return verifyDigest(said, blanked);
  } catch {
    return false;
  }
}

/** The field `d` stands before every other place where a SAID can be, so its text is the first found. */
function blank(bytes: Buffer, said: string, from: number): number {
  const at = said.length >= SAID_LENGTH ? bytes.indexOf(said, from, 'latin1') : -1;
  if (at < 0) throw new KelError('KEL_BAD_SAID', `field d: ${quote(said)} is no SAID`);
  bytes.fill('#', at, at + said.length);
  return at;
}

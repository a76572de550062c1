/**
 * Custodian card: what a custodian tells whoever makes a proposal. A key that can sign now, the digest of the
 * one after it, a name, and a signature that proves that the maker holds the key. Public; no secret stands in it.
 *
 * `kelmesh.custodian-card/1`, deterministic CBOR: `type`, `name`, `key` (qualified), `next` (qualified digest),
 * `proof` (64 bytes by `key` over the label `custodian-card` and the card without `proof`).
 */
import { checkMatter } from '#kel/cesr/matter';
import { KelError } from '#kel/errors';
import { keyDigest } from '#kel/event/key-digest';
import { encodeVerificationKey } from '#kel/event/verification-key';
import { parseSaid, parseVerificationKey, type VerificationKey } from '#kel/identifiers';
import type { VerifySignature } from '#kel/state/key-signatures';
import { encodeCbor } from '#src/cbor';
import { custodianCardLabel } from '#src/crypto/labels';
import type { KeyId, KeyStore } from '#src/keystore/key-store';
import { CustodyError } from './errors.ts';
import { bytesOf, malformed, readMap, textOf } from './fields.ts';

export interface CustodianCard {
  /** As the custodian calls itself; nothing vouches for it. */
  readonly name: string;
  /** Transferable Ed25519 or P-256. */
  readonly key: VerificationKey;
  /** `E…`: what the event commits to. */
  readonly next: string;
  readonly proof: Uint8Array;
}

const CARD = 'kelmesh.custodian-card/1';
const MAX_CARD_BYTES = 1_024;
/** ASCII, so that no two names look alike. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/;

/** Throws CUSTODY_BAD_CARD for a name that is none. */
export async function makeCard(
  keyStore: KeyStore,
  { name, key, next }: { readonly name: string; readonly key: KeyId; readonly next: KeyId },
): Promise<CustodianCard> {
  if (!NAME.test(name))
    throw new CustodyError('CUSTODY_BAD_CARD', `name ${JSON.stringify(name.slice(0, 80))}`, {
      hint: 'Take 1 to 64 letters, digits, spaces, dots, hyphens or underscores, the first a letter or digit',
    });
  const unsigned = {
    name,
    key: await verificationKeyOf(keyStore, key),
    next: keyDigest(await verificationKeyOf(keyStore, next)),
  };
  return { ...unsigned, proof: await keyStore.sign(key, proven(unsigned)) };
}

export async function verificationKeyOf(keyStore: KeyStore, id: KeyId): Promise<VerificationKey> {
  const { algorithm, publicKey } = await keyStore.signingKey(id);
  return encodeVerificationKey(algorithm, publicKey);
}

export function encodeCard({ name, key, next, proof }: CustodianCard): Uint8Array {
  return encodeCbor(
    new Map<string, string | Uint8Array>([...fieldsOf({ name, key, next }), ['proof', proof]]),
  );
}

/** @param bytes of any origin. Throws CUSTODY_MALFORMED, CUSTODY_BAD_CARD */
export function parseCard(bytes: Uint8Array, verifySignature: VerifySignature): CustodianCard {
  const map = readMap(bytes, {
    type: CARD,
    labels: ['name', 'key', 'next', 'proof'],
    max: MAX_CARD_BYTES,
  });
  const name = textOf(map, 'name');
  if (!NAME.test(name)) throw malformed(`card: ${JSON.stringify(name.slice(0, 80))} is no name`);
  const card: CustodianCard = {
    name,
    ...identifiers(textOf(map, 'key'), textOf(map, 'next')),
    proof: bytesOf(map, 'proof', 64),
  };
  if (!verifySignature(card.key, card.proof, proven(card)))
    throw new CustodyError(
      'CUSTODY_BAD_CARD',
      `card of ${name}: the proof is not a signature by ${card.key}`,
    );
  return card;
}

function identifiers(key: string, next: string): Pick<CustodianCard, 'key' | 'next'> {
  try {
    const code = checkMatter(key);
    if (code !== 'D' && code !== '1AAJ') throw malformed(`card: key ${key} is not one of KERI's`);
    if (checkMatter(next) !== 'E') throw malformed(`card: next ${next} is no BLAKE3-256 digest`);
    return { key: parseVerificationKey(key), next: parseSaid(next) };
  } catch (cause) {
    if (!(cause instanceof KelError)) throw cause;
    throw new CustodyError('CUSTODY_MALFORMED', `card: ${cause.message}`, { cause });
  }
}

function proven(card: Omit<CustodianCard, 'proof'>): Uint8Array {
  return custodianCardLabel(encodeCbor(new Map(fieldsOf(card))));
}

function fieldsOf({ name, key, next }: Omit<CustodianCard, 'proof'>): [string, string][] {
  return [
    ['type', CARD],
    ['name', name],
    ['key', key],
    ['next', next],
  ];
}

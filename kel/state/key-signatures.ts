/** Signatures against a key list: what counts, and what it amounts to. Serves events and records alike. */
import type { IndexedAlgorithm, IndexedSignature } from '#kel/cesr/indexer';
import type { VerificationKey } from '#kel/identifiers';
import type { ThresholdForm } from './key-state.ts';
import { satisfies } from './threshold.ts';

/**
 * True for a valid signature; never throws. The concrete one is `createSignatureVerifier` in
 * `kel/verify/signature-verifier.ts`.
 */
export type VerifySignature = (
  key: VerificationKey,
  signature: Uint8Array,
  message: Uint8Array,
) => boolean;

export interface KeySignatures {
  /** The signatures that verify, each place once; the others are dropped. */
  readonly valid: readonly IndexedSignature[];
  readonly isSatisfied: boolean;
}

/** Signatures tried per key: more are noise that costs time. */
const MAX_TRIES_PER_KEY = 4;

/**
 * Verifies `signatures` by the keys that they name. A key counts once towards the threshold, whatever the
 * number and the codes of its signatures; an index outside the list or a code of another curve is dropped.
 */
export function verifyKeySignatures(
  verifySignature: VerifySignature,
  keys: readonly VerificationKey[],
  threshold: ThresholdForm,
  message: Uint8Array,
  signatures: readonly IndexedSignature[],
): KeySignatures {
  const valid = validSignatures(verifySignature, keys, message, signatures);
  return { valid, isSatisfied: satisfies(threshold, indicesOf(valid)) };
}

/** The distinct key indices of `signatures`. */
function indicesOf(signatures: readonly IndexedSignature[]): ReadonlySet<number> {
  const indices = new Set<number>();
  for (const signature of signatures) indices.add(signature.index);
  return indices;
}

/** As {@link verifyKeySignatures}, without a threshold. */
export function validSignatures(
  verifySignature: VerifySignature,
  keys: readonly VerificationKey[],
  message: Uint8Array,
  signatures: readonly IndexedSignature[],
): readonly IndexedSignature[] {
  const valid: IndexedSignature[] = [];
  const tries = new Map<number, number>();
  for (const signature of signatures) {
    const key = keys[signature.index];
    if (key === undefined || algorithmOfKey(key) !== signature.algorithm) continue;
    if (signatures.length > 1) {
      const tried = tries.get(signature.index) ?? 0;
      if (tried >= MAX_TRIES_PER_KEY || isRepeated(valid, signature)) continue;
      tries.set(signature.index, tried + 1);
    }
    if (verifySignature(key, signature.raw, message)) valid.push(signature);
  }
  return valid;
}

function isRepeated(
  valid: readonly IndexedSignature[],
  { index, ondex }: IndexedSignature,
): boolean {
  return valid.some((other) => other.index === index && other.ondex === ondex);
}

/** @param key a parsed verification key, or a non-transferable AID, which is one */
export function algorithmOfKey(key: string): IndexedAlgorithm | undefined {
  const first = key.charAt(0);
  if (first === 'D' || first === 'B') return 'ed25519';
  const code = key.slice(0, 4);
  if (code === '1AAJ' || code === '1AAI') return 'p256';
  return code === '1AAB' || code === '1AAA' ? 'secp256k1' : undefined;
}

/** Signatures against a key list: what counts, and what it amounts to. Serves events and records alike. */
import type { IndexedAlgorithm, IndexedSignature } from '#kel/cesr/indexer';
import { keyMaterial, type VerificationKey } from '#kel/identifiers';
import type { ThresholdForm } from '../key-state/key-state.ts';
import { satisfies } from '../key-state/threshold.ts';

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
/** Signatures of one message that may fail: each hashes the whole message, and an honest message has none. */
const MAX_FAILURES = 64;

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
  return { valid, isSatisfied: satisfies(threshold, distinctKeys(keys, valid)) };
}

/**
 * The indices of `signatures` that name distinct keys. Parsing refuses a key that stands twice; a log that an earlier
 * version accepted may hold one, which counts where it stands first.
 */
function distinctKeys(
  keys: readonly VerificationKey[],
  signatures: readonly IndexedSignature[],
): ReadonlySet<number> {
  const indices = new Set<number>();
  for (const { index } of signatures) indices.add(index);
  if (indices.size < 2) return indices;
  const byMaterial = new Map<string, number>();
  for (const index of [...indices].sort((a, b) => a - b)) {
    const material = keyMaterial(keys[index] as VerificationKey);
    if (!byMaterial.has(material)) byMaterial.set(material, index);
  }
  return new Set(byMaterial.values());
}

/** As {@link verifyKeySignatures}, without a threshold. */
export function validSignatures(
  verifySignature: VerifySignature,
  keys: readonly VerificationKey[],
  message: Uint8Array,
  signatures: readonly IndexedSignature[],
): readonly IndexedSignature[] {
  const valid: IndexedSignature[] = [];
  const tried = new Map<number, Tried>();
  let failures = 0;
  for (const signature of signatures) {
    const key = keys[signature.index];
    if (key === undefined || algorithmOfKey(key) !== signature.algorithm) continue;
    const ofKey = tried.get(signature.index) ?? { count: 0, valid: [] };
    if (ofKey.count >= MAX_TRIES_PER_KEY || ofKey.valid.includes(signature.ondex)) continue;
    ofKey.count += 1;
    tried.set(signature.index, ofKey);
    if (!verifySignature(key, signature.raw, message)) {
      failures += 1;
      if (failures >= MAX_FAILURES) break;
      continue;
    }
    ofKey.valid.push(signature.ondex);
    valid.push(signature);
  }
  return valid;
}

/** What was tried of one key: at most {@link MAX_TRIES_PER_KEY}. */
interface Tried {
  count: number;
  /** Positions among the next-key digests that its valid signatures name. */
  readonly valid: (number | undefined)[];
}

/** @param key a parsed verification key, or a non-transferable AID, which is one */
export function algorithmOfKey(key: string): IndexedAlgorithm | undefined {
  const first = key.charAt(0);
  if (first === 'D' || first === 'B') return 'ed25519';
  const code = key.slice(0, 4);
  if (code === '1AAJ' || code === '1AAI') return 'p256';
  return code === '1AAB' || code === '1AAA' ? 'secp256k1' : undefined;
}

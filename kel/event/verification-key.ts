/** Public keys as they stand in events. */
import { encodeMatter } from '#kel/cesr/matter';
import type { VerificationKey } from '#kel/identifiers';

/** What Kelmesh signs with; KERI has codes for these two that every verifier of 1.0 reads. */
export type KeyAlgorithm = 'ed25519' | 'p256';

/**
 * @param publicKey Ed25519: 32 bytes; P-256: the 33-byte compressed point
 * @param transferable false for witnesses and other identifiers that never rotate
 * @throws KEL_BAD_CODE for another length
 */
export function encodeVerificationKey(
  algorithm: KeyAlgorithm,
  publicKey: Uint8Array,
  transferable = true,
): VerificationKey {
  const code =
    algorithm === 'ed25519' ? (transferable ? 'D' : 'B') : transferable ? '1AAJ' : '1AAI';
  return encodeMatter(code, publicKey) as VerificationKey;
}

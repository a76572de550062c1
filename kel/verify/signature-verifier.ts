/** Signature verification by qualified key: the one place that maps key codes to algorithms. */
import { decodeMatter } from '#kel/cesr/matter';
import type { VerifySignature } from '#kel/state/key-signatures';
import { verifyP256 } from '#src/crypto/p256';
import type { Ed25519 } from '#src/crypto/suite';

/** Decoded keys that are kept: logs verify many events under few keys. */
const MAX_CACHED_KEYS = 256;

/** Ed25519 (`D`, `B`) and P-256 (`1AAJ`, `1AAI`); every other key verifies nothing. */
export function createSignatureVerifier(ed25519: Pick<Ed25519, 'verify'>): VerifySignature {
  const rawKeys = new Map<string, Uint8Array>();
  return (key, signature, message) => {
    let raw = rawKeys.get(key);
    if (raw === undefined) {
      raw = decodeMatter(key).raw;
      if (rawKeys.size >= MAX_CACHED_KEYS) rawKeys.clear();
      rawKeys.set(key, raw);
    }
    if (raw.length === 32) return ed25519.verify(signature, message, raw);
    return (
      (key.startsWith('1AAJ') || key.startsWith('1AAI')) && verifyP256(signature, message, raw)
    );
  };
}

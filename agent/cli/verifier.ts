import type { VerifySignature } from '#kel/state/key-signatures';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';

/** Verifies signatures of foreign keys; no key store is opened. */
export async function verifier(): Promise<VerifySignature> {
  const { ed25519 } = await loadCryptoSuite();
  return createSignatureVerifier(ed25519);
}

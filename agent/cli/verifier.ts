import type { VerifySignature } from '#kel/state/key-signatures';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import type { Ed25519 } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';

/**
 * As `composeVerifier`, for commands that read files and nothing else: they start without the network, the devices and the tokens that
 * `agent/compose.ts` brings.
 */
export async function verifier(): Promise<VerifySignature> {
  return createSignatureVerifier(await verifyingEd25519());
}

export async function verifyingEd25519(): Promise<Ed25519> {
  return (await loadCryptoSuite()).ed25519;
}

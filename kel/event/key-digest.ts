/** Next-key digests: what pre-rotation commits to. */
import { blake3Digest } from '#kel/cesr/digest';
import type { VerificationKey } from '#kel/identifiers';
import { utf8 } from '#src/bytes';

/** Digest of the qualified text of the key, not of its raw bytes. @returns 44 characters, `E…` */
export function keyDigest(key: VerificationKey): string {
  return blake3Digest(utf8(key));
}

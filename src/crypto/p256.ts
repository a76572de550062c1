/** ECDSA on P-256 with SHA-256 (FIPS 186-5), the signature algorithm of tokens without Ed25519. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';

const SIGNATURE_LENGTH = 64;
const COMPRESSED_POINT_LENGTH = 33;

/**
 * False for anything that is not a valid signature by a valid key; never throws. A high `s` is accepted,
 * as KERIpy does: a P-256 signature is never an identifier.
 * @param signature 64 bytes `r || s`  @param publicKey 33 bytes, compressed point (SEC 1 2.3.3)
 */
export function verifyP256(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
): boolean {
  if (signature.length !== SIGNATURE_LENGTH || publicKey.length !== COMPRESSED_POINT_LENGTH)
    return false;
  const key = publicKeyOf(publicKey);
  return (
    key !== undefined && verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature)
  );
}

function publicKeyOf(point: Uint8Array): KeyObject | undefined {
  try {
    // Decompression fails for an x that has no point on the curve; P-256 has cofactor 1, so that is the whole check.
    return createPublicKey({
      key: Buffer.from(point.buffer, point.byteOffset, point.byteLength),
      format: 'raw-public',
      asymmetricKeyType: 'ec',
      namedCurve: 'P-256',
    });
  } catch {
    return undefined;
  }
}

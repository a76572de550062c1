/** The forms of P-256 values that leave a key store: compressed points and signatures with a low `s`. */
import { createPublicKey } from 'node:crypto';

/** Order of the base point (SEC 2 2.4.2). */
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

const SCALAR_LENGTH = 32;

/** @param signature 64 bytes `r || s`, changed in place: `s` becomes `n - s` when it is above n/2 */
export function lowS(signature: Uint8Array): Uint8Array {
  const s = scalarOf(signature.subarray(SCALAR_LENGTH));
  if (s > P256_ORDER / 2n) {
    signature.set(
      Buffer.from((P256_ORDER - s).toString(16).padStart(2 * SCALAR_LENGTH, '0'), 'hex'),
      SCALAR_LENGTH,
    );
  }
  return signature;
}

function scalarOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

const orderBytes = Buffer.from(P256_ORDER.toString(16), 'hex');

/** In [1, n-1], as a private key is (FIPS 186-5 A.2.2). Bytes are compared as they are: a secret never becomes a string. */
export function isP256Scalar(bytes: Uint8Array): boolean {
  return (
    bytes.length === SCALAR_LENGTH &&
    Buffer.compare(bytes, orderBytes) < 0 &&
    bytes.some((byte) => byte !== 0)
  );
}

/** @param point 65 bytes `04 || x || y` or 33 bytes  @returns 33 bytes; undefined when it is not on the curve */
export function compressedPoint(point: Uint8Array): Uint8Array | undefined {
  try {
    const key = createPublicKey({
      key: Buffer.from(point),
      format: 'raw-public',
      asymmetricKeyType: 'ec',
      namedCurve: 'P-256',
    });
    return new Uint8Array(key.export({ format: 'raw-public', type: 'compressed' }));
  } catch {
    return undefined;
  }
}

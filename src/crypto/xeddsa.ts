/**
 * XEdDSA (Signal, "The XEdDSA and VXEdDSA Signature Schemes", revision 1, section 2) over Curve25519: signs with an X25519
 * private key, so that whoever holds the public key can check who holds the other one. The signatures are those of
 * Ed25519 under the Edwards form of the public key with sign 0.
 *
 * Stricter than the specification where that admits two names of one key or a key that everybody holds: the public key is
 * canonical, of the prime-order subgroup and not of small order, `s` is below the order.
 */
import { createHash } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { concatBytes, equalBytes } from '#src/bytes';
import type { Secret } from '#src/secret';
import { expectLength } from './errors.ts';

const KEY_LENGTH = 32;
const SIGNATURE_LENGTH = 64;
/** Of fresh randomness per signature. */
export const XEDDSA_RANDOM_LENGTH = 64;

const { Point } = ed25519;
const { Fp, Fn } = Point;

/** hash_1: the little-endian 2^256 - 2, which begins no encoding of a point, before the input. */
const HASH_1 = new Uint8Array(KEY_LENGTH).fill(0xff);
HASH_1[0] = 0xfe;

/**
 * @param privateKey 32 bytes, clamped or not  @param random 64 fresh random bytes, which never sign another message
 * @returns 64 bytes  @throws CRYPTO_BAD_LENGTH
 */
export function signXEdDsa(
  privateKey: Secret,
  message: Uint8Array,
  random: Uint8Array,
): Uint8Array {
  expectLength('X25519 private key', privateKey.expose(), KEY_LENGTH);
  expectLength('XEdDSA randomness', random, XEDDSA_RANDOM_LENGTH);
  const key = clamped(privateKey.expose());
  const scalar = Fn.create(littleEndian(key));
  key.fill(0);
  const point = Point.BASE.multiply(scalar);
  const publicKey = point.toBytes();
  const isNegative = ((publicKey[KEY_LENGTH - 1] as number) & 0x80) !== 0;
  publicKey[KEY_LENGTH - 1] = (publicKey[KEY_LENGTH - 1] as number) & 0x7f;
  const a = isNegative ? Fn.neg(scalar) : scalar;
  const secret = bytesOf(a);
  const r = reduced(HASH_1, secret, message, random);
  secret.fill(0);
  const R = Point.BASE.multiply(r).toBytes();
  const h = reduced(R, publicKey, message);
  return concatBytes(R, bytesOf(Fn.add(r, Fn.mul(h, a))));
}

/**
 * False for anything that is not a signature by the holder of the key; never throws.
 * @param publicKey 32 bytes, X25519  @param signature 64 bytes; both attacker-controlled
 */
export function verifyXEdDsa(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== KEY_LENGTH || signature.length !== SIGNATURE_LENGTH) return false;
  const key = edwardsKey(publicKey);
  const s = littleEndian(signature.subarray(KEY_LENGTH));
  if (key === undefined || s >= Fn.ORDER) return false;
  const R = signature.subarray(0, KEY_LENGTH);
  const h = reduced(R, key.bytes, message);
  const expected = Point.BASE.multiplyUnsafe(s).subtract(key.point.multiplyUnsafe(h));
  return equalBytes(expected.toBytes(), R);
}

/** convert_mont: the point with y = (u - 1) / (u + 1) and sign 0. */
function edwardsKey(publicKey: Uint8Array) {
  const u = littleEndian(publicKey);
  if (u >= Fp.ORDER || u === Fp.ORDER - 1n) return undefined;
  const bytes = bytesOf(Fp.div(Fp.create(u - 1n), Fp.create(u + 1n)));
  try {
    const point = Point.fromBytes(bytes);
    return point.isSmallOrder() || !point.isTorsionFree() ? undefined : { point, bytes };
  } catch {
    // Half of all u are of the twist, not of the curve.
    return undefined;
  }
}

function clamped(privateKey: Uint8Array): Uint8Array {
  const key = Uint8Array.from(privateKey);
  key[0] = (key[0] as number) & 0xf8;
  key[KEY_LENGTH - 1] = ((key[KEY_LENGTH - 1] as number) & 0x7f) | 0x40;
  return key;
}

/** SHA-512, modulo the order. */
function reduced(...parts: readonly Uint8Array[]): bigint {
  const digest = createHash('sha512')
    .update(concatBytes(...parts))
    .digest();
  return Fn.create(littleEndian(digest));
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

/** 32 bytes, little-endian. */
function bytesOf(value: bigint): Uint8Array {
  return Uint8Array.from(
    Buffer.from(value.toString(16).padStart(2 * KEY_LENGTH, '0'), 'hex').reverse(),
  );
}

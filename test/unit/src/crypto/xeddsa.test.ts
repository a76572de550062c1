/** XEdDSA against OpenSSL's Ed25519 in both directions: the two schemes share their signatures. */
import assert from 'node:assert/strict';
import {
  createPrivateKey,
  createPublicKey,
  sign as opensslSign,
  verify as opensslVerify,
} from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { x25519PublicKey } from '#src/crypto/x25519';
import { signXEdDsa, verifyXEdDsa, XEDDSA_RANDOM_LENGTH } from '#src/crypto/xeddsa';
import { Secret } from '#src/secret';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const P = 2n ** 255n - 19n;

/** u to y = (u - 1) / (u + 1), by hand: Fermat's inverse. */
function edwardsY(publicKey: Uint8Array): Buffer {
  const u = BigInt(`0x${Buffer.from(publicKey).reverse().toString('hex')}`);
  let inverse = 1n;
  for (let e = P - 2n, base = (u + 1n) % P; e > 0n; e >>= 1n, base = (base * base) % P)
    if ((e & 1n) === 1n) inverse = (inverse * base) % P;
  const y = ((((u - 1n) * inverse) % P) + P) % P;
  return Buffer.from(y.toString(16).padStart(64, '0'), 'hex').reverse();
}

describe('XEdDSA', () => {
  it('makes signatures that OpenSSL verifies as Ed25519 under the Edwards form of the X25519 key', () => {
    fc.assert(
      fc.property(
        bytes(32),
        fc.uint8Array({ maxLength: 200 }),
        bytes(XEDDSA_RANDOM_LENGTH),
        (key, message, random) => {
          const publicKey = x25519PublicKey(key);
          const signature = signXEdDsa(new Secret(key), message, random);
          assert.ok(verifyXEdDsa(publicKey, message, signature));
          const edwards = createPublicKey({
            key: edwardsY(publicKey),
            format: 'raw-public',
            asymmetricKeyType: 'ed25519',
          });
          assert.ok(opensslVerify(null, message, edwards, signature));
        },
      ),
      { numRuns: 40 },
    );
  });

  it('verifies what OpenSSL has signed with Ed25519, where the key has sign 0', () => {
    let verified = 0;
    for (let n = 0; n < 24; n++) {
      const seed = Buffer.alloc(32, n + 1);
      const key = createPrivateKey({
        key: seed,
        format: 'raw-private',
        asymmetricKeyType: 'ed25519',
      });
      const edwards = createPublicKey(key).export({ format: 'raw-public' });
      const message = Buffer.from(`message ${n}`);
      const signature = opensslSign(null, message, key);
      const publicKey = ed25519.utils.toMontgomery(edwards);
      const isPositive = ((edwards[31] as number) & 0x80) === 0;
      assert.equal(verifyXEdDsa(publicKey, message, signature), isPositive);
      verified += isPositive ? 1 : 0;
    }
    assert.ok(verified > 4 && verified < 20);
  });

  it('refuses another message, key or signature, wherever a bit of it is changed', () => {
    const key = new Uint8Array(32).fill(7);
    const publicKey = x25519PublicKey(key);
    const message = Buffer.from('a tunnel key');
    const signature = signXEdDsa(new Secret(key), message, new Uint8Array(64).fill(9));
    assert.ok(verifyXEdDsa(publicKey, message, signature));
    const changed = (of: Uint8Array, bit: number) => {
      const copy = Uint8Array.from(of);
      copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
      return copy;
    };
    for (let bit = 0; bit < 8 * 64; bit += 5)
      assert.ok(!verifyXEdDsa(publicKey, message, changed(signature, bit)), `signature ${bit}`);
    for (const bit of [0, 1, 100, 254, 255])
      assert.ok(!verifyXEdDsa(changed(publicKey, bit), message, signature), `key ${bit}`);
    for (let bit = 0; bit < 8 * message.length; bit += 7)
      assert.ok(!verifyXEdDsa(publicKey, changed(message, bit), signature), `message ${bit}`);
  });

  it('refuses one key under two names and keys that everybody holds', () => {
    const key = new Uint8Array(32).fill(7);
    const publicKey = x25519PublicKey(key);
    const message = Buffer.from('a tunnel key');
    const signature = signXEdDsa(new Secret(key), message, new Uint8Array(64));
    const littleEndian = (value: bigint) =>
      Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
    // s + order is the same number to whoever does not look.
    const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`);
    const again = littleEndian(s + ed25519.Point.Fn.ORDER);
    assert.ok(!verifyXEdDsa(publicKey, message, Buffer.concat([signature.subarray(0, 32), again])));
    // Points of small order, and every length but the right one: R = B, s = 1 would do for all of them.
    const base = Buffer.from(ed25519.Point.BASE.toBytes());
    const forged = Buffer.concat([base, littleEndian(1n)]);
    for (const u of [0n, 1n, P - 1n, P, P + 1n])
      assert.ok(!verifyXEdDsa(littleEndian(u), message, forged), `u = ${u}`);
    assert.ok(!verifyXEdDsa(publicKey.subarray(1), message, signature));
    assert.ok(!verifyXEdDsa(publicKey, message, signature.subarray(1)));
    assert.throws(() => signXEdDsa(new Secret(key), message, new Uint8Array(63)), {
      code: 'CRYPTO_BAD_LENGTH',
    });
  });
});

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { hkdfExpand } from '#src/crypto/hash';
import { verifyP256 } from '#src/crypto/p256';
import { x25519KeyPair, x25519PublicKey, x25519SharedSecret } from '#src/crypto/x25519';
import { Secret } from '#src/secret';
import {
  wireguardPrivateKey,
  wireguardPublicKey,
  wireguardPublicKeyHex,
} from '#src/wireguard/static-key';

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('X25519', () => {
  it('both sides get the same secret', () => {
    fc.assert(
      fc.property(bytes32, bytes32, (a, b) => {
        const ours = x25519KeyPair(a);
        assert.ok(ours.privateKey.equals(new Secret(a)));
        assert.deepEqual(
          x25519SharedSecret(a, x25519PublicKey(b)),
          x25519SharedSecret(b, ours.publicKey),
        );
      }),
      { numRuns: 20 },
    );
  });

  it('refuses keys of another length', () => {
    const key = new Uint8Array(32).fill(9);
    assert.throws(() => x25519PublicKey(new Uint8Array(31)), { code: 'CRYPTO_BAD_LENGTH' });
    assert.throws(() => x25519SharedSecret(new Uint8Array(33), key), { code: 'CRYPTO_BAD_LENGTH' });
    assert.throws(() => x25519SharedSecret(key, new Uint8Array(31)), { code: 'CRYPTO_BAD_LENGTH' });
  });
});

describe('WireGuard keys', () => {
  it('clamps as RFC 7748 5 says, on a copy, and the public key is the same before and after', () => {
    fc.assert(
      fc.property(bytes32, (bytes) => {
        const raw = new Secret(bytes);
        const clamped = wireguardPrivateKey(raw).expose();
        assert.equal((clamped[0] as number) & 7, 0);
        assert.equal((clamped[31] as number) & 0xc0, 0x40);
        assert.ok(raw.equals(new Secret(bytes)));
        assert.deepEqual(wireguardPublicKey(new Secret(clamped)), wireguardPublicKey(raw));
      }),
      { numRuns: 20 },
    );
  });

  it('the public key in UAPI form', () => {
    // Alice's pair of RFC 7748 6.1.
    const privateKey = new Secret(
      Buffer.from('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a', 'hex'),
    );
    assert.equal(
      wireguardPublicKeyHex(privateKey),
      '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
    );
  });

  it('refuses another length', () => {
    assert.throws(() => wireguardPrivateKey(new Secret(new Uint8Array(31))), {
      code: 'CRYPTO_BAD_LENGTH',
    });
  });
});

describe('verifyP256', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const point = new Uint8Array(publicKey.export({ format: 'raw-public', type: 'compressed' }));
  const message = Buffer.from('message');
  const signature = new Uint8Array(
    sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }),
  );

  it('refuses any changed bit', () => {
    assert.equal(verifyP256(signature, message, point), true);
    for (let bit = 0; bit < 512; bit += 7) {
      const changed = signature.slice();
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.equal(verifyP256(changed, message, point), false);
    }
  });

  it('answers false to whatever is not a signature or a key', () => {
    assert.equal(verifyP256(new Uint8Array(64), message, point), false);
    assert.equal(verifyP256(signature.slice(1), message, point), false);
    assert.equal(verifyP256(signature, message, new Uint8Array(33)), false);
    assert.equal(verifyP256(signature, message, new Uint8Array(65)), false);
    // x = 5 has no point on the curve; the prefix 4 names no sign.
    assert.equal(verifyP256(signature, message, Uint8Array.of(2, ...new Uint8Array(31), 1)), false);
    assert.equal(verifyP256(signature, message, Uint8Array.of(4, ...point.subarray(1))), false);
  });
});

describe('hkdfExpand', () => {
  it('keeps the bounds of RFC 5869 2.3', () => {
    const prk = new Uint8Array(32).fill(1);
    assert.equal(hkdfExpand(prk, prk, 8160).length, 8160);
    for (const length of [0, -1, 1.5, 8161]) {
      assert.throws(() => hkdfExpand(prk, prk, length), { code: 'CRYPTO_BAD_LENGTH' });
    }
    assert.throws(() => hkdfExpand(new Uint8Array(31), prk, 32), { code: 'CRYPTO_BAD_LENGTH' });
  });

  it('a shorter output is the beginning of a longer one', () => {
    fc.assert(
      fc.property(bytes32, fc.integer({ min: 1, max: 200 }), (prk, length) => {
        assert.deepEqual(hkdfExpand(prk, prk, 200).slice(0, length), hkdfExpand(prk, prk, length));
      }),
    );
  });
});

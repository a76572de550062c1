/** Known answers from the specifications, for both suites: `fixtures/crypto/`. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { shake128 } from '@noble/hashes/sha3.js';
import { ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import { describe, it } from 'mocha';
import { blake3, hkdfExpand, hkdfExtract, hmacSha256, sha256 } from '#src/crypto/hash';
import { verifyP256 } from '#src/crypto/p256';
import { loadCryptoSuite } from '#src/crypto/suites';
import { x25519KeyPair, x25519PublicKey, x25519SharedSecret } from '#src/crypto/x25519';

const suites = [await loadCryptoSuite('fast'), await loadCryptoSuite('portable')];

const ed25519 = fixture<{
  vectors: {
    comment: string;
    seed: string;
    publicKey: string;
    message: string;
    signature: string;
  }[];
  smallOrderPublicKeys: string[];
}>('ed25519');

for (const suite of suites) {
  describe(`Ed25519, ${suite.name}`, () => {
    for (const { comment, seed, publicKey, message, signature } of ed25519.vectors) {
      it(`RFC 8032 ${comment}`, () => {
        assert.equal(hex(suite.ed25519.publicKey(bytes(seed))), publicKey);
        assert.equal(hex(suite.ed25519.sign(bytes(message), bytes(seed))), signature);
        assert.equal(
          suite.ed25519.verify(bytes(signature), bytes(message), bytes(publicKey)),
          true,
        );
      });
    }

    it('refuses keys of small order, for which anyone can sign', () => {
      // S = 0 and R = the neutral element satisfy S·B = R + k·A whenever k is a multiple of the order of A, so for
      // the first of these keys with every message and for the others with one in two, four or eight.
      const forged = bytes(`01${'00'.repeat(63)}`);
      for (const key of ed25519.smallOrderPublicKeys.map(bytes)) {
        for (let i = 0; i < 64; i++)
          assert.equal(suite.ed25519.verify(forged, Uint8Array.of(i), key), false);
      }
    });
  });

  describe(`ML-KEM-1024, ${suite.name}`, () => {
    it('accumulated FIPS 203 vectors', () => {
      const expected = fixture<{ tests: number; digest: string }>('ml-kem-1024');
      const input = shake128.create({});
      const output = shake128.create({});
      for (let i = 0; i < expected.tests; i++) {
        const seed = input.xof(64);
        const publicKey = suite.mlKem1024.publicKey(seed);
        // The suites draw m themselves, as they must; the library alone takes it as an argument.
        const { cipherText, sharedSecret } = ml_kem1024.encapsulate(publicKey, input.xof(32));
        assert.equal(hex(suite.mlKem1024.decapsulate(cipherText, seed)), hex(sharedSecret));
        output.update(publicKey).update(cipherText).update(sharedSecret);
        output.update(suite.mlKem1024.decapsulate(input.xof(1568), seed));
      }
      assert.equal(hex(output.xof(32)), expected.digest);
    });
  });
}

describe('hashes', () => {
  const {
    sha256: sha,
    hmacSha256: hmac,
    hkdf,
    blake3: blake,
  } = fixture<{
    sha256: { vectors: { message: string; digest: string }[] };
    hmacSha256: { vectors: { key: string; message: string; mac: string }[] };
    hkdf: {
      vectors: {
        ikm: string;
        salt: string;
        info: string;
        length: number;
        prk: string;
        okm: string;
      }[];
    };
    blake3: { vectors: { length: number; digest: string }[] };
  }>('hash');

  it('SHA-256', () => {
    for (const { message, digest } of sha.vectors)
      assert.equal(hex(sha256(bytes(message))), digest);
  });

  it('HMAC-SHA-256, RFC 4231', () => {
    for (const { key, message, mac } of hmac.vectors)
      assert.equal(hex(hmacSha256(bytes(key), bytes(message))), mac);
  });

  it('HKDF, RFC 5869', () => {
    for (const { ikm, salt, info, length, prk, okm } of hkdf.vectors) {
      assert.equal(hex(hkdfExtract(bytes(salt), bytes(ikm))), prk);
      assert.equal(hex(hkdfExpand(bytes(prk), bytes(info), length)), okm);
    }
  });

  it('BLAKE3', () => {
    for (const { length, digest } of blake.vectors) {
      assert.equal(hex(blake3(Uint8Array.from({ length }, (_, i) => i % 251))), digest);
    }
  });
});

describe('X25519', () => {
  const { vectors, keyPairs, smallOrder } = fixture<{
    vectors: { scalar: string; u: string; result: string }[];
    keyPairs: { privateKey: string; publicKey: string }[];
    smallOrder: string[];
  }>('x25519');

  it('RFC 7748 5.2 and 6.1', () => {
    for (const { scalar, u, result } of vectors) {
      assert.equal(hex(x25519SharedSecret(bytes(scalar), bytes(u))), result);
    }
    for (const { privateKey, publicKey } of keyPairs) {
      assert.equal(hex(x25519PublicKey(bytes(privateKey))), publicKey);
      assert.equal(hex(x25519KeyPair(bytes(privateKey)).publicKey), publicKey);
    }
  });

  it('RFC 7748 5.2, 1,000 iterations', () => {
    let scalar: Uint8Array = Uint8Array.of(9, ...new Uint8Array(31));
    let u = scalar;
    for (let i = 0; i < 1000; i++) [scalar, u] = [x25519SharedSecret(scalar, u), scalar];
    assert.equal(hex(scalar), '684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51');
  });

  it('refuses points of small order', () => {
    for (const u of smallOrder) {
      assert.throws(() => x25519SharedSecret(new Uint8Array(32).fill(7), bytes(u)), {
        code: 'CRYPTO_BAD_KEY',
      });
    }
  });
});

describe('ECDSA P-256', () => {
  const { publicKey, vectors } = fixture<{
    publicKey: string;
    vectors: { message: string; signature: string }[];
  }>('p256');

  it('RFC 6979 A.2.5', () => {
    for (const { message, signature } of vectors) {
      assert.equal(verifyP256(bytes(signature), bytes(message), bytes(publicKey)), true);
      assert.equal(verifyP256(bytes(signature), bytes(`${message}00`), bytes(publicKey)), false);
    }
  });
});

function fixture<T>(name: string): T {
  return JSON.parse(
    readFileSync(new URL(`../../fixtures/crypto/${name}.json`, import.meta.url), 'utf8'),
  ) as T;
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}

function hex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}

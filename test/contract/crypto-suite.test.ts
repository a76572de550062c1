/** What both suites promise, each alone and against the other. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';

const fast = await loadCryptoSuite('fast');
const portable = await loadCryptoSuite('portable');

const seed32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const seed64 = fc.uint8Array({ minLength: 64, maxLength: 64 });
const message = fc.uint8Array({ maxLength: 200 });

/** Order of the Ed25519 base point, little-endian (RFC 8032 5.1). */
const ORDER = (1n << 252n) + 27742317777372353535851937790883648493n;

function contract(suite: CryptoSuite, other: CryptoSuite): void {
  const { ed25519, mlKem1024 } = suite;

  describe(`${suite.name} suite`, () => {
    it('verifies what the other signs, and gives the same bytes', () => {
      fc.assert(
        fc.property(seed32, message, (seed, text) => {
          const publicKey = ed25519.publicKey(seed);
          assert.deepEqual(publicKey, other.ed25519.publicKey(seed));
          assert.deepEqual(ed25519.sign(text, seed), other.ed25519.sign(text, seed));
          assert.equal(ed25519.verify(other.ed25519.sign(text, seed), text, publicKey), true);
        }),
        { numRuns: 30 },
      );
    });

    it('refuses a signature, message or key that differs in one bit', () => {
      fc.assert(
        fc.property(seed32, fc.nat({ max: 8 * (64 + 20 + 32) - 1 }), (seed, bit) => {
          const text = new Uint8Array(20).fill(3);
          const all = Buffer.concat([ed25519.sign(text, seed), text, ed25519.publicKey(seed)]);
          all[bit >> 3] = (all[bit >> 3] as number) ^ (1 << (bit & 7));
          assert.equal(
            ed25519.verify(all.subarray(0, 64), all.subarray(64, 84), all.subarray(84)),
            false,
          );
        }),
        { numRuns: 100 },
      );
    });

    it('refuses the same signature with S + L: one message, one signature', () => {
      const seed = new Uint8Array(32).fill(1);
      const signature = ed25519.sign(seed, seed);
      const s =
        BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + ORDER;
      const malleated = Buffer.concat([
        signature.subarray(0, 32),
        Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse(),
      ]);
      assert.equal(ed25519.verify(malleated, seed, ed25519.publicKey(seed)), false);
    });

    it('answers false to signatures and keys of any other length, and to a y that is not below p', () => {
      const seed = new Uint8Array(32).fill(2);
      const signature = ed25519.sign(seed, seed);
      const publicKey = ed25519.publicKey(seed);
      for (const length of [0, 1, 63, 65, 128]) {
        assert.equal(ed25519.verify(new Uint8Array(length), seed, publicKey), false);
      }
      for (const length of [0, 31, 33])
        assert.equal(ed25519.verify(signature, seed, new Uint8Array(length)), false);
      assert.equal(ed25519.verify(signature, seed, new Uint8Array(32).fill(0xff)), false);
    });

    it('signs the empty message and leaves its arguments as they were', () => {
      const seed = new Uint8Array(32).fill(5);
      const empty = new Uint8Array(0);
      assert.equal(ed25519.verify(ed25519.sign(empty, seed), empty, ed25519.publicKey(seed)), true);
      assert.deepEqual(seed, new Uint8Array(32).fill(5));
    });

    it('works on a part of a larger buffer', () => {
      const large = new Uint8Array(200).map((_, i) => i);
      const part = large.subarray(50, 82);
      assert.deepEqual(ed25519.publicKey(part), ed25519.publicKey(part.slice()));
      assert.deepEqual(ed25519.sign(part, part), ed25519.sign(part.slice(), part.slice()));
      assert.deepEqual(
        mlKem1024.publicKey(large.subarray(7, 71)),
        mlKem1024.publicKey(large.slice(7, 71)),
      );
    });

    it('rejects a seed of another length', () => {
      for (const length of [0, 31, 33, 64]) {
        assert.throws(() => ed25519.publicKey(new Uint8Array(length)), {
          code: 'CRYPTO_BAD_LENGTH',
        });
        assert.throws(() => ed25519.sign(new Uint8Array(1), new Uint8Array(length)), {
          code: 'CRYPTO_BAD_LENGTH',
        });
      }
      for (const length of [0, 32, 63, 65]) {
        assert.throws(() => mlKem1024.publicKey(new Uint8Array(length)), {
          code: 'CRYPTO_BAD_LENGTH',
        });
        assert.throws(() => mlKem1024.decapsulate(new Uint8Array(1568), new Uint8Array(length)), {
          code: 'CRYPTO_BAD_LENGTH',
        });
      }
    });

    it('decapsulates what the other encapsulated', () => {
      fc.assert(
        fc.property(seed64, (seed) => {
          const publicKey = mlKem1024.publicKey(seed);
          assert.deepEqual(publicKey, other.mlKem1024.publicKey(seed));
          const { ciphertext, sharedSecret } = other.mlKem1024.encapsulate(publicKey);
          assert.equal(ciphertext.length, 1568);
          assert.equal(sharedSecret.length, 32);
          assert.deepEqual(mlKem1024.decapsulate(ciphertext, seed), sharedSecret);
        }),
        { numRuns: 15 },
      );
    });

    it('gives the implicit-rejection secret for a changed ciphertext', () => {
      const seed = new Uint8Array(64).fill(6);
      const { ciphertext, sharedSecret } = mlKem1024.encapsulate(mlKem1024.publicKey(seed));
      ciphertext[0] = (ciphertext[0] as number) ^ 1;
      const rejected = mlKem1024.decapsulate(ciphertext, seed);
      assert.notDeepEqual(rejected, sharedSecret);
      assert.deepEqual(rejected, other.mlKem1024.decapsulate(ciphertext, seed));
    });

    it('draws fresh randomness for each encapsulation', () => {
      const publicKey = mlKem1024.publicKey(new Uint8Array(64));
      assert.notDeepEqual(mlKem1024.encapsulate(publicKey), mlKem1024.encapsulate(publicKey));
    });

    it('refuses an encapsulation key of another length or with a coefficient not below q (FIPS 203 7.2)', () => {
      const publicKey = mlKem1024.publicKey(new Uint8Array(64));
      for (const length of [0, 1184, 1567, 1569]) {
        assert.throws(() => mlKem1024.encapsulate(new Uint8Array(length)), {
          code: 'CRYPTO_BAD_KEY',
        });
      }
      // The first 12-bit coefficient becomes q = 3329 = 0xd01; 3328 is the largest that is allowed.
      publicKey[1] = (publicKey[1] as number) & 0xf0;
      publicKey.set([0x00, (publicKey[1] as number) | 0x0d]);
      mlKem1024.encapsulate(publicKey);
      publicKey[0] = 0x01;
      assert.throws(() => mlKem1024.encapsulate(publicKey), { code: 'CRYPTO_BAD_KEY' });
    });

    it('refuses a ciphertext of another length', () => {
      for (const length of [0, 1088, 1567, 1569]) {
        assert.throws(() => mlKem1024.decapsulate(new Uint8Array(length), new Uint8Array(64)), {
          code: 'CRYPTO_BAD_LENGTH',
        });
      }
    });
  });
}

contract(fast, portable);
contract(portable, fast);

describe('loadCryptoSuite', () => {
  it('gives the suite that is named, and the fast one by itself', async () => {
    assert.equal(portable.name, 'portable');
    assert.equal(fast.name, 'fast');
    assert.equal((await loadCryptoSuite()).name, 'fast');
  });
});

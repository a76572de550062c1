import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'mocha';
import { maskOfFullWeight, randomError, syndromeOf } from '#src/rosenpass/mceliece/encode';
import { makeKeyPair } from '#src/rosenpass/mceliece/key-pair';
import { McEliece460896 } from '#src/rosenpass/mceliece/mceliece';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { rosenpassKeys } from '../../../../support/kit/rosenpass-pair.ts';

const [{ secretKey, publicKey }, other] = rosenpassKeys();
const rng = new SeededRng('mceliece');
const kem = new McEliece460896(secretKey, () => publicKey, rng);

describe('Classic McEliece 460896 of the older generation', () => {
  it('opens what it seals, and seals it another time each time', () => {
    const made = Array.from({ length: 20 }, () => kem.encapsulate(publicKey));
    for (const { ciphertext, sharedSecret } of made) {
      assert.equal(ciphertext.length, 188);
      assert.deepEqual(kem.decapsulate(ciphertext), sharedSecret);
    }
    assert.equal(new Set(made.map(({ sharedSecret }) => sharedSecret.toHex())).size, made.length);
  });

  it('answers a ciphertext that is none with a secret of its own, the same each time', () => {
    const { ciphertext, sharedSecret } = kem.encapsulate(publicKey);
    // In the syndrome, at its end, in the confirmation, and at the end of that.
    for (const at of [0, 77, 155, 156, 187]) {
      const changed = ciphertext.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      const secret = kem.decapsulate(changed);
      assert.equal(secret.length, 32);
      assert.notDeepEqual(secret, sharedSecret);
      assert.deepEqual(kem.decapsulate(changed), secret);
    }
    for (const nothing of [new Uint8Array(188), new Uint8Array(188).fill(255)])
      assert.equal(kem.decapsulate(nothing).length, 32);
  });

  it('does not open what is for another key', () => {
    const { ciphertext, sharedSecret } = kem.encapsulate(other.publicKey);
    assert.notDeepEqual(kem.decapsulate(ciphertext), sharedSecret);
  });

  it('draws vectors of weight 96 with all positions in use', () => {
    const seen = new Uint8Array(576);
    for (let i = 0; i < 500; i++) {
      const error = randomError(rng);
      assert.equal(maskOfFullWeight(error), -1);
      for (const [at, byte] of error.entries()) seen[at] = (seen[at] ?? 0) | byte;
    }
    // A position stays out 500 times with a chance of 3 in 100,000.
    const unset = seen.reduce(
      (sum, byte) => sum + (8 - byte.toString(2).replaceAll('0', '').length),
      0,
    );
    assert.ok(unset < 20, `${unset} positions were never set`);
  });

  it('has the weight of nothing but 96 set bits', () => {
    const error = randomError(rng);
    const at = error.findIndex((byte) => byte !== 0xff);
    error[at] = (error[at] ?? 0) | (~(error[at] ?? 0) & -~(error[at] ?? 0));
    assert.equal(maskOfFullWeight(error), 0);
    assert.equal(maskOfFullWeight(new Uint8Array(576)), 0);
  });

  it('computes the syndrome of a key that is not aligned in memory', () => {
    const shifted = new Uint8Array(publicKey.length + 1);
    shifted.set(publicKey, 1);
    const error = randomError(rng);
    assert.deepEqual(syndromeOf(shifted.subarray(1), error), syndromeOf(publicKey, error));
  });

  it('takes no key of another length', () => {
    assert.throws(() => kem.encapsulate(publicKey.subarray(1)), { code: 'ROSENPASS_BAD_KEY' });
    assert.throws(() => new McEliece460896(secretKey.subarray(1), () => publicKey, rng), {
      code: 'ROSENPASS_BAD_KEY',
    });
    assert.throws(() => kem.decapsulate(new Uint8Array(156)), RangeError);
  });

  it('has keys of liboqs, in the order of the older generation', async () => {
    using pair = await makeKeyPair({ bytes: (length) => new Uint8Array(randomBytes(length)) });
    assert.equal(pair.publicKey.length, 524_160);
    assert.equal(pair.secretKey.length, 13_568);
    using made = new McEliece460896(pair.secretKey.expose(), () => pair.publicKey, rng);
    const { ciphertext, sharedSecret } = kem.encapsulate(pair.publicKey);
    assert.deepEqual(made.decapsulate(ciphertext), sharedSecret);
  });
});

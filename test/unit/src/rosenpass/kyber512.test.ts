import assert from 'node:assert/strict';
import { ml_kem512 } from '@noble/post-quantum/ml-kem.js';
import { describe, it } from 'mocha';
import { kyber512, kyberSecret } from '#src/rosenpass/kyber512';

describe('Kyber512 from ML-KEM-512', () => {
  it('opens what it seals', () => {
    using key = kyber512.generate();
    assert.equal(key.publicKey.length, 800);
    const { ciphertext, sharedSecret } = kyber512.encapsulate(key.publicKey) ?? assert.fail();
    assert.equal(ciphertext.length, 768);
    assert.deepEqual(key.decapsulate(ciphertext), sharedSecret);
  });

  it('is the same with another ML-KEM at either end', () => {
    using key = kyber512.generate();
    const { cipherText, sharedSecret } = ml_kem512.encapsulate(key.publicKey);
    assert.deepEqual(key.decapsulate(cipherText), kyberSecret(sharedSecret, cipherText));
    const theirs = ml_kem512.keygen();
    const made = kyber512.encapsulate(theirs.publicKey) ?? assert.fail();
    const opened = ml_kem512.decapsulate(made.ciphertext, theirs.secretKey);
    assert.deepEqual(kyberSecret(opened, made.ciphertext), made.sharedSecret);
  });

  it('refuses bytes that are no key', () => {
    assert.equal(kyber512.encapsulate(new Uint8Array(800).fill(0xff)), undefined);
    assert.equal(kyber512.encapsulate(new Uint8Array(799)), undefined);
  });

  it('decapsulates nothing after it was given up', () => {
    const key = kyber512.generate();
    const { ciphertext } = kyber512.encapsulate(key.publicKey) ?? assert.fail();
    key[Symbol.dispose]();
    assert.throws(() => key.decapsulate(ciphertext), TypeError);
  });
});

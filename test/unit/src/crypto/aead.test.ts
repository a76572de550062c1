import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import sodium from 'sodium-native';
import { open, SEAL_OVERHEAD, seal } from '#src/crypto/aead';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';

const rng: Rng = { bytes: (length) => new Uint8Array(randomBytes(length)) };
const key = new Secret(new Uint8Array(32).fill(7));
const place = Buffer.from('place');

describe('seal and open', () => {
  it('round trip, with the stated overhead', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.uint8Array({ maxLength: 40 }),
        (plaintext, data) => {
          const sealed = seal(key, plaintext, data, rng);
          assert.equal(sealed.length, plaintext.length + SEAL_OVERHEAD);
          assert.deepEqual(open(key, sealed, data), plaintext);
        },
      ),
    );
  });

  it('is XChaCha20-Poly1305 with the version byte before the associated data', () => {
    const sealed = Buffer.from(seal(key, Buffer.from('content'), place, rng));
    const plaintext = Buffer.alloc(7);
    sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
      plaintext,
      null,
      sealed.subarray(25),
      Buffer.concat([Buffer.of(1), place]),
      sealed.subarray(1, 25),
      Buffer.from(key.expose()),
    );
    assert.equal(plaintext.toString(), 'content');
  });

  it('refuses a change in any byte, a cut, another place and another key', () => {
    const sealed = seal(key, Buffer.from('content'), place, rng);
    for (let i = 0; i < sealed.length; i++) {
      const changed = sealed.slice();
      changed[i] = (changed[i] as number) ^ 0x80;
      assert.throws(() => open(key, changed, place), { code: 'CRYPTO_UNSEAL_FAILED' });
      assert.throws(() => open(key, sealed.slice(0, i), place), { code: 'CRYPTO_UNSEAL_FAILED' });
    }
    assert.throws(() => open(key, sealed, Buffer.from('elsewhere')), {
      code: 'CRYPTO_UNSEAL_FAILED',
    });
    assert.throws(() => open(new Secret(new Uint8Array(32)), sealed, place), {
      code: 'CRYPTO_UNSEAL_FAILED',
    });
  });

  it('takes the nonce from the given source, and a new one each time', () => {
    let drawn = 0;
    const counting: Rng = { bytes: (length) => new Uint8Array(length).fill(++drawn) };
    const first = seal(key, place, place, counting);
    const second = seal(key, place, place, counting);
    assert.deepEqual(first.slice(1, 25), new Uint8Array(24).fill(1));
    assert.deepEqual(second.slice(1, 25), new Uint8Array(24).fill(2));
    assert.notDeepEqual(first.slice(25), second.slice(25));
  });

  it('refuses a key of another length', () => {
    const short = new Secret(new Uint8Array(31));
    assert.throws(() => seal(short, place, place, rng), { code: 'CRYPTO_BAD_LENGTH' });
    assert.throws(() => open(short, seal(key, place, place, rng), place), {
      code: 'CRYPTO_BAD_LENGTH',
    });
  });
});

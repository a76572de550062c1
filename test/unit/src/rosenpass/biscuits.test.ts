import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { BiscuitKeys } from '#src/rosenpass/biscuits';
import { SeededRng } from '../../../support/doubles/seeded-rng.ts';

const [peerId, chainingKey, binding] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
];
const keys = () => new BiscuitKeys(new SeededRng('biscuits'));

describe('biscuits', () => {
  it('open to what was sealed, with numbers that rise from 1', () => {
    const biscuits = keys();
    for (const number of [1n, 2n, 3n]) {
      const biscuit = biscuits.seal(peerId, chainingKey, binding, 0);
      assert.equal(biscuit.length, 116);
      assert.deepEqual(biscuits.open(biscuit, binding, 0), { peerId, number, chainingKey });
    }
  });

  it('open for nothing else, and not when a bit is changed', () => {
    const biscuits = keys();
    const biscuit = biscuits.seal(peerId, chainingKey, binding, 0);
    assert.equal(biscuits.open(biscuit, peerId, 0), undefined);
    for (let at = 0; at < biscuit.length; at++) {
      const changed = biscuit.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << (at & 7));
      assert.equal(biscuits.open(changed, binding, 0), undefined, `byte ${at}`);
    }
    assert.equal(keys().open(biscuit, binding, 0), undefined, 'before the key was used');
  });

  it('open for ten minutes from when their key was young, and never after', () => {
    const biscuits = keys();
    const first = biscuits.seal(peerId, chainingKey, binding, 0);
    const second = biscuits.seal(peerId, chainingKey, binding, 300_000);
    // The top bit of the nonce says which of the two keys it is.
    assert.notEqual((first[0] ?? 0) & 0x80, (second[0] ?? 0) & 0x80);
    assert.equal(biscuits.open(first, binding, 599_999)?.number, 1n);
    assert.equal(biscuits.open(first, binding, 600_000), undefined);
    assert.equal(biscuits.open(second, binding, 600_000)?.number, 2n);
    assert.equal(biscuits.expiresAt, 900_000);
    biscuits.expire(900_000);
    assert.equal(biscuits.open(second, binding, 0), undefined, 'also where time stood still');
    assert.equal(biscuits.expiresAt, undefined);
  });

  it('are sealed with the young key alone', () => {
    const biscuits = keys();
    const index = (now: number) =>
      (biscuits.seal(peerId, chainingKey, binding, now)[0] ?? 0) & 0x80;
    // The first key that is used after a start is the second one.
    const found = [0, 299_999, 300_000, 599_999, 600_000, 2_000_000].map(index);
    assert.deepEqual(found, [0x80, 0x80, 0, 0, 0x80, 0]);
  });
});

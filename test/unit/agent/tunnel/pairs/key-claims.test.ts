import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { holderOf, type KeyClaim, type Possession, turnAt } from '#agent/tunnel/pairs/key-claims';
import type { Aid } from '#kel/identifiers';

const claim = (aid: string, possession: Possession, hasHandshake = false): KeyClaim => ({
  aid: aid as Aid,
  possession,
  hasHandshake,
});

const claims = fc.uniqueArray(
  fc.record({
    aid: fc.string({ minLength: 1, maxLength: 3 }).map((text) => text as Aid),
    possession: fc.constantFrom<Possession>('proven', 'refuted', 'unproven'),
    hasHandshake: fc.boolean(),
  }),
  { selector: ({ aid }) => aid, minLength: 1, maxLength: 5 },
);

describe('a key that several members name', () => {
  it('is of the one that the table says', () => {
    const [a, b] = ['amy', 'zoe'];
    const table: readonly [readonly KeyClaim[], number, string | undefined][] = [
      [[claim(a, 'unproven'), claim(b, 'unproven')], 0, a],
      [[claim(a, 'unproven'), claim(b, 'unproven')], 1, b],
      [[claim(a, 'unproven'), claim(b, 'unproven', true)], 0, b],
      [[claim(a, 'unproven', true), claim(b, 'proven')], 0, b],
      [[claim(a, 'refuted', true), claim(b, 'unproven')], 0, b],
      [[claim(a, 'refuted'), claim(b, 'refuted')], 0, undefined],
      [[claim(a, 'proven'), claim(b, 'proven', true)], 0, b],
      [[claim(a, 'proven'), claim(b, 'proven')], 1, b],
    ];
    for (const [of, turn, expected] of table) {
      assert.equal(holderOf(of, turn), expected);
      assert.equal(holderOf(of.toReversed(), turn), expected);
    }
  });

  it('is never of one whose proof is wrong, of one without a proof only where nobody has one, and of each that stands in its turn', () => {
    fc.assert(
      fc.property(claims, fc.nat(1_000), (all, turn) => {
        const holder = all.find(({ aid }) => aid === holderOf(all, turn));
        const standing = all.filter(({ possession }) => possession !== 'refuted');
        assert.equal(holder === undefined, standing.length === 0);
        if (holder === undefined) return;
        assert.notEqual(holder.possession, 'refuted');
        if (standing.some(({ possession }) => possession === 'proven'))
          assert.equal(holder.possession, 'proven');
        const equals = standing.filter(({ possession }) => possession === holder.possession);
        if (equals.some(({ hasHandshake }) => hasHandshake)) {
          assert.ok(holder.hasHandshake);
          return;
        }
        const inTurn = equals.map((_, n) => holderOf(all, turn + n));
        assert.deepEqual(new Set(inTurn), new Set(equals.map(({ aid }) => aid)));
      }),
    );
  });

  it('takes turns that are longer than an attempt at a handshake', () => {
    assert.equal(turnAt(0), 0);
    assert.equal(turnAt(29_999), 0);
    assert.equal(turnAt(30_000), 1);
  });
});

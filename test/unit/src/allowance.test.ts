import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { PeerKey } from '#agent/network/network';
import { Allowance } from '#src/allowance';

const ALICE = 'alice' as PeerKey;
const BOB = 'bob' as PeerKey;

describe('the allowance of a peer', () => {
  function at(options: { burst: number; perSecond: number; maxPeers?: number }) {
    const clock = { ms: 0, monotonic: () => clock.ms };
    return { clock, allowance: new Allowance(clock, options) };
  }

  it('gives the burst at once, then the rate, to each peer its own', () => {
    const { clock, allowance } = at({ burst: 3, perSecond: 2 });
    const taken = () => [1, 2, 3, 4, 5, 6].filter(() => allowance.take(ALICE)).length;
    assert.equal(taken(), 3);
    assert.equal(allowance.take(BOB), true);
    clock.ms += 1_000;
    assert.equal(taken(), 2);
    clock.ms += 3_600_000;
    assert.equal(taken(), 3);
    assert.equal(allowance.refused, 10);
  });

  it('takes nothing for what it refuses, and a charge becomes a debt of at most a burst', () => {
    const { clock, allowance } = at({ burst: 10, perSecond: 1 });
    assert.equal(allowance.take(ALICE, 11), false);
    assert.equal(allowance.take(ALICE, 10), true);
    allowance.charge(ALICE, 1_000_000);
    clock.ms += 10_000;
    assert.equal(allowance.take(ALICE), false);
    clock.ms += 1_000;
    assert.equal(allowance.take(ALICE), true);
  });

  it('fills nothing when the clock steps back', () => {
    const { clock, allowance } = at({ burst: 2, perSecond: 1 });
    clock.ms = 7_200_000;
    assert.equal(allowance.take(ALICE, 2), true);
    clock.ms -= 3_600_000;
    assert.equal(allowance.take(ALICE), false);
    clock.ms += 1_000;
    assert.equal(allowance.take(ALICE), true);
  });

  it('forgets who used least, never a peer in debt for a crowd of new keys, and stays within its bound', () => {
    const { allowance } = at({ burst: 4, perSecond: 1, maxPeers: 8 });
    assert.equal(allowance.take(ALICE, 4), true);
    allowance.charge(ALICE, 4);
    for (let n = 0; n < 1_000; n++) {
      assert.equal(allowance.take(`new ${n}` as PeerKey), true);
      assert.ok(allowance.size <= 8, `${allowance.size} peers are remembered`);
    }
    assert.equal(allowance.take(ALICE), false);
  });
});

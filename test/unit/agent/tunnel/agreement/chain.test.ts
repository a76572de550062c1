import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { epochAt, epochStart } from '#agent/mesh/membership/epoch';
import { chainAt, MAX_EPOCH_STEPS, presharedKey, startChain } from '#agent/tunnel/agreement/chain';
import { Secret } from '#src/secret';

const hex = (secret: Secret) => Buffer.from(secret.expose()).toString('hex');
const freshChain = () => startChain(new Secret(new Uint8Array(32).fill(9)));

describe('epochs', () => {
  it('change at wall-clock boundaries, to the millisecond', () => {
    for (const seconds of [120, 3600, 86_400]) {
      const epoch = epochAt(1_760_000_000_000, seconds);
      const start = epochStart(epoch, seconds);
      assert.equal(start % (seconds * 1000), 0);
      assert.equal(epochAt(start, seconds), epoch);
      assert.equal(epochAt(start - 1, seconds), epoch - 1);
      assert.equal(epochAt(start + seconds * 1000 - 1, seconds), epoch);
      assert.equal(epochAt(start + seconds * 1000, seconds), epoch + 1);
    }
  });

  it('are the same on two ends except within their clock skew of a boundary', () => {
    const start = epochStart(490_000, 3600);
    const skew = 57_000;
    assert.equal(epochAt(start + skew, 3600), epochAt(start + 2 * skew, 3600));
    assert.equal(epochAt(start - 1 + skew, 3600), epochAt(start - 1, 3600) + 1);
  });

  it('are never negative', () => {
    assert.equal(epochAt(-1, 3600), 0);
  });
});

describe('chain of epoch keys', () => {
  it('reaches the same key step by step and at once', () => {
    let stepped = { epoch: 10, chain: freshChain() };
    for (let epoch = 10; epoch <= 15; epoch++) stepped = chainAt(stepped, epoch);
    const jumped = chainAt({ epoch: 10, chain: freshChain() }, 15);
    assert.equal(hex(jumped.chain), hex(stepped.chain));
    assert.equal(jumped.epoch, 15);
  });

  it('gives another preshared key in each epoch, none equal to a chain key', () => {
    const seen = new Set<string>();
    let position = { epoch: 0, chain: freshChain() };
    for (let epoch = 0; epoch < 20; epoch++) {
      position = chainAt(position, epoch);
      seen.add(hex(position.chain)).add(hex(presharedKey(position.chain)));
    }
    assert.equal(seen.size, 40);
  });

  it('erases the keys that it leaves behind and keeps the one it returns', () => {
    const chain = freshChain();
    assert.equal(chainAt({ epoch: 3, chain }, 3).chain, chain);
    assert.ok(chain.expose().some((byte) => byte !== 0));
    chainAt({ epoch: 3, chain }, 4);
    assert.ok(chain.expose().every((byte) => byte === 0));
  });

  it('refuses the past and a leap into the far future, and stays where it is', () => {
    const chain = freshChain();
    const before = hex(chain);
    const position = { epoch: 100, chain };
    assert.throws(() => chainAt(position, 99), { code: 'AGREEMENT_EPOCH_PAST' });
    assert.throws(() => chainAt(position, 100.5), { code: 'AGREEMENT_EPOCH_PAST' });
    assert.throws(() => chainAt(position, 101 + MAX_EPOCH_STEPS), { code: 'AGREEMENT_EPOCH_FAR' });
    assert.equal(hex(chain), before);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { PeerClocks } from '#agent/mesh/sync/peer-clocks';
import type { Aid } from '#kel/identifiers';

const [A, B] = ['EA', 'EB'] as Aid[] as [Aid, Aid];

describe('clocks of members', () => {
  let elapsed = 0;
  const clocks = () => new PeerClocks({ monotonic: () => elapsed });

  it('go on as they were last heard, whatever the own clock shows', () => {
    const heard = clocks();
    assert.equal(heard.skewOf(A, 5_000), undefined);
    heard.heard(A, 12_000, () => true);
    assert.equal(heard.skewOf(A, 10_000), 2_000);
    elapsed += 500;
    assert.equal(heard.skewOf(A, 10_500), 2_000);
    assert.equal(heard.skewOf(A, 20_500), -8_000);
  });

  it('confirm no step when they were not heard of late, and are forgotten with the member', () => {
    const heard = clocks();
    heard.heard(A, 12_000, () => true);
    elapsed += 600_001;
    assert.deepEqual(heard.recent(), []);
    heard.heard(B, 700_000, (aid) => aid === B);
    assert.deepEqual(heard.recent(), [700_000 - elapsed]);
    assert.equal(heard.skewOf(A, 0), undefined);
  });
});

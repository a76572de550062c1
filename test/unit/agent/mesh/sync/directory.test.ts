import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { type Knock, Knocks, MAX_KNOCKS } from '#agent/mesh/sync/knocks';
import { PeerDirectory } from '#agent/mesh/sync/peer-directory';
import type { PeerKey } from '#agent/network/network';
import type { Aid } from '#kel/identifiers';

const peer = (n: number) => `peer${n}` as PeerKey;
const aid = (n: number) => `aid${n}` as Aid;

describe('peer directory', () => {
  it('binds one peer to one AID, both ways, whatever happens', () => {
    const action = fc.record({ bind: fc.boolean(), peer: fc.nat(4), aid: fc.nat(4) });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 30 }), (actions) => {
        const directory = new PeerDirectory();
        for (const { bind, peer: p, aid: a } of actions) {
          if (bind) {
            directory.bind(peer(p), aid(a));
            assert.equal(directory.aidOf(peer(p)), aid(a));
            assert.equal(directory.peerOf(aid(a)), peer(p));
          } else {
            directory.unbind(peer(p));
            assert.equal(directory.aidOf(peer(p)), undefined);
          }
          for (let n = 0; n < 5; n++) {
            const bound = directory.aidOf(peer(n));
            if (bound !== undefined) assert.equal(directory.peerOf(bound), peer(n));
            const spoken = directory.peerOf(aid(n));
            if (spoken !== undefined) assert.equal(directory.aidOf(spoken), aid(n));
          }
          assert.equal(directory.bound().length, new Set(directory.bound()).size);
        }
      }),
    );
  });
});

describe('knocks', () => {
  const knock = (n: number, at = n): Knock => ({
    aid: aid(n),
    peer: peer(n),
    addresses: [],
    log: new Uint8Array(0),
    endpoints: new Uint8Array(0),
    at,
  });

  it('keep the newest strangers, one entry each, and count whom they drop', () => {
    const knocks = new Knocks();
    for (let n = 0; n < MAX_KNOCKS; n++) knocks.add(knock(n));
    knocks.add(knock(0, 1_000));
    assert.equal(knocks.list().length, MAX_KNOCKS);
    assert.equal(knocks.dropped, 0);
    knocks.add(knock(MAX_KNOCKS));
    assert.equal(knocks.list().length, MAX_KNOCKS);
    assert.equal(knocks.dropped, 1);
    assert.equal(knocks.get(aid(1)), undefined, 'the oldest went');
    assert.equal(knocks.get(aid(0))?.at, 1_000, 'who came again is not the oldest');
    for (let n = 0; n < 10_000; n++) knocks.add(knock(1_000 + n));
    assert.equal(knocks.list().length, MAX_KNOCKS);
    assert.equal(knocks.dropped, 10_001);
    knocks.delete(aid(10_999));
    assert.equal(knocks.get(aid(10_999)), undefined);
  });

  it('give each peer one place, however many AIDs it makes up', () => {
    const knocks = new Knocks();
    knocks.add(knock(0));
    for (let n = 1; n < 10 * MAX_KNOCKS; n++) knocks.add({ ...knock(n), peer: peer(1) });
    assert.deepEqual(
      knocks.list().map((entry) => entry.aid),
      [aid(0), aid(10 * MAX_KNOCKS - 1)],
    );
    assert.equal(knocks.dropped, 0);
  });
});

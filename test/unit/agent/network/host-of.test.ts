import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { hostOf, isRelayed, relayIn, sourceIn } from '#agent/network/host-of';
import type { PeerAddress } from '#agent/network/network';

const direct = '/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWA' as PeerAddress;
const relayed = `${direct}/p2p-circuit/p2p/12D3KooWB` as PeerAddress;

describe('the host in an address', () => {
  it('is an IP address in one spelling', () => {
    assert.equal(hostOf(direct), '192.0.2.1');
    assert.equal(hostOf('/ip6/::ffff:192.0.2.1/tcp/1' as PeerAddress), '192.0.2.1');
    assert.equal(hostOf('/dns4/a.example/tcp/1' as PeerAddress), undefined);
  });

  it('is not that of a relay: who comes through it is somewhere else', () => {
    assert.equal(hostOf(relayed), undefined);
    assert.deepEqual([isRelayed(direct), isRelayed(relayed)], [false, true]);
    assert.deepEqual([relayIn(direct), relayIn(relayed)], [undefined, '12D3KooWA']);
  });

  it('is what shares places at the door; all that come through one relay share those of one', () => {
    assert.equal(sourceIn(direct), '192.0.2.1');
    assert.equal(sourceIn(relayed), 'through 12D3KooWA');
    assert.equal(sourceIn('/p2p-circuit/p2p/x' as PeerAddress), 'through a relay');
  });
});

import assert from 'node:assert/strict';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { describe, it } from 'mocha';
import type { PeerAddress } from '#agent/network/network';
import { peerKeyOf, peerOf } from '#agent/network/peer-key';
import { Secret } from '#src/secret';
import { SeededRng } from '../../../support/doubles/seeded-rng.ts';

describe('peer keys', () => {
  it('are the peer ids that libp2p gives to the same seeds', async () => {
    const rng = new SeededRng('peer keys');
    for (let i = 0; i < 20; i++) {
      const seed = rng.bytes(32);
      const expected = peerIdFromPrivateKey(await generateKeyPairFromSeed('Ed25519', seed));
      assert.equal(peerKeyOf(new Secret(seed)), expected.toString());
    }
  });

  it('need a seed of 32 bytes', () => {
    for (const length of [0, 31, 33, 64]) {
      const seed = new Secret(new Uint8Array(length));
      assert.throws(() => peerKeyOf(seed), {
        code: 'NETWORK_BAD_KEY',
        message: new RegExp(`got ${length}$`),
      });
    }
  });

  it('are read from the end of an address', () => {
    assert.equal(peerOf('/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWA' as PeerAddress), '12D3KooWA');
    assert.equal(
      peerOf('/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWA/p2p-circuit' as PeerAddress),
      undefined,
    );
    assert.equal(peerOf('/ip4/192.0.2.1/tcp/7400' as PeerAddress), undefined);
  });
});

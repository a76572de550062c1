import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { overlayAddress } from '#agent/mesh/membership/overlay-address';
import { reachableAddresses } from '#agent/mesh/membership/reachable';
import { canonicalHost, hostOf } from '#agent/network/host-of';
import { type PeerAddress, parsePeerAddress } from '#agent/network/network';
import type { Aid, Said } from '#kel/identifiers';

describe('peer address', () => {
  it('has the shape of a multiaddr', () => {
    for (const text of [
      '/ip4/192.0.2.1/tcp/7400',
      '/ip6/2001:db8::1/tcp/7400/p2p/12D3KooWQnMR7GKLyfzTwt5cvVEjSAJ83bLZ8HxL2okNz7FLpsCS',
      '/dns4/mesh.example/tcp/7400',
    ])
      assert.equal(parsePeerAddress(text), text);
  });

  it('is refused when a part is empty, holds white space, or the whole is too long', () => {
    for (const text of [
      '',
      'ip4',
      '/',
      '//',
      '/ip4/',
      '/ip4//tcp',
      '/ip4/a b',
      '/!/x',
      `/ip4/${'1'.repeat(512)}`,
    ])
      assert.equal(parsePeerAddress(text), undefined, text);
  });

  it('is read in one pass, whatever a stranger writes', () => {
    const hostile = `${'/a'.repeat(250)}/!/!`;
    assert.equal(parsePeerAddress(hostile), hostile);
    assert.equal(parsePeerAddress(`${'/a'.repeat(250)}/ `), undefined);
  });
});

describe('addresses told to others', () => {
  const mesh = `E${'m'.repeat(43)}` as Said;
  const own = overlayAddress(mesh, `E${'a'.repeat(43)}` as Aid);
  const tell = (...addresses: readonly string[]) =>
    reachableAddresses(addresses as readonly PeerAddress[], mesh);

  it('are never inside the mesh: control does not run through the tunnel that it controls', () => {
    const outside = '/ip6/2001:db8::1/tcp/7400/p2p/x';
    assert.deepEqual(tell(`/ip6/${own}/tcp/7400/p2p/x`, outside), [outside]);
    assert.deepEqual(tell(`/ip6/${own}/tcp/7400/p2p/x`), []);
  });

  it('are judged by their bytes, in whatever spelling: loopback and the mesh are known in each', () => {
    const outside = '/ip6/2001:db8::1/tcp/7400/p2p/x';
    for (const loopback of ['0:0:0:0:0:0:0:1', '::0001', '::ffff:127.0.0.1', '::ffff:7f00:1'])
      assert.deepEqual(tell(`/ip6/${loopback}/tcp/7400/p2p/x`, outside), [outside], loopback);
    assert.deepEqual(tell(`/ip6/${own.toUpperCase()}/tcp/7400/p2p/x`, outside), [outside]);
  });

  it('give hosts in one spelling, however they are written', () => {
    const hosts = {
      '/ip6/FD00:1:0:0:0:0:0:1/tcp/1/': 'fd00:1::1',
      '/ip6/fd00:1::10.1.2.3/tcp/1/': 'fd00:1::a01:203',
      '/ip6/::ffff:192.0.2.1/tcp/1/': '192.0.2.1',
      '/ip4/192.0.2.1/tcp/1/': '192.0.2.1',
    };
    for (const [address, host] of Object.entries(hosts))
      assert.equal(hostOf(address as PeerAddress), host);
    assert.equal(canonicalHost('mesh.example'), 'mesh.example');
  });

  it('are of loopback only when there is nothing else', () => {
    const loopback = '/ip4/127.0.0.1/tcp/7400/p2p/x';
    assert.deepEqual(tell(loopback), [loopback]);
    assert.deepEqual(tell(loopback, '/ip4/192.0.2.1/tcp/7400/p2p/x'), [
      '/ip4/192.0.2.1/tcp/7400/p2p/x',
    ]);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parsePeerAddress } from '#agent/network/network';

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

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { lengthsBelow, limited, MIN_PATH_MTU, packetWithin } from '#agent/tunnel/path/path-mtu';

describe('the longest packet into a tunnel', () => {
  it('is what the device takes where the datagram around it passes whole', () => {
    assert.equal(packetWithin(1_500, 'ipv4', 1_420), 1_420);
    assert.equal(packetWithin(1_500, 'ipv6', 1_420), 1_420);
    assert.equal(packetWithin(1_480, 'ipv4', 1_420), 1_420);
    assert.equal(packetWithin(65_536, 'ipv6', 8_920), 8_920);
  });

  it('leaves room for what WireGuard and the way put around it, its padding included', () => {
    const rows: readonly ['ipv4' | 'ipv6', number, number][] = [
      ['ipv4', 1_479, 1_408],
      ['ipv4', 1_400, 1_328],
      ['ipv6', 1_400, 1_312],
      ['ipv4', 1_280, 1_216],
      ['ipv6', 1_280, 1_200],
      ['ipv4', 300, MIN_PATH_MTU],
    ];
    for (const [family, underlay, bytes] of rows) {
      assert.equal(packetWithin(underlay, family, 1_420), bytes);
      const padded = Math.ceil(bytes / 16) * 16;
      if (bytes > MIN_PATH_MTU) assert.ok(padded + (family === 'ipv4' ? 60 : 80) <= underlay);
    }
  });

  it('is searched among lengths that are never padded', () => {
    const lengths = lengthsBelow(1_420);
    assert.equal(lengths[0], MIN_PATH_MTU);
    assert.ok(lengths.every((length) => length % 16 === 0 && length < 1_420));
    assert.equal(lengths.at(-1), 1_408);
  });

  it('only falls while the path is the same', () => {
    const of = (path: string, bytes: number) => ({
      path,
      bytes,
      underlay: undefined,
      isMeasured: true,
    });
    const first = of('a', 1_328);
    assert.equal(limited(first, of('a', 1_420)), first);
    assert.equal(limited(first, of('a', 1_328)), first);
    assert.equal(limited(first, of('a', 1_216)).bytes, 1_216);
    assert.equal(limited(first, of('b', 1_420)).bytes, 1_420);
    assert.equal(limited(undefined, first), first);
  });
});

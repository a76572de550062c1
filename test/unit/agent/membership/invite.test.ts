import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { formatInvite, parseInvite } from '#agent/membership/invite';
import type { PeerAddress } from '#agent/network/network';
import type { Aid, Said } from '#kel/identifiers';

const mesh = `EA${'m'.repeat(42)}` as Said;
const governor = `EA${'g'.repeat(42)}` as Aid;
const address = '/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWA' as PeerAddress;
const line = `kelmesh:1:${mesh}:${governor}@${address}`;

describe('invite', () => {
  it('is one line that reads back', () => {
    const invite = { mesh, governor, addresses: [address, '/ip6/::1/tcp/7400' as PeerAddress] };
    assert.deepEqual(parseInvite(formatInvite(invite)), invite);
    assert.deepEqual(parseInvite(`  ${line}\n`), { mesh, governor, addresses: [address] });
    assert.equal(formatInvite(parseInvite(line)), line);
  });

  it('leaves out what would not read back: too many addresses, too long ones, one with a comma', () => {
    const many = Array.from({ length: 40 }, (_, i) => `/ip4/192.0.2.${i}/tcp/7400` as PeerAddress);
    assert.equal(
      parseInvite(formatInvite({ mesh, governor, addresses: many })).addresses.length,
      16,
    );
    const long = Array.from(
      { length: 16 },
      (_, i) => `/dns4/${'a'.repeat(480)}${i}/tcp/1` as PeerAddress,
    );
    const { addresses } = parseInvite(formatInvite({ mesh, governor, addresses: long }));
    assert.ok(addresses.length >= 7 && addresses.length < 16);
    const comma = '/dns4/a,b/tcp/1' as PeerAddress;
    assert.deepEqual(
      parseInvite(formatInvite({ mesh, governor, addresses: [comma, address] })).addresses,
      [address],
    );
  });

  it('says when there is no address to give', () => {
    assert.throws(() => formatInvite({ mesh, governor, addresses: [] }), {
      code: 'MESH_BAD_INVITE',
    });
  });

  const bad: Readonly<Record<string, string>> = {
    nothing: '',
    'another word': 'hello',
    'another scheme': line.replace('kelmesh', 'kelmash'),
    'another version': line.replace(':1:', ':2:'),
    'a version with a zero in front': line.replace(':1:', ':01:'),
    'no governor': `kelmesh:1:${mesh}@${address}`,
    'no mesh': `kelmesh:1::${governor}@${address}`,
    'no address': `kelmesh:1:${mesh}:${governor}@`,
    'an empty address': `${line},`,
    'an address that is none': `${line},192.0.2.1:7400`,
    'a space inside': `${line}, /ip4/192.0.2.2/tcp/1`,
    'two lines': `${line}\n${line}`,
    'a mesh cut short': line.replace(mesh, mesh.slice(0, -1)),
    'a mesh that is a key': line.replace(mesh, `D${mesh.slice(1)}`),
    'a governor with a wrong letter': line.replace(governor, `E${'!'.repeat(43)}`),
    'pad bits that are not zero': line.replace(governor, `Ez${'g'.repeat(42)}`),
    'too many addresses': `${line}${`,${address}`.repeat(16)}`,
    'four kilobytes and more': `${line},/dns4/${'a'.repeat(5_000)}`,
    'a megabyte': 'k'.repeat(1_000_000),
  };
  for (const [what, text] of Object.entries(bad)) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => parseInvite(text),
        (error: { code: string; message: string }) => {
          assert.equal(error.code, 'MESH_BAD_INVITE');
          assert.ok(error.message.length < 300);
          return true;
        },
      );
    });
  }
});

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { formatFirstInvite, formatInvite, parseInvite } from '#agent/mesh/membership/invite';
import type { PeerAddress } from '#agent/network/network';
import type { Aid, Said } from '#kel/identifiers';
import { utf8 } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';
import { inviteCheckLabel } from '#src/crypto/labels';

const mesh = `EA${'m'.repeat(42)}` as Said;
const governor = `EA${'g'.repeat(42)}` as Aid;
const address = '/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWA' as PeerAddress;
const member = `EA${'b'.repeat(42)}` as Aid;
const other = '/ip4/192.0.2.2/tcp/7400/p2p/12D3KooWB' as PeerAddress;
const line = formatInvite({ mesh, governor, addresses: [address] });

/** A line whose check is right, whatever it says. */
function checked(content: string): string {
  const digest = sha256(inviteCheckLabel(utf8(content))).subarray(0, 6);
  return `kelmesh:2:${Buffer.from(digest).toString('base64url')}:${content}`;
}

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

  it('has a second door where a member that does not govern has made it', () => {
    for (const addresses of [[address], []]) {
      const invite = { mesh, governor, addresses, through: { aid: member, addresses: [other] } };
      assert.deepEqual(parseInvite(formatInvite(invite)), invite);
    }
    const long = Array.from(
      { length: 16 },
      (_, i) => `/dns4/${'a'.repeat(480)}${i}/tcp/1` as PeerAddress,
    );
    const both = { mesh, governor, addresses: long, through: { aid: member, addresses: long } };
    const read = parseInvite(formatInvite(both));
    assert.ok(read.addresses.length > 0 && (read.through?.addresses.length ?? 0) > 0);
  });

  it('is refused with words wherever it is cut short, and whatever one character of it is changed to', () => {
    const whole = formatInvite({
      mesh,
      governor,
      addresses: [address],
      through: { aid: member, addresses: [other, address] },
    });
    for (const text of [line, whole])
      for (let end = 0; end < text.length; end++) {
        refused(text.slice(0, end));
        for (const letter of 'A0/,+@:') {
          const changed = text.slice(0, end) + letter + text.slice(end + 1);
          if (changed !== text) refused(changed);
        }
      }
    assert.match(refused(line.slice(0, -1)), /cut short or mistyped/);
    assert.match(refused(line.slice(0, 15)), /cut short/);
  });

  it('of release 0.1 is read and made, with the peer at each end: so one that was cut short is refused', () => {
    const peer = '/p2p/12D3KooWN2HeQGFhG245ZLKYSioYnSiQ3koMPgYnuVnur8nzDTPu';
    const reached = [`${address}${peer}`, `${other}${peer}`] as PeerAddress[];
    const invite = { mesh, governor, addresses: reached };
    const first = `kelmesh:1:${mesh}:${governor}@${reached.join(',')}`;
    assert.equal(formatFirstInvite({ ...invite, addresses: [address, ...reached] }), first);
    assert.deepEqual(parseInvite(first), invite);
    const whole = first.lastIndexOf(',');
    for (let end = 0; end < first.length; end++) if (end !== whole) refused(first.slice(0, end));
    refused(`${first}+${member}@${reached[0]}`);
    refused(first.replace(':1:', ':2:'));
    assert.throws(() => formatFirstInvite({ mesh, governor, addresses: [address] }), {
      code: 'MESH_BAD_INVITE',
    });
  });

  const bad: Readonly<Record<string, string>> = {
    nothing: '',
    'another word': 'hello',
    'another scheme': line.replace('kelmesh', 'kelmash'),
    'another version': line.replace(':2:', ':3:'),
    'a version with a zero in front': line.replace(':2:', ':02:'),
    'two lines': `${line}\n${line}`,
    'no governor': checked(`${mesh}@${address}`),
    'no mesh': checked(`:${governor}@${address}`),
    'no address': checked(`${mesh}:${governor}@`),
    'an empty address': checked(`${mesh}:${governor}@${address},`),
    'an address that is none': checked(`${mesh}:${governor}@${address},192.0.2.1:7400`),
    'a space inside': checked(`${mesh}:${governor}@${address}, /ip4/192.0.2.2/tcp/1`),
    'a mesh cut short': checked(`${mesh.slice(0, -1)}:${governor}@${address}`),
    'a mesh that is a key': checked(`D${mesh.slice(1)}:${governor}@${address}`),
    'a governor with a wrong letter': checked(`${mesh}:E${'!'.repeat(43)}@${address}`),
    'pad bits that are not zero': checked(`${mesh}:Ez${'g'.repeat(42)}@${address}`),
    'a member without an address': checked(`${mesh}:${governor}@${address}+${member}@`),
    'a third door': checked(`${mesh}:${governor}@${address}${`+${member}@${other}`.repeat(2)}`),
    'too many addresses': checked(`${mesh}:${governor}@${address}${`,${address}`.repeat(16)}`),
    'four kilobytes and more': checked(`${mesh}:${governor}@/dns4/${'a'.repeat(5_000)}`),
    'a megabyte': 'k'.repeat(1_000_000),
  };
  for (const [what, text] of Object.entries(bad)) {
    it(`refuses ${what}`, () => {
      refused(text);
    });
  }
});

/** @returns what it says */
function refused(text: string): string {
  let said = '';
  assert.throws(
    () => parseInvite(text),
    (error: { code: string; message: string }) => {
      said = error.message;
      assert.equal(error.code, 'MESH_BAD_INVITE', text);
      assert.ok(error.message.length < 300);
      return true;
    },
    text,
  );
  return said;
}

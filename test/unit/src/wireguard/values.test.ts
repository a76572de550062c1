import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  formatBase64Key,
  parseBase64Key,
  parseCidr,
  parseInterfaceAddress,
  parseInterfaceName,
  parseUdpEndpoint,
  parseWireGuardKey,
  wireGuardKeyBytes,
  wireGuardKeyOfBytes,
} from '#src/wireguard/values';
import { publicKeyOf } from '../../../support/kit/devices.ts';

const refused = { code: 'WIREGUARD_BAD_VALUE' };

describe('WireGuard values', () => {
  it('takes interface names that the kernel takes', () => {
    for (const name of ['wg0', 'km-alpha0', 'a.b_c-d', 'x'.repeat(15)])
      assert.equal(parseInterfaceName(name), name);
    for (const name of ['', '.', '..', '-x', 'x'.repeat(16), 'a b', 'a/b', 'a\n', 'é'])
      assert.throws(() => parseInterfaceName(name), refused);
  });

  it('takes a key in one form only, and never repeats it in an error', () => {
    const key = publicKeyOf('a');
    assert.equal(parseWireGuardKey(key), key);
    assert.equal(wireGuardKeyOfBytes(wireGuardKeyBytes(key)), key);
    assert.equal(parseBase64Key(formatBase64Key(key)), key);
    const base64 = formatBase64Key(key);
    const wrong = [key.toUpperCase(), key.slice(1), `${key}0`, `${key.slice(1)}g`];
    for (const text of wrong)
      assert.throws(
        () => parseWireGuardKey(text),
        (error: Error) => !error.message.includes(text),
      );
    // The last digit before "=" carries two bits that must be zero.
    for (const text of [base64.slice(0, -1), `${base64.slice(0, 42)}B=`, `${base64}=`, key])
      assert.throws(
        () => parseBase64Key(text),
        (error: Error) => !error.message.includes(text),
      );
    assert.throws(() => wireGuardKeyOfBytes(new Uint8Array(31)), refused);
  });

  it('brings endpoints to canonical text', () => {
    const canonical: [string, string][] = [
      ['192.0.2.1:51820', '192.0.2.1:51820'],
      ['[2001:DB8:0:0:0:0:0:1]:1', '[2001:db8::1]:1'],
      ['[::ffff:192.0.2.1]:65535', '192.0.2.1:65535'],
      ['[fe80::1%eth0]:51820', '[fe80::1%eth0]:51820'],
      ['[::]:5', '[::]:5'],
    ];
    for (const [text, expected] of canonical) assert.equal(parseUdpEndpoint(text), expected);
  });

  it('refuses endpoints that are not an address and a port', () => {
    for (const text of [
      '',
      '192.0.2.1',
      '192.0.2.1:0',
      '192.0.2.1:65536',
      '192.0.2.1:051820',
      '192.0.2.01:51820',
      '192.0.2.256:51820',
      '2001:db8::1:51820',
      '[2001:db8::1]',
      '[192.0.2.1]:51820',
      '[2001:db8::1%eth0]:51820',
      '[fe80::1%eth0/..]:1',
      'example.org:51820',
      ' 192.0.2.1:51820',
    ])
      assert.throws(() => parseUdpEndpoint(text), refused, text);
  });

  it('brings CIDRs to canonical text', () => {
    const canonical: [string, string][] = [
      ['0.0.0.0/0', '0.0.0.0/0'],
      ['10.0.0.0/8', '10.0.0.0/8'],
      ['10.0.0.1/32', '10.0.0.1/32'],
      ['::/0', '::/0'],
      ['2001:DB8::/32', '2001:db8::/32'],
      ['2001:0db8:0000:0001:0000:0000:0000:0000/64', '2001:db8:0:1::/64'],
      ['1:0:0:2:0:0:0:3/128', '1:0:0:2::3/128'],
      ['1:0:0:2:3:0:0:4/128', '1::2:3:0:0:4/128'],
      ['1:2:3:4:5:6:0:8/128', '1:2:3:4:5:6:0:8/128'],
      ['64:ff9b::192.0.2.33/128', '64:ff9b::c000:221/128'],
    ];
    for (const [text, expected] of canonical) assert.equal(parseCidr(text), expected);
  });

  it('refuses CIDRs with host bits, bad lengths or an IPv4-mapped prefix', () => {
    for (const text of [
      '10.0.0.1/8',
      '10.0.0.1/31',
      'fd00::1/127',
      'fd00::1',
      '10.0.0.0/33',
      'fd00::/129',
      '10.0.0.0/08',
      '10.0.0.0/-1',
      '10.0.0/8',
      'fd00:::/16',
      'fe80::%eth0/64',
      '::ffff:10.0.0.0/104',
    ])
      assert.throws(() => parseCidr(text), refused, text);
  });

  it('keeps the host bits of an interface address', () => {
    assert.equal(parseInterfaceAddress('10.1.2.3/24'), '10.1.2.3/24');
    assert.equal(parseInterfaceAddress('FD00::0:7/64'), 'fd00::7/64');
    assert.throws(() => parseInterfaceAddress('10.1.2.3'), refused);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { utf8 } from '#src/bytes';
import { formatBase64Key } from '#src/wireguard/values';
import { parseWgDump } from '#src/wireguard/wg-dump';
import { privateKeyOf, publicKeyOf, secretOf } from '../../../support/kit/devices.ts';

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const PRIVATE = base64(privateKeyOf('device').expose());
const PSK = base64(secretOf('psk').expose());
const A = publicKeyOf('a');
const B = publicKeyOf('b');

const device = [PRIVATE, formatBase64Key(publicKeyOf('device')), '51820', 'off'];
const peerA = [
  formatBase64Key(A),
  PSK,
  '[2001:db8::1]:51820',
  '10.0.0.1/32,fd00::/64',
  '1700000000',
  '7',
  '18446744073709551615',
  '25',
];
const peerB = [formatBase64Key(B), '(none)', '(none)', '(none)', '0', '0', '0', 'off'];
const textOf = (...lines: string[][]): string =>
  lines.map((line) => `${line.join('\t')}\n`).join('');

describe('wg show dump', () => {
  it('reads a device and its peers', () => {
    const state = parseWgDump(utf8(textOf(device, peerA, peerB)));
    assert.ok(state.privateKey?.equals(privateKeyOf('device')));
    assert.equal(state.listenPort, 51820);
    assert.equal(state.fwmark, 0);
    const { presharedKey, ...a } = state.peers.get(A) ?? {};
    assert.ok(presharedKey?.equals(secretOf('psk')));
    assert.deepEqual(a, {
      publicKey: A,
      endpoint: '[2001:db8::1]:51820',
      allowedIps: ['10.0.0.1/32', 'fd00::/64'],
      keepalive: 25,
      lastHandshake: 1_700_000_000_000,
      rxBytes: 7n,
      txBytes: 18446744073709551615n,
    });
    const b = state.peers.get(B);
    assert.ok(b?.presharedKey.expose().every((byte) => byte === 0));
    assert.equal(b?.endpoint, undefined);
    assert.deepEqual(b?.allowedIps, []);
  });

  it('reads a device without a key, as it is after it was made', () => {
    const state = parseWgDump(utf8(textOf(['(none)', '(none)', '0', '0x1337'])));
    assert.equal(state.privateKey, undefined);
    assert.equal(state.fwmark, 0x1337);
  });

  it('leaves no key in the bytes that it has read, well formed or not', () => {
    for (const text of [
      textOf(device, peerA, peerB),
      textOf(device, peerA.with(1, `${PSK}=`), peerB),
      textOf(device.slice(0, 3), peerA),
      textOf(device, peerA).trimEnd(),
    ]) {
      const bytes = Buffer.from(text);
      try {
        parseWgDump(bytes);
      } catch {
        // Refused or not: the keys are gone.
      }
      assert.equal(bytes.includes(PRIVATE), false);
      assert.equal(bytes.includes(PSK), false);
    }
  });

  it('refuses what is not a dump, and never repeats a key', () => {
    const bad: [string, string][] = [
      ['nothing', ''],
      ['no newline', textOf(device).trimEnd()],
      ['three fields', textOf(device.slice(1))],
      ['seven fields', textOf(device, peerA.slice(1))],
      ['peer twice', textOf(device, peerA, peerA)],
      ['bad private key', textOf(device.with(0, `${PRIVATE}=`))],
      ['bad PSK', textOf(device, peerA.with(1, PSK.slice(1)))],
      ['bad port', textOf(device.with(2, '65536'))],
      ['bad mark', textOf(device.with(3, 'on'))],
      ['bad counter', textOf(device, peerA.with(5, '-1'))],
      ['bad prefix', textOf(device, peerA.with(3, '10.0.0.1/8'))],
      ['bad keepalive', textOf(device, peerA.with(7, '0x1'))],
    ];
    for (const [what, text] of bad)
      assert.throws(
        () => parseWgDump(utf8(text)),
        (error: Error & { code?: string }) =>
          error.code === 'WIREGUARD_DUMP_MALFORMED' &&
          !`${error.message}${error.stack}`.includes(PSK.slice(2, 20)) &&
          !`${error.message}${error.stack}`.includes(PRIVATE.slice(2, 20)),
        what,
      );
  });
});

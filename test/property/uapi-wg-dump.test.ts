import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { utf8 } from '#src/bytes';
import { Secret } from '#src/secret';
import { decodeBase64Secret, encodeBase64Secret } from '#src/wireguard/base64-secret';
import { WireGuardError } from '#src/wireguard/errors';
import type { UapiDevice } from '#src/wireguard/uapi';
import { formatBase64Key, parseCidr, parseUdpEndpoint } from '#src/wireguard/values';
import { parseWgDump } from '#src/wireguard/wg-dump';
import { privateKeyOf, publicKeyOf, secretOf } from '../support/kit/devices.ts';

const base64 = (secret: Secret): string => Buffer.from(secret.expose()).toString('base64');
const isZero = (secret: Secret): boolean => secret.expose().every((byte) => byte === 0);

/** As wireguard-tools prints it; the public key of the device is not kept by the reader. */
function format({ privateKey, listenPort, fwmark, peers }: UapiDevice): string {
  const publicKey = privateKey ? formatBase64Key(publicKeyOf('device')) : '(none)';
  const mark = fwmark === 0 ? 'off' : `0x${fwmark.toString(16)}`;
  const lines = [[privateKey ? base64(privateKey) : '(none)', publicKey, `${listenPort}`, mark]];
  for (const peer of peers.values())
    lines.push([
      formatBase64Key(peer.publicKey),
      isZero(peer.presharedKey) ? '(none)' : base64(peer.presharedKey),
      peer.endpoint ?? '(none)',
      peer.allowedIps.join(',') || '(none)',
      `${peer.lastHandshake / 1000}`,
      `${peer.rxBytes}`,
      `${peer.txBytes}`,
      peer.keepalive === 0 ? 'off' : `${peer.keepalive}`,
    ]);
  return lines.map((line) => `${line.join('\t')}\n`).join('');
}

const counter = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

const peer = fc
  .record({
    hasKey: fc.boolean(),
    place: fc.constantFrom(undefined, '192.0.2.1:51820', '[2001:db8::1]:1'),
    allowedIps: fc.uniqueArray(fc.constantFrom('10.0.0.0/8', '::/0', 'fd00::1/128').map(parseCidr)),
    keepalive: fc.nat(65_535),
    lastHandshake: fc.nat(2 ** 31).map((seconds) => seconds * 1000),
    rxBytes: counter,
    txBytes: counter,
  })
  .map(({ hasKey, place, ...rest }) => ({
    presharedKey: hasKey ? secretOf('psk') : new Secret(new Uint8Array(32)),
    ...(place === undefined ? {} : { endpoint: parseUdpEndpoint(place) }),
    ...rest,
  }));

const device: fc.Arbitrary<UapiDevice> = fc
  .record({
    hasKey: fc.boolean(),
    listenPort: fc.nat(65_535),
    fwmark: fc.nat(0xffff_ffff),
    peers: fc.dictionary(fc.constantFrom('a', 'b', 'c'), peer),
  })
  .map(({ hasKey, listenPort, fwmark, peers }) => {
    const named = Object.entries(peers).map(([label, rest]) => ({
      publicKey: publicKeyOf(label),
      ...rest,
    }));
    const key = hasKey ? { privateKey: privateKeyOf('device') } : {};
    return {
      ...key,
      listenPort,
      fwmark,
      peers: new Map(named.map((item) => [item.publicKey, item])),
    };
  });

describe('secrets in base64, for all bytes', () => {
  it('come out as other writers have them, and are read back in one form', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.nat(43),
        fc.nat(255),
        (bytes, at, put) => {
          const text = encodeBase64Secret(new Secret(bytes));
          assert.equal(text.toString('latin1'), Buffer.from(bytes).toString('base64'));
          assert.deepEqual(decodeBase64Secret(text)?.expose(), Buffer.from(bytes));
          text[at] = put;
          const again = decodeBase64Secret(text);
          if (again !== undefined) assert.deepEqual(encodeBase64Secret(again), text);
        },
      ),
    );
  });
});

describe('wg show dump, for all devices', () => {
  it('is written back to the same text', () => {
    fc.assert(
      fc.property(device, (state) => {
        const text = format(state);
        assert.equal(format(parseWgDump(utf8(text))), text);
      }),
    );
  });

  it('is read or refused with a code when it is damaged', () => {
    fc.assert(
      fc.property(
        device,
        fc.nat(),
        fc.constantFrom('\t', '\n', '0', 'x', '', ','),
        (state, at, put) => {
          const good = format(state);
          const cut = at % good.length;
          try {
            parseWgDump(utf8(good.slice(0, cut) + put + good.slice(cut + 1)));
          } catch (error) {
            assert.ok(error instanceof WireGuardError, String(error));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

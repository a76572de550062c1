import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { encodeSet, parseGetReply, parseSetReply } from '#src/wireguard/uapi';
import {
  deviceOf,
  peerOf,
  privateKeyOf,
  publicKeyOf,
  secretOf,
} from '../../../support/kit/devices.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const KEY = publicKeyOf('a');
const PSK = hex(secretOf('psk').expose());
const PRIVATE = hex(privateKeyOf('device').expose());

const reply = [
  `private_key=${PRIVATE}`,
  'listen_port=51820',
  'fwmark=4919',
  `public_key=${KEY}`,
  `preshared_key=${PSK}`,
  'protocol_version=1',
  'endpoint=[2001:db8::1]:51820',
  'last_handshake_time_sec=1700000000',
  'last_handshake_time_nsec=123456789',
  'tx_bytes=18446744073709551615',
  'rx_bytes=7',
  'persistent_keepalive_interval=25',
  'allowed_ip=10.0.0.1/32',
  'allowed_ip=fd00::/64',
  'errno=0',
];

const bytesOf = (lines: readonly string[]): Buffer => Buffer.from(`${lines.join('\n')}\n\n`);
const parse = (lines: readonly string[]) => parseGetReply(bytesOf(lines));
const malformed = { code: 'WIREGUARD_UAPI_MALFORMED' };

describe('UAPI', () => {
  it('writes the lines of a change in the order of the protocol', () => {
    const peer = peerOf('a', {
      endpoint: '192.0.2.1:5',
      allowedIps: ['10.0.0.1/32'],
      keepalive: 25,
    });
    const { privateKey } = deviceOf();
    const request = encodeSet({
      privateKey,
      listenPort: 51820,
      peers: [{ ...peer, kind: 'add', replaceAllowedIps: false, desiredAllowedIps: [] }],
      removedPeers: [publicKeyOf('b')],
    });
    assert.deepEqual(Buffer.from(request).toString().split('\n'), [
      'set=1',
      `private_key=${PRIVATE}`,
      'listen_port=51820',
      `public_key=${KEY}`,
      `preshared_key=${hex(peer.presharedKey.expose())}`,
      'endpoint=192.0.2.1:5',
      'persistent_keepalive_interval=25',
      'allowed_ip=10.0.0.1/32',
      `public_key=${publicKeyOf('b')}`,
      'update_only=true',
      'remove=true',
      '',
      '',
    ]);
  });

  it('updates with update_only, so that it creates no peer', () => {
    const change = {
      publicKey: KEY,
      kind: 'update',
      presharedKey: secretOf('psk'),
      replaceAllowedIps: true,
      allowedIps: [],
      desiredAllowedIps: [],
    } as const;
    const request = encodeSet({ peers: [change], removedPeers: [] });
    assert.equal(
      Buffer.from(request).toString(),
      `set=1\npublic_key=${KEY}\nupdate_only=true\npreshared_key=${PSK}\nreplace_allowed_ips=true\n\n`,
    );
  });

  it('reads a device with all fields', () => {
    const device = parse(reply);
    assert.ok(device.privateKey?.equals(privateKeyOf('device')));
    assert.equal(device.listenPort, 51820);
    assert.equal(device.fwmark, 4919);
    const { presharedKey, ...peer } = device.peers.get(KEY) ?? {};
    assert.ok(presharedKey?.equals(secretOf('psk')));
    assert.deepEqual(peer, {
      publicKey: KEY,
      endpoint: '[2001:db8::1]:51820',
      allowedIps: ['10.0.0.1/32', 'fd00::/64'],
      keepalive: 25,
      lastHandshake: 1_700_000_000_123,
      rxBytes: 7n,
      txBytes: 18446744073709551615n,
    });
  });

  it('reads an empty device', () => {
    const device = parse(['errno=0']);
    assert.deepEqual(
      { ...device, peers: [...device.peers] },
      { listenPort: 0, fwmark: 0, peers: [] },
    );
  });

  it('reports the errno of a refusal', () => {
    assert.throws(() => parseSetReply(Buffer.from('errno=-98\n\n')), {
      code: 'WIREGUARD_UAPI_REFUSED',
      message: /EADDRINUSE/,
      fields: { errno: -98 },
    });
    parseSetReply(Buffer.from('errno=0\n\n'));
  });

  it('refuses what is not a reply', () => {
    const at = (i: number, line: string) => reply.with(i, line);
    const bad: [string, readonly string[]][] = [
      ['no errno', reply.slice(0, -1)],
      ['errno positive', at(14, 'errno=1')],
      ['errno with zeros', at(14, 'errno=-01')],
      ['something after errno', [...reply, 'fwmark=1']],
      ['unknown device key', at(1, 'listen_ports=1')],
      ['unknown peer key', at(5, 'shoe_size=46')],
      ['device field twice', reply.toSpliced(2, 0, 'listen_port=51820')],
      ['peer field twice', reply.toSpliced(9, 0, 'tx_bytes=1')],
      ['peer twice', reply.toSpliced(14, 0, `public_key=${KEY}`)],
      ['key too short', at(4, `preshared_key=${PSK.slice(1)}`)],
      ['key in upper case', at(4, `preshared_key=${PSK.toUpperCase()}`)],
      ['port too large', at(1, 'listen_port=65536')],
      ['number with zeros', at(1, 'listen_port=051820')],
      ['negative counter', at(9, 'tx_bytes=-1')],
      ['counter of 65 bits', at(9, 'tx_bytes=18446744073709551616')],
      ['nanoseconds', at(8, 'last_handshake_time_nsec=1000000000')],
      ['protocol version', at(5, 'protocol_version=2')],
      ['allowed IP with host bits', at(12, 'allowed_ip=10.0.0.1/8')],
      ['endpoint', at(6, 'endpoint=example.org:1')],
      ['line too long', at(6, `endpoint=${'1'.repeat(200)}`)],
      ['no equals sign', at(5, 'protocol_version')],
      ['empty line inside', reply.toSpliced(3, 0, '')],
    ];
    for (const [what, lines] of bad) assert.throws(() => parse(lines), malformed, what);
    for (const text of ['', '\n', 'errno=0', 'errno=0\n', 'errno=0\n\n\n', 'errno=0\r\n\r\n'])
      assert.throws(() => parseGetReply(Buffer.from(text)), malformed, JSON.stringify(text));
  });

  it('never repeats a key in an error', () => {
    const secrets = [PRIVATE, PSK];
    const broken = [
      `private_key=${PRIVATE}0`,
      `preshared_key=${PSK}0`,
      `private_key=${PRIVATE.slice(1)}g`,
      `${PRIVATE}=private_key`,
      `preshared_key=${PSK.toUpperCase()}`,
    ];
    for (const line of broken)
      assert.throws(
        () => parse([line, ...reply]),
        (error: Error) => {
          const text = `${error.message} ${error.stack} ${JSON.stringify(error)}`.toLowerCase();
          return secrets.every((secret) => !text.includes(secret.slice(1, 20)));
        },
      );
  });
});

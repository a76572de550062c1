import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { parseRosenpassConfig } from '#src/rosenpass/program/config';

const own = 'public_key = "pk"\nsecret_key = "sk"\n';
const KEY = 'YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=';

describe('the configuration of an exchange', () => {
  it('is that of the Rust program', () => {
    const config = parseRosenpassConfig(`${own}listen = ["0.0.0.0:9999", "[::]:9999"]
verbosity = "Verbose"
[[peers]]
public_key = "peer.pk"
endpoint = "my-peer.test:9999"
key_out = "key"
exchange_command = ["wg", "set"]
pre_shared_key = "psk"
device = "wg0"
peer = "${KEY}"
extra_params = ["allowed-ips", "10.0.0.0/8"]
[[peers]]
public_key = "other.pk"
endpoint = "[fe80::1%eth0]:1"
protocol_version = "V03"
osk_organization = "example.org"
osk_label = ["a", "b"]
`);
    assert.deepEqual(config, {
      publicKey: 'pk',
      secretKey: 'sk',
      listen: [
        { host: '0.0.0.0', port: 9999 },
        { host: '::', port: 9999 },
      ],
      isVerbose: true,
      warnings: ['peers[0].exchange_command is not run, as by the Rust program'],
      peers: [
        {
          publicKey: 'peer.pk',
          version: 'V02',
          endpoint: { host: 'my-peer.test', port: 9999 },
          presharedKey: 'psk',
          keyOut: 'key',
          wireguard: { device: 'wg0', peer: KEY, extra: ['allowed-ips', '10.0.0.0/8'] },
        },
        {
          publicKey: 'other.pk',
          version: 'V03',
          endpoint: { host: 'fe80::1%eth0', port: 1 },
          output: { organization: 'example.org', labels: ['a', 'b'] },
        },
      ],
    });
  });

  it('needs little', () => {
    assert.deepEqual(parseRosenpassConfig(own), {
      publicKey: 'pk',
      secretKey: 'sk',
      listen: [],
      isVerbose: false,
      peers: [],
      warnings: [],
    });
  });

  const peer = (line: string) => `${own}[[peers]]\npublic_key = "p"\n${line}\n`;
  const rows: readonly (readonly [string, string, RegExp])[] = [
    ['no TOML', 'public_key = = 1', /line 1/],
    ['no key', 'public_key = "pk"', /secret_key/],
    ['a key that nobody knows', `${own}colour = "red"`, /colour/],
    ['a key of a peer that nobody knows', peer('colour = "red"'), /peers\[0\]\.colour/],
    ['another verbosity', `${own}verbosity = "Loud"`, /Quiet or Verbose/],
    ['a name to listen on', `${own}listen = ["localhost:1"]`, /listen/],
    ['no list to listen on', `${own}listen = "0.0.0.0:1"`, /listen/],
    ['a port too high', `${own}listen = ["0.0.0.0:65536"]`, /listen/],
    ['an endpoint without a port', peer('endpoint = "host"'), /peers\[0\]\.endpoint/],
    ['an endpoint with port 0', peer('endpoint = "host:0"'), /peers\[0\]\.endpoint/],
    ['an endpoint that is an option', peer('endpoint = "-h:1"'), /peers\[0\]\.endpoint/],
    ['a device without a peer', peer('device = "wg0"'), /peers\[0\]\.peer/],
    ['a peer without a device', peer(`peer = "${KEY}"`), /peers\[0\]\.device/],
    ['another version', peer('protocol_version = "V01"'), /V02 or V03/],
    ['half a label', peer('osk_label = ["a"]'), /osk_organization/],
    ['a text that is none', peer('key_out = 1'), /peers\[0\]\.key_out/],
  ];
  for (const [what, text, message] of rows)
    it(`is refused with ${what}`, () => {
      assert.throws(() => parseRosenpassConfig(text), { code: 'ROSENPASS_BAD_CONFIG', message });
    });

  it('has no device or peer that would be an option of `wg`, or no key', () => {
    for (const line of [`device = "-x"\npeer = "${KEY}"`, 'device = "wg0"\npeer = "remove"'])
      assert.throws(() => parseRosenpassConfig(peer(line)), { code: 'WIREGUARD_BAD_VALUE' });
  });

  it('is refused with a code, whatever it is', () => {
    const words = fc.constantFrom(
      ...[
        'public_key',
        'listen',
        'peers',
        '[[peers]]',
        '[peers]',
        '=',
        '"a"',
        '["a"]',
        '1',
        '\n',
        'endpoint',
        '"h:1"',
      ],
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(words, fc.string({ maxLength: 8 })), { maxLength: 30 }),
        (parts) => {
          try {
            parseRosenpassConfig(parts.join(' '));
          } catch (error) {
            assert.match((error as { code: string }).code, /^(ROSENPASS|WIREGUARD)_BAD_/);
          }
        },
      ),
    );
  });
});

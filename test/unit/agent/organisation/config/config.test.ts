import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { describeKind, parseConfig, readConfig } from '#agent/organisation/config/config';
import { configKeys } from '#agent/organisation/config/keys';

const FILE = '/etc/kelmesh/kelmesh.toml';
const parse = (text: string) => parseConfig(text, FILE);
const withName = (text: string) => parse(`name = "alpha"\n${text}`);

describe('configuration', () => {
  it('needs a name and has a default for the rest', () => {
    const config = parse('name = "alpha"');
    assert.equal(config.name, 'alpha');
    assert.equal(config.file, FILE);
    assert.equal(config.stateDir, '/var/lib/kelmesh');
    assert.equal(config.socket, '/var/lib/kelmesh/control.sock');
    assert.equal(config.keyStore.tier, 'sealed-file');
    assert.equal(config.keyStore.secretFile, undefined);
    assert.deepEqual(config.network.listen, ['/ip4/0.0.0.0/tcp/7400', '/ip6/::/tcp/7400']);
    assert.equal(config.tunnel.port, 51_820);
    assert.equal(config.tunnel.drainSeconds, 180);
    assert.throws(() => parse(''), {
      code: 'CONFIG_MISSING_KEY',
      message: `${FILE}: name is missing`,
    });
  });

  it('reads every key', () => {
    const config = withName(`
state = "state"
[control]
socket = "/run/kelmesh.sock"
[keystore]
tier = "softhsm"
secret-file = "pin"
module = "/usr/lib/softhsm.so"
token = "label"
algorithm = "p256"
[log]
kind = "JSON"
level = "debug"
[network]
listen = ["/ip4/127.0.0.1/tcp/0"]
announce = ["/dns4/mesh.example/tcp/7400"]
bootstrap = ["/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWA"]
mdns = false
[tunnel]
driver = "userspace"
program = "bin/wireguard-go"
interface = "km"
port = 1
endpoints = ["192.0.2.1", "2001:db8::1"]
mtu = 1280
keepalive = 5
lazy-idle = 60
prefixes = ["10.1.0.0/16"]
gateway-rank = 7
drain = 1
proof-port = 65535
`);
    assert.equal(config.stateDir, '/etc/kelmesh/state');
    assert.equal(config.socket, '/run/kelmesh.sock');
    assert.deepEqual(config.keyStore, {
      tier: 'softhsm',
      secretFile: '/etc/kelmesh/pin',
      module: '/usr/lib/softhsm.so',
      token: 'label',
      algorithm: 'p256',
    });
    assert.deepEqual(config.log, { kind: 'JSON', level: 'debug' });
    assert.deepEqual(config.tunnel.endpoints, ['192.0.2.1', '2001:db8::1']);
    assert.deepEqual(config.tunnel, {
      driver: 'userspace',
      program: '/etc/kelmesh/bin/wireguard-go',
      interface: 'km',
      port: 1,
      endpoints: ['192.0.2.1', '2001:db8::1'],
      mtu: 1280,
      keepaliveSeconds: 5,
      lazyIdleSeconds: 60,
      prefixes: ['10.1.0.0/16'],
      gatewayRank: 7,
      drainSeconds: 1,
      proofPort: 65_535,
    });
    assert.equal(config.relay.port, 5);
    assert.equal(withName('[tunnel]\nport = 65500').relay.port, 65_372);
  });

  it('is frozen, defaults and all', () => {
    const config = parse('name = "alpha"');
    assert.throws(() => Object.assign(config.tunnel, { port: 1 }), TypeError);
    assert.throws(() => (config.network.listen as string[]).push('/x'), TypeError);
    assert.throws(() => Object.assign(config, { name: 'beta' }), TypeError);
  });

  const unknown: Readonly<Record<string, string>> = {
    nmae: 'nmae = "x"',
    'tunnel.prot': '[tunnel]\nprot = 1',
    colour: '[colour]\nred = 1',
    tunnel: 'tunnel = 5',
    'keystore.pin': '[keystore]\npin = "123456"',
    toString: 'toString = 1',
    'tunnel.constructor': '[tunnel]\nconstructor = 1',
    __proto__: '"__proto__" = 1',
    '"tunnel.port"': '"tunnel.port" = 5',
    network: '[[network]]\nmdns = true',
    'log ': 'log = 1979-05-27',
  };
  for (const [name, text] of Object.entries(unknown)) {
    it(`names the unknown key ${name}`, () => {
      assert.throws(
        () => withName(text),
        (error: { code: string; message: string }) => {
          assert.equal(error.code, 'CONFIG_UNKNOWN_KEY');
          assert.ok(error.message.includes(name.trim()), error.message);
          assert.ok(!error.message.includes('123456'));
          return true;
        },
      );
    });
  }

  const bad: Readonly<Record<string, readonly string[]>> = {
    name: [
      '""',
      '"Alpha"',
      '"-a"',
      '"a-"',
      '"a b"',
      '"a\\n"',
      `"${'a'.repeat(64)}"`,
      '5',
      '["a"]',
      '{ a = 1 }',
      '1979-05-27',
    ],
    state: ['""', '5', '"a\\u0000b"', 'true'],
    'keystore.tier': ['"hsm"', '""', '5', '[]'],
    'control.group': ['""', '"a group"', '"a:b"', '"-a"', '"12345678901"', '7'],
    'keystore.token': ['""', `"${'x'.repeat(33)}"`, '"a\\nb"'],
    'keystore.algorithm': ['"rsa"'],
    'log.kind': ['"cbor"', '"MGPK"'],
    'log.level': ['"trace"'],
    'network.listen': [
      '"/ip4/0.0.0.0/tcp/1"',
      '["ip4/0.0.0.0"]',
      '[5]',
      '["/ip4/a b"]',
      '["/ip4//tcp"]',
      '["/IP4/x"]',
      '[["/ip4/x"]]',
      `[${Array(17).fill('"/ip4/192.0.2.1/tcp/1"').join(',')}]`,
    ],
    'network.mdns': ['"true"', '1', '[]'],
    'network.tls-port': ['"443"', '-1', '65536', '1.5'],
    'network.relay': ['"yes"', '1', 'true', '["serve"]'],
    'tunnel.driver': ['"none"'],
    'tunnel.interface': ['""', '"a b"', '"a/b"', `"${'a'.repeat(15)}"`, '"-a"', '".."', '"wg\\n"'],
    'tunnel.port': ['0', '65535', '-1', '1.5', '"51820"', 'nan', 'inf', '[1]'],
    'tunnel.endpoints': [
      '["999.1.1.1"]',
      '["host..example"]',
      '["host.example:51820"]',
      '[":"]',
      '["fe80::1%eth0"]',
      '["192.0.2.1:51820"]',
      '["192.0.2.1/24"]',
      '[1]',
    ],
    'tunnel.mtu': ['1279', '9001'],
    'tunnel.keepalive': ['0', '3601'],
    'tunnel.lazy-idle': ['4', '86401'],
    'tunnel.prefixes': ['"10.0.0.0/8"', '["10.0.0.1/8"]', '["10.0.0.0"]', '["10.0.0.0/08"]', '[1]'],
    'tunnel.gateway-rank': ['-1', '256'],
    'tunnel.drain': ['0', '3601'],
    'relay.lends': ['"true"', '1'],
    'relay.port': ['0', '65409'],
    'relay.daily': ['0', '1000001'],
    'relay.rate': ['0', '100001'],
    'tunnel.proof-port': ['0', '65536'],
    'rotation.tunnel': ['-1', '8761', '1.5', '"1"'],
    'rotation.id': ['-1', '87601'],
    'rotation.jitter': ['-1', '91'],
    'rotation.window': [
      '"02:00-05:00"',
      '["2:00-05:00"]',
      '["02:00-02:00"]',
      '["24:00-25:00"]',
      '["02:00"]',
    ],
    'rotation.on': ['"removal"', '["start"]', '[1]', '["removal", "removal", "removal"]'],
    'rotation.asked-by': ['"anybody"', '1', '["governor"]'],
    'rotation.deadline': ['0', '1441'],
  };
  for (const [key, values] of Object.entries(bad)) {
    it(`refuses bad values of ${key}, with what it takes and what it got`, () => {
      for (const value of values) {
        const [section, name] = key.split('.');
        const text = name === undefined ? `${key} = ${value}` : `[${section}]\n${name} = ${value}`;
        assert.throws(
          () => (key === 'name' ? parse(text) : withName(text)),
          (error: { code: string; message: string; hint: string }) => {
            assert.equal(error.code, 'CONFIG_BAD_VALUE', `${text}: ${error.message}`);
            assert.ok(error.message.startsWith(`${FILE}: ${key} takes `), error.message);
            assert.ok(error.message.includes(', got '), error.message);
            assert.ok(error.message.length < 400 && error.hint.length > 0);
            return true;
          },
        );
      }
    });
  }

  it('has a bad value in the list above for every key that can have one', () => {
    const covered = new Set(Object.keys(bad));
    const left = Object.entries(configKeys).filter(
      ([name, { kind }]) => !covered.has(name) && kind.type !== 'path' && kind.type !== 'list',
    );
    assert.deepEqual(left, []);
    for (const { kind, does } of Object.values(configKeys))
      assert.ok(describeKind(kind).length > 0 && does.length > 0);
  });

  it('says the line of a syntax error', () => {
    for (const [text, line] of [
      ['name = "a"\nport = \n', 2],
      ['name = "a"\n\n[tunnel\n', 3],
      ['name = "a"\nname = "b"\n', 2],
      ['[tunnel]\nport = 99999999999999999999\n', 2],
      ['name = "unterminated\n', 1],
    ] as const) {
      assert.throws(
        () => parse(text),
        (error: { code: string; message: string }) => {
          assert.equal(error.code, 'CONFIG_SYNTAX');
          assert.match(error.message, new RegExp(` line ${line}:`));
          assert.ok(!error.message.includes('\n'));
          return true;
        },
      );
    }
  });

  it('takes no time for an address that is made to take it', () => {
    const address = `${'/a'.repeat(250)}/!/!`;
    assert.throws(() => withName(`[network]\nlisten = ["${address}"]`), {
      code: 'CONFIG_BAD_VALUE',
    });
    const good = [
      '/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWA',
      '/dns4/a.example/udp/1/quic-v1',
      '/ip6/::1/tcp/0',
      '/unix/%2Ftmp',
    ];
    assert.deepEqual(withName(`[network]\nlisten = ${JSON.stringify(good)}`).network.listen, good);
  });

  describe('file', () => {
    let dir = '';
    before(() => {
      dir = mkdtempSync(join(tmpdir(), 'kelmesh-config-'));
    });
    after(() => rmSync(dir, { recursive: true, force: true }));

    it('is read with paths relative to it', () => {
      const file = join(dir, 'kelmesh.toml');
      writeFileSync(file, 'name = "alpha"\nstate = "s"\n');
      assert.equal(readConfig(file).stateDir, join(dir, 's'));
    });

    it('is missing, or cannot be read', () => {
      assert.throws(() => readConfig(join(dir, 'none.toml')), { code: 'CONFIG_NOT_FOUND' });
      mkdirSync(join(dir, 'directory.toml'));
      assert.throws(() => readConfig(join(dir, 'directory.toml')), { code: 'FILE_NOT_REGULAR' });
      if (process.getuid?.() === 0) return;
      const file = join(dir, 'closed.toml');
      writeFileSync(file, 'name = "alpha"');
      chmodSync(file, 0);
      assert.throws(() => readConfig(file), { code: 'CONFIG_UNREADABLE' });
    });
  });
});

/** `kelmesh rosenpass` alone in two namespaces, over the network between them: its key is WireGuard's, and traffic passes under it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import type { TunnelDriver } from '#src/wireguard/tunnel-driver';
import { deviceOf, peerOf, publicKeyOf } from '../support/kit/devices.ts';
import { rosenpassKeys } from '../support/kit/rosenpass-pair.ts';
import {
  createNamespaces,
  type LongRunning,
  type Namespaces,
  namespacesUnavailable,
} from '../support/machines/namespace.ts';
import { skip } from '../support/skip.ts';

const MAIN = new URL('../../agent/main.ts', import.meta.url);
const PROBE = new URL('../support/machines/probe-process.ts', import.meta.url);
const TOOLS = new URL('../../.tools', import.meta.url).pathname;
const id = randomBytes(3).toString('hex');
const names = ['alice', 'bob'] as const;
type Name = (typeof names)[number];

describe('kelmesh rosenpass beside WireGuard', () => {
  let spaces: Namespaces;
  let dir: string;
  const drivers = new Map<Name, TunnelDriver>();

  const otherOf = (name: Name): Name => (name === 'alice' ? 'bob' : 'alice');
  const overlay = (name: Name) => `10.98.0.${names.indexOf(name) + 1}/32`;
  /** Each end has a preshared key that the other has not. */
  const device = (name: Name) =>
    deviceOf({
      name: `k${id}${name[0]}`,
      key: name,
      listenPort: 51820,
      addresses: [overlay(name)],
      routes: [overlay(otherOf(name))],
      peers: [
        peerOf(otherOf(name), {
          psk: `of ${name}`,
          endpoint: `${spaces.get(otherOf(name)).address}:51820`,
          allowedIps: [overlay(otherOf(name))],
        }),
      ],
    });
  const presharedKey = async (name: Name) => {
    const text = await spaces.get(name).exec('wg', 'show', device(name).name, 'preshared-keys');
    return text.trim().split('\t')[1];
  };

  before(async function () {
    const reason = namespacesUnavailable();
    if (reason !== undefined) skip(this, reason);
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-rosenpass-'));
    spaces = await createNamespaces(names, { bridge: true });
    for (const [at, name] of names.entries()) {
      const keys = rosenpassKeys()[at] ?? assert.fail();
      writeFileSync(join(dir, `${name}.pk`), keys.publicKey);
      writeFileSync(join(dir, `${name}.sk`), keys.secretKey, { mode: 0o600 });
      const driver = await chooseTunnelDriver({
        preference: 'userspace',
        stateDir: join(dir, name),
        toolsDir: TOOLS,
        namespace: spaces.get(name).name,
      });
      drivers.set(name, driver);
      await driver.apply(device(name));
    }
  });

  after(async () => {
    for (const [name, driver] of drivers) await driver.remove(device(name).name);
    await spaces?.destroy();
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  });

  function start(name: Name): LongRunning {
    const other = otherOf(name);
    const { address } = spaces.get(name);
    const text = [
      `public_key = "${join(dir, `${name}.pk`)}"`,
      `secret_key = "${join(dir, `${name}.sk`)}"`,
      `listen = ["${address}:9999"]`,
      '[[peers]]',
      `public_key = "${join(dir, `${other}.pk`)}"`,
      `key_out = "${join(dir, `${name}.key`)}"`,
      `device = "${device(name).name}"`,
      `peer = "${Uint8Array.fromHex(publicKeyOf(other)).toBase64()}"`,
      ...(name === 'alice' ? [`endpoint = "${spaces.get(other).address}:9999"`] : []),
    ].join('\n');
    const file = join(dir, `${name}.toml`);
    writeFileSync(file, text);
    return spaces.get(name).spawnScript(MAIN, 'rosenpass', 'exchange-config', file);
  }

  it('brings two tunnels that cannot shake hands under one key', async function () {
    this.timeout(120_000);
    assert.notEqual(await presharedKey('alice'), await presharedKey('bob'));
    const running = [start('bob'), start('alice')];
    for (const one of running)
      await one.line((line) => /^output-key peer \S{44} key-file .* exchanged$/.test(line));
    const key = await presharedKey('alice');
    assert.match(key ?? '', /^[A-Za-z0-9+/]{43}=$/);
    assert.equal(await presharedKey('bob'), key);
    const echo = spaces.get('bob').spawnScript(PROBE, 'serve', '10.98.0.2', '7000');
    await echo.line();
    const probe = ['rtt', '10.98.0.2', '7000', '20', '100'];
    const rtt = JSON.parse(await spaces.get('alice').runScript(PROBE, ...probe));
    assert.ok(rtt.received > 0, 'packets pass');
    for (const one of [...running, echo]) await one.stop();
    assert.equal(await presharedKey('alice'), key, 'the key stays when the program ends');
  });
});

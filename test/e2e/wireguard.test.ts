/** Two namespaces, two real devices through the driver: traffic, a preshared key changed under load, taking over, removal. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { Secret } from '#src/secret';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import type { DesiredDevice, DeviceEvent, TunnelDriver } from '#src/wireguard/tunnel-driver';
import { deviceOf, peerOf, publicKeyOf } from '../support/kit/devices.ts';
import {
  createNamespaces,
  type Namespaces,
  namespacesUnavailable,
} from '../support/machines/namespace.ts';
import { skip } from '../support/skip.ts';

const PROBE = new URL('../support/machines/probe-process.ts', import.meta.url);
const TOOLS = new URL('../../.tools', import.meta.url).pathname;
const id = randomBytes(3).toString('hex');

describe('two nodes over a real WireGuard tunnel', () => {
  let spaces: Namespaces;
  let stateDir: string;
  let alice: TunnelDriver;
  let bob: TunnelDriver;

  const driver = (label: string) =>
    chooseTunnelDriver({
      preference: 'userspace',
      stateDir: join(stateDir, label),
      toolsDir: TOOLS,
      namespace: spaces.get(label).name,
    });

  const aliceDevice = (psk: string): DesiredDevice =>
    deviceOf({
      name: `k${id}a`,
      key: 'alice',
      listenPort: 51820,
      addresses: ['10.99.0.1/32', 'fd99::1/128'],
      routes: ['10.99.0.2/32', 'fd99::2/128'],
      peers: [
        peerOf('bob', {
          psk,
          endpoint: `${spaces.get('bob').address}:51820`,
          allowedIps: ['10.99.0.2/32', 'fd99::2/128'],
        }),
      ],
    });

  const bobDevice = (psk: string): DesiredDevice =>
    deviceOf({
      name: `k${id}b`,
      key: 'bob',
      listenPort: 51820,
      addresses: ['10.99.0.2/32', 'fd99::2/128'],
      routes: ['10.99.0.1/32', 'fd99::1/128'],
      peers: [peerOf('alice', { psk, allowedIps: ['10.99.0.1/32', 'fd99::1/128'] })],
    });

  before(async function () {
    const reason = namespacesUnavailable();
    if (reason !== undefined) skip(this, reason);
    stateDir = await mkdtemp(join(tmpdir(), 'kelmesh-wg-'));
    spaces = await createNamespaces(['alice', 'bob'], { bridge: true });
    alice = await driver('alice');
    bob = await driver('bob');
  });

  after(async () => {
    await alice?.remove(aliceDevice('one').name);
    await bob?.remove(bobDevice('one').name);
    await spaces?.destroy();
    if (stateDir !== undefined) await rm(stateDir, { recursive: true, force: true });
  });

  it('brings up both devices and carries traffic over both address families', async () => {
    const changes = await alice.apply(aliceDevice('one'));
    assert.equal(changes[0], 'device created');
    await bob.apply(bobDevice('one'));
    for (const address of ['10.99.0.2', 'fd99::2']) {
      const echo = spaces.get('bob').spawnScript(PROBE, 'serve', address, '7000');
      await echo.line();
      const rtt = JSON.parse(
        await spaces.get('alice').runScript(PROBE, 'rtt', address, '7000', '5', '20'),
      );
      assert.equal(rtt.received, 5);
      await echo.stop();
    }
    const seen = await bob.read(bobDevice('one').name);
    const [peer] = seen?.peers.values() ?? [];
    assert.ok(peer && peer.lastHandshake > 0 && peer.rxBytes > 0n);
    assert.equal(peer.endpoint, `${spaces.get('alice').address}:51820`);
  });

  it('tells handshakes and moves while they happen, where the program is the own one', async function () {
    if (!existsSync(join(TOOLS, 'bin/kelmesh-dataplane')))
      skip(this, 'the data-plane program is not built here: no Go toolchain');
    const { name } = bobDevice('one');
    const events: DeviceEvent[] = [];
    const { promise: complete, resolve: isComplete } = Promise.withResolvers<void>();
    const news: (() => void)[] = [];
    using _watch = await bob.watch(name, (event) => {
      events.push(event);
      if (event.kind === 'complete') isComplete();
      for (const wake of news.splice(0)) wake();
    });
    await complete;
    const [before] = events;
    assert.ok(before?.kind === 'peer' && before.lastHandshake > 0);
    const until = async (wanted: (event: DeviceEvent) => boolean): Promise<void> => {
      while (!events.some(wanted)) await new Promise<void>((resolve) => news.push(resolve));
    };
    await alice.rekey(aliceDevice('one').name, Secret.take(randomBytes(32)));
    const echo = spaces.get('bob').spawnScript(PROBE, 'serve', '10.99.0.2', '7002');
    await echo.line();
    const rtt = () => spaces.get('alice').runScript(PROBE, 'rtt', '10.99.0.2', '7002', '3', '20');
    await rtt();
    const renewed =
      ({ lastHandshake }: { lastHandshake: number }) =>
      (event: DeviceEvent) =>
        event.kind === 'peer' && event.lastHandshake > lastHandshake;
    await until(renewed(before));
    // One that is asked for, without a packet: WireGuard begins none within 5 s of the last.
    const asked = () => alice.beginHandshake?.(aliceDevice('one').name, publicKeyOf('bob'));
    const last = events.findLast((event) => event.kind === 'peer');
    assert.ok(last?.kind === 'peer');
    const end = Date.now() + 20_000;
    while (!events.some(renewed(last)) && Date.now() < end) {
      assert.equal(await asked(), true);
      await sleep(250);
    }
    assert.ok(events.some(renewed(last)));
    const moved = `${spaces.get('alice').address}:51999`;
    await alice.apply({ ...aliceDevice('one'), listenPort: 51999 });
    await rtt();
    await until((event) => event.kind === 'peer' && event.endpoint === moved);
    await alice.apply(aliceDevice('one'));
    await rtt();
    await echo.stop();
  });

  it('changes nothing when it is applied again', async () => {
    assert.deepEqual(await alice.apply(aliceDevice('one')), []);
    assert.deepEqual(await bob.apply(bobDevice('one')), []);
  });

  it('changes a preshared key in place without losing a datagram', async () => {
    const echo = spaces.get('bob').spawnScript(PROBE, 'serve', '10.99.0.2', '7001');
    await echo.line();
    const stream = spaces
      .get('alice')
      .spawnScript(PROBE, 'stream', '10.99.0.2', '7001', '200', '2');
    await stream.line((line) => line === 'streaming');
    assert.deepEqual(await alice.apply(aliceDevice('two')), ['1 preshared keys changed']);
    assert.deepEqual(await bob.apply(bobDevice('two')), ['1 preshared keys changed']);
    const [, json = ''] = (await stream.finished()).split('\n');
    assert.deepEqual(JSON.parse(json), { sent: 400, lost: [], duplicated: [] });
    await echo.stop();
    const shown = async (label: string, name: string) =>
      (await spaces.get(label).exec('wg', 'show', name, 'preshared-keys')).split('\t')[1];
    assert.equal(
      await shown('alice', aliceDevice('two').name),
      await shown('bob', bobDevice('two').name),
    );
  });

  it('is taken over by a driver that knows nothing of it', async () => {
    const again = await driver('alice');
    const { name } = aliceDevice('two');
    assert.equal((await again.read(name))?.peers.size, 1);
    assert.deepEqual(await again.apply(aliceDevice('two')), []);
    assert.deepEqual(await again.list(`k${id}`), [name]);
  });

  it('leaves no process, interface or file when it is removed', async () => {
    const { name } = aliceDevice('two');
    await alice.remove(name);
    await alice.remove(name);
    assert.equal(await alice.read(name), undefined);
    assert.deepEqual(await alice.list(''), []);
    assert.deepEqual(await readdir(join(stateDir, 'alice')), []);
    for (const socket of ['sock', 'events', 'probes'])
      assert.equal(existsSync(`/var/run/wireguard/${name}.${socket}`), false);
    assert.doesNotMatch(await spaces.get('alice').exec('ip', 'link'), new RegExp(name));
  });
});

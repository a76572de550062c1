/** What every tunnel driver promises: in memory, over the userspace programs, and with the commands of the kernel's driver. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { type RunCommand, runCommand } from '#src/wireguard/command';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import { createKernelDriver } from '#src/wireguard/kernel-driver';
import type {
  InterfaceName,
  TunnelDriver,
  UdpEndpoint,
  WireGuardKey,
} from '#src/wireguard/tunnel-driver';
import { formatBase64Key, parseInterfaceName, parseUdpEndpoint } from '#src/wireguard/values';
import { RecordingTunnelDriver } from '../support/doubles/recording-tunnel-driver.ts';
import { deviceOf, peerOf, publicKeyOf, secretOf } from '../support/kit/devices.ts';
import {
  createNamespaces,
  type Namespaces,
  namespacesUnavailable,
} from '../support/machines/namespace.ts';
import { skip } from '../support/skip.ts';

const TOOLS = new URL('../../.tools', import.meta.url).pathname;

interface Harness {
  readonly driver: TunnelDriver;
  /** A driver of the same devices that remembers nothing. */
  again(): Promise<TunnelDriver>;
  /** The endpoint of a peer changes without the driver, as by roaming. */
  roam(name: InterfaceName, key: WireGuardKey, endpoint: UdpEndpoint): Promise<void>;
  close(): Promise<void>;
}

async function recording(): Promise<Harness> {
  const driver = new RecordingTunnelDriver();
  return {
    driver,
    again: async () => driver.restarted(),
    roam: async (name, key, endpoint) => driver.roam(name, key, endpoint),
    close: async () => undefined,
  };
}

async function withNamespace(
  make: (stateDir: string, namespace: string) => Promise<TunnelDriver>,
): Promise<Harness> {
  const stateDir = await mkdtemp(join(tmpdir(), 'kelmesh-contract-'));
  let spaces: Namespaces | undefined;
  try {
    spaces = await createNamespaces(['one'], { bridge: false });
    const space = spaces.get('one');
    const owner = spaces;
    return {
      driver: await make(stateDir, space.name),
      again: () => make(stateDir, space.name),
      async roam(name, key, endpoint) {
        await space.exec('wg', 'set', name, 'peer', formatBase64Key(key), 'endpoint', endpoint);
      },
      async close() {
        await owner.destroy();
        await rm(stateDir, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await spaces?.destroy();
    await rm(stateDir, { recursive: true, force: true });
    throw error;
  }
}

const userspace =
  (program?: string) =>
  (stateDir: string, namespace: string): Promise<TunnelDriver> =>
    chooseTunnelDriver({
      preference: 'userspace',
      stateDir,
      toolsDir: TOOLS,
      namespace,
      ...(program === undefined ? {} : { program: join(TOOLS, 'bin', program) }),
    });

/** The real `wg` and `ip`; only the making, naming and deleting of the device is the userspace program's, for kernels without the module. */
async function kernelCommands(stateDir: string, namespace: string): Promise<TunnelDriver> {
  const programs = await userspace()(stateDir, namespace);
  const said = (stdout: string) => ({ status: 0, stdout, stderr: '' });
  const run: RunCommand = async (file, args, input) => {
    const command = args.filter((arg) => arg !== '-n' && arg !== namespace).join(' ');
    const name = /^link (?:add|del) dev (\S+)/.exec(command)?.[1];
    if (name !== undefined && command.startsWith('link add')) {
      await programs.apply(deviceOf({ name, key: 'other', listenPort: 40000 }));
      return said('');
    }
    if (name !== undefined) {
      await programs.remove(parseInterfaceName(name));
      return said('');
    }
    if (command !== '-j link show type wireguard') return runCommand(file, args, input);
    const names = await programs.list('');
    return said(JSON.stringify(names.map((ifname) => ({ ifname }))));
  };
  return createKernelDriver({ stateDir, namespace, run });
}

const drivers: [string, () => Promise<Harness>, boolean][] = [
  ['recording', recording, false],
  ['userspace', () => withNamespace(userspace()), true],
  ...(existsSync(join(TOOLS, 'bin/wireguard-go'))
    ? [
        ['stock wireguard-go', () => withNamespace(userspace('wireguard-go')), true] as [
          string,
          () => Promise<Harness>,
          boolean,
        ],
      ]
    : []),
  ['kernel commands', () => withNamespace(kernelCommands), true],
];

for (const [label, make, isReal] of drivers)
  describe(`tunnel driver: ${label}`, () => {
    const prefix = `k${randomBytes(3).toString('hex')}`;
    const name = parseInterfaceName(`${prefix}-0`);
    const other = parseInterfaceName(`${prefix}-1`);
    const here = '192.0.2.1:51820';
    const away = parseUdpEndpoint('192.0.2.9:4000');
    const full = deviceOf({
      name,
      listenPort: 40001,
      mtu: 1380,
      addresses: ['10.9.0.1/24', 'fd00:9::1/128'],
      routes: ['10.9.1.0/24', 'fd00:9::2/128'],
      peers: [
        peerOf('a', {
          endpoint: here,
          allowedIps: ['10.9.1.1/32', 'fd00:9::2/128'],
          keepalive: 25,
        }),
        peerOf('b', { allowedIps: ['10.9.1.2/32'] }),
      ],
    });
    const [a = peerOf('a'), b = peerOf('b')] = full.peers;
    let harness: Harness;
    let driver: TunnelDriver;

    before(async function () {
      const reason = isReal ? namespacesUnavailable() : undefined;
      if (reason !== undefined) skip(this, reason);
      harness = await make();
      driver = harness.driver;
    });

    after(async () => {
      for (const device of (await driver?.list(prefix)) ?? []) await driver.remove(device);
      await harness?.close();
    });

    it('knows nothing of a device that does not exist', async () => {
      assert.equal(await driver.read(name), undefined);
      assert.equal(await driver.peers(name), undefined);
      assert.equal(await driver.drops(name), undefined);
      await driver.remove(name);
      assert.deepEqual(await driver.list(prefix), []);
    });

    it('creates a device as desired', async () => {
      assert.equal((await driver.apply(full))[0], 'device created');
      const state = await driver.read(name);
      assert.ok(state);
      assert.equal(state.publicKey, publicKeyOf('device'));
      assert.equal(state.listenPort, 40001);
      assert.equal(state.mtu, 1380);
      assert.deepEqual([...state.addresses].sort(), [...full.addresses].sort());
      assert.deepEqual([...state.routes].sort(), [...full.routes].sort());
      const peer = state.peers.get(a.publicKey);
      assert.ok(peer);
      assert.ok(peer.presharedKey.equals(a.presharedKey));
      assert.equal(peer.endpoint, here);
      assert.equal(peer.keepalive, 25);
      assert.deepEqual([...peer.allowedIps].sort(), [...a.allowedIps].sort());
      assert.equal(peer.lastHandshake, 0);
      assert.equal(state.peers.get(b.publicKey)?.endpoint, undefined);
      assert.deepEqual(await driver.list(prefix), [name]);
    });

    it('tells the peers alone as it does with the rest', async () => {
      const peers = await driver.peers(name);
      assert.deepEqual(peers, (await driver.read(name))?.peers);
      assert.deepEqual([...(peers?.keys() ?? [])].sort(), [a.publicKey, b.publicKey].sort());
      assert.ok(peers?.get(a.publicKey)?.presharedKey.equals(a.presharedKey));
    });

    it('tells how many packets it has dropped', async () => {
      const { rx = -1, tx = -1 } = (await driver.drops(name)) ?? {};
      assert.ok(Number.isSafeInteger(rx) && rx >= 0 && Number.isSafeInteger(tx) && tx >= 0);
    });

    it('changes nothing the second time', async () => {
      assert.deepEqual(await driver.apply(full), []);
    });

    it('changes only what differs', async () => {
      const peers = [{ ...a, presharedKey: secretOf('psk next') }, b];
      assert.deepEqual(await driver.apply({ ...full, peers }), ['1 preshared keys changed']);
      assert.deepEqual(await driver.apply({ ...full, mtu: 1400 }), [
        '1 preshared keys changed',
        'MTU 1400',
      ]);
      assert.deepEqual(await driver.apply(full), ['MTU 1380']);
    });

    it('moves an allowed IP from one peer to another, and back', async () => {
      const moved = [
        { ...a, allowedIps: a.allowedIps.slice(0, 1) },
        { ...b, allowedIps: [...b.allowedIps, ...a.allowedIps.slice(1)] },
      ];
      assert.deepEqual(await driver.apply({ ...full, peers: moved }), [
        '1 peers with changed allowed IPs',
      ]);
      const state = await driver.read(name);
      assert.deepEqual(state?.peers.get(a.publicKey)?.allowedIps, moved[0]?.allowedIps);
      assert.equal(state?.peers.get(b.publicKey)?.allowedIps.length, 2);
      await driver.apply(full);
      assert.deepEqual(await driver.apply(full), []);
    });

    it('changes peers alone', async () => {
      const peers = [
        { ...a, allowedIps: [] },
        { ...b, allowedIps: [...b.allowedIps, ...a.allowedIps] },
      ];
      const changes = await driver.applyPeers({ ...full, mtu: 1300, routes: [], peers });
      assert.deepEqual(changes, ['1 peers with changed allowed IPs']);
      const state = await driver.read(name);
      assert.deepEqual([state?.mtu, state?.routes.length], [full.mtu, full.routes.length]);
      assert.equal(state?.peers.get(b.publicKey)?.allowedIps.length, 3);
      await driver.apply(full);
      assert.equal(await driver.applyPeers({ ...full, name: other }), undefined);
    });

    it('takes an allowed IP away, and gives another', async () => {
      const allowedIps = [
        ...a.allowedIps.slice(1),
        ...deviceOf({ routes: ['10.9.3.0/24'] }).routes,
      ];
      await driver.apply({ ...full, peers: [{ ...a, allowedIps }, b] });
      const peer = (await driver.read(name))?.peers.get(a.publicKey);
      assert.deepEqual([...(peer?.allowedIps ?? [])].sort(), [...allowedIps].sort());
      await driver.apply(full);
    });

    it('never writes the same desired endpoint over a roamed one', async () => {
      await harness.roam(name, a.publicKey, away);
      assert.deepEqual(await driver.apply(full), []);
      assert.equal((await driver.read(name))?.peers.get(a.publicKey)?.endpoint, away);
      const endpoint = parseUdpEndpoint('192.0.2.2:51820');
      const change = await driver.apply({ ...full, peers: [{ ...a, endpoint }, b] });
      assert.deepEqual(change, ['1 endpoints changed']);
      await driver.apply(full);
    });

    it('goes by what it finds when it remembers nothing', async () => {
      const fresh = await harness.again();
      assert.deepEqual(await fresh.apply(full), []);
      await harness.roam(name, a.publicKey, away);
      const restarted = await harness.again();
      assert.deepEqual(await restarted.apply(full), ['1 endpoints changed']);
    });

    it('removes and adds peers', async () => {
      assert.deepEqual(await driver.apply({ ...full, peers: [a] }), ['1 peers removed']);
      assert.deepEqual(await driver.apply(full), ['1 peers added']);
    });

    it('changes addresses and routes', async () => {
      const changed = deviceOf({ name, addresses: ['10.9.0.7/24'], routes: ['fd00:9::/64'] });
      const { addresses, routes } = changed;
      await driver.apply({ ...full, addresses, routes });
      const state = await driver.read(name);
      assert.deepEqual(state?.addresses, addresses);
      assert.deepEqual(state?.routes, routes);
      await driver.apply(full);
      assert.deepEqual(await driver.apply(full), []);
    });

    it('sets another private key in place', async () => {
      const rekeyed = deviceOf({ key: 'device 2' });
      const { privateKey } = rekeyed;
      assert.deepEqual(await driver.apply({ ...full, privateKey }), ['private key set']);
      assert.equal((await driver.read(name))?.publicKey, publicKeyOf('device 2'));
      await driver.apply(full);
    });

    it('is as it was after a handshake was asked for, also with nobody', async () => {
      for (const who of [a.publicKey, b.publicKey, publicKeyOf('device')])
        await driver.beginHandshake?.(name, who);
      assert.notEqual(await driver.beginHandshake?.(other, a.publicKey), true);
      assert.deepEqual(await driver.apply(full), []);
    });

    it('is as it was after a forced handshake', async () => {
      await driver.rekey(name, secretOf('throw away'));
      assert.equal((await driver.read(name))?.publicKey, publicKeyOf('device'));
      assert.deepEqual(await driver.apply(full), []);
      await driver.rekey(other, secretOf('throw away'));
    });

    it('refuses a peer without a preshared key and changes nothing', async () => {
      const zero = secretOf('zero');
      zero.expose().fill(0);
      const bad = { ...full, mtu: 1300, peers: [{ ...a, presharedKey: zero }] };
      await assert.rejects(driver.apply(bad), { code: 'WIREGUARD_NO_PSK' });
      assert.deepEqual(await driver.apply(full), []);
    });

    it('gives a route an MTU of its own, another one, and none', async () => {
      const [first] = full.routes;
      assert.ok(first !== undefined);
      await driver.apply(full);
      for (const mtu of [1200, 1216]) {
        const changes = await driver.apply({ ...full, routeMtus: new Map([[first, mtu]]) });
        assert.deepEqual(changes, [`route ${first} added, MTU ${mtu}`]);
        assert.deepEqual(
          await driver.apply({ ...full, routeMtus: new Map([[first, mtu]]) }),
          [],
          'twice changes nothing',
        );
      }
      assert.deepEqual(await driver.apply(full), [`route ${first} added`]);
      assert.deepEqual(await driver.apply(full), []);
    });

    it('hands a route to another device and does not fight for it', async () => {
      const [taken, kept] = full.routes;
      assert.ok(taken && kept);
      const second = deviceOf({ name: other, key: 'other', listenPort: 40002 });
      await driver.apply({ ...second, routes: [taken] });
      assert.deepEqual((await driver.read(name))?.routes, [kept]);
      assert.deepEqual(await driver.apply(full), []);
      assert.deepEqual((await driver.read(other))?.routes, [taken]);
      await driver.apply({ ...full, routes: [kept] });
      assert.deepEqual((await driver.read(other))?.routes, [taken]);
      await driver.apply(full);
      assert.deepEqual((await driver.read(other))?.routes, []);
    });

    it('puts back a route that fell away with the device that took it', async () => {
      const second = deviceOf({ name: other, key: 'other', listenPort: 40002 });
      await driver.apply(second);
      await driver.apply({ ...second, routes: full.routes });
      assert.deepEqual(await driver.apply(full), []);
      await driver.remove(other);
      assert.equal((await driver.apply(full)).length, 2);
    });

    it('says which port is in use and leaves no half device behind', async () => {
      const clash = deviceOf({ name: other, key: 'other', listenPort: full.listenPort });
      await assert.rejects(driver.apply(clash), { code: 'WIREGUARD_PORT_IN_USE' });
      assert.equal(await driver.read(other), undefined);
      assert.deepEqual(await driver.list(prefix), [name]);
    });

    it('comes back from a port that is in use', async () => {
      await driver.apply(deviceOf({ name: other, key: 'other', listenPort: 40002 }));
      await assert.rejects(driver.apply({ ...full, peers: [b], listenPort: 40002 }), {
        code: 'WIREGUARD_PORT_IN_USE',
      });
      // The port did not hold up the removal of a peer.
      assert.deepEqual([...((await driver.read(name))?.peers.keys() ?? [])], [b.publicKey]);
      await driver.apply(full);
      assert.equal((await driver.read(name))?.listenPort, 40001);
      await driver.remove(other);
    });

    it('applies one at a time', async () => {
      const psk = (text: string) => ({
        ...full,
        peers: [{ ...a, presharedKey: secretOf(text) }, b],
      });
      await Promise.all([driver.apply(psk('x')), driver.apply(psk('y')), driver.apply(full)]);
      assert.deepEqual(await driver.apply(full), []);
    });

    it('removes a device', async () => {
      await driver.remove(name);
      await driver.remove(name);
      assert.equal(await driver.read(name), undefined);
      assert.equal(await driver.peers(name), undefined);
      assert.deepEqual(await driver.list(prefix), []);
    });
  });

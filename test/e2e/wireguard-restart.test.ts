/** What outlives what: the tunnel its agent, the driver its program, the roamed endpoint the configuration. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import type { DesiredDevice, TunnelDriver } from '#src/wireguard/tunnel-driver';
import { deviceOf, peerOf, publicKeyOf } from '../support/kit/devices.ts';
import {
  createNamespaces,
  type Namespaces,
  namespacesUnavailable,
} from '../support/machines/namespace.ts';
import { skip } from '../support/skip.ts';

const PROBE = new URL('../support/machines/probe-process.ts', import.meta.url);
const AGENT = new URL('../support/machines/tunnel-process.ts', import.meta.url);
const TOOLS = new URL('../../.tools', import.meta.url).pathname;
const id = randomBytes(3).toString('hex');
const [nameA, nameB] = [`k${id}a`, `k${id}b`];

describe('a tunnel and what happens around it', () => {
  let spaces: Namespaces;
  let stateDir: string;
  let bob: TunnelDriver;

  const driver = (label: string) =>
    chooseTunnelDriver({
      preference: 'userspace',
      stateDir: join(stateDir, label),
      toolsDir: TOOLS,
      namespace: spaces.get(label).name,
    });

  const sketchA = () => ({
    name: nameA,
    key: 'alice',
    addresses: ['10.98.0.1/32'],
    routes: ['10.98.0.2/32'],
    peerSketch: {
      psk: 'p',
      endpoint: `${spaces.get('bob').address}:51820`,
      allowedIps: ['10.98.0.2/32'],
    },
  });

  const alice = (listenPort = 51820): DesiredDevice => {
    const { peerSketch, ...sketch } = sketchA();
    return deviceOf({ ...sketch, listenPort, peers: [peerOf('bob', peerSketch)] });
  };

  const bobs = (): DesiredDevice =>
    deviceOf({
      name: nameB,
      key: 'bob',
      addresses: ['10.98.0.2/32'],
      routes: ['10.98.0.1/32'],
      peers: [
        peerOf('alice', {
          psk: 'p',
          endpoint: `${spaces.get('alice').address}:51820`,
          allowedIps: ['10.98.0.1/32'],
        }),
      ],
    });

  const pidOf = async () => Number(await readFile(join(stateDir, 'alice', `${nameA}.pid`), 'utf8'));

  before(async function () {
    const reason = namespacesUnavailable();
    if (reason !== undefined) skip(this, reason);
    stateDir = await mkdtemp(join(tmpdir(), 'kelmesh-restart-'));
    spaces = await createNamespaces(['alice', 'bob'], { bridge: true });
    bob = await driver('bob');
    await bob.apply(bobs());
  });

  after(async () => {
    if (!spaces) return;
    await (await driver('alice')).remove(alice().name);
    await bob.remove(bobs().name);
    await spaces.destroy();
    await rm(stateDir, { recursive: true, force: true });
  });

  it('loses no datagram when the agent is killed, and the next agent takes it over', async () => {
    const device = JSON.stringify({ ...sketchA(), peer: 'bob' });
    const agent = spaces.get('alice').spawnScript(AGENT, join(stateDir, 'alice'), TOOLS, device);
    assert.equal(await agent.line(), 'device created');
    const echo = spaces.get('bob').spawnScript(PROBE, 'serve', '10.98.0.2', '7000');
    await echo.line();
    const stream = spaces
      .get('alice')
      .spawnScript(PROBE, 'stream', '10.98.0.2', '7000', '500', '1');
    await stream.line((line) => line === 'streaming');
    process.kill(agent.pid, 'SIGKILL');
    const next = await driver('alice');
    assert.deepEqual(await next.apply(alice()), []);
    const [, json = ''] = (await stream.finished()).split('\n');
    assert.deepEqual(JSON.parse(json), { sent: 500, lost: [], duplicated: [] });
    await echo.stop();
  });

  it('is found by its command line when a crash came before the pid file', async () => {
    const before = await pidOf();
    await rm(join(stateDir, 'alice'), { recursive: true });
    const next = await driver('alice');
    assert.deepEqual(await next.apply(alice()), []);
    assert.equal(await pidOf(), before);
    assert.deepEqual(await next.list(''), [nameA]);
  });

  it('keeps the roamed endpoint of a live session, also after a restart', async () => {
    const a = await driver('alice');
    assert.deepEqual(await a.apply(alice(51999)), ['listen port 51820 to 51999']);
    const echo = spaces.get('bob').spawnScript(PROBE, 'serve', '10.98.0.2', '7001');
    await echo.line();
    await spaces.get('alice').runScript(PROBE, 'rtt', '10.98.0.2', '7001', '3', '10');
    await echo.stop();
    const moved = `${spaces.get('alice').address}:51999`;
    for (const current of [bob, await driver('bob')]) {
      assert.deepEqual(await current.apply(bobs()), []);
      const peer = (await current.read(bobs().name))?.peers.get(publicKeyOf('alice'));
      assert.equal(peer?.endpoint, moved);
    }
    await a.apply(alice());
  });

  it('is made anew when its program was killed', async () => {
    const a = await driver('alice');
    process.kill(await pidOf(), 'SIGKILL');
    while ((await a.read(alice().name)) !== undefined) await new Promise(setImmediate);
    assert.equal((await a.apply(alice()))[0], 'device created');
    assert.deepEqual(await a.apply(alice()), []);
  });

  it('has a name that is unique on the machine', async () => {
    await assert.rejects(bob.apply({ ...alice(), listenPort: 4000 }), {
      code: 'WIREGUARD_NAME_TAKEN',
    });
    assert.equal(await bob.read(alice().name), undefined);
    assert.equal((await (await driver('alice')).read(alice().name))?.listenPort, 51820);
  });

  it('does not take over an interface of another kind', async () => {
    const dummy = `k${id}d`;
    await spaces.get('bob').exec('ip', 'link', 'add', 'name', dummy, 'type', 'bridge');
    const device = deviceOf({ name: dummy, key: 'other', listenPort: 4000 });
    await assert.rejects(bob.apply(device), { code: 'WIREGUARD_NAME_TAKEN' });
    assert.match(await spaces.get('bob').exec('ip', 'link'), new RegExp(dummy));
  });

  it('keeps no key in its state directory', async () => {
    for (const label of ['alice', 'bob']) {
      const directory = join(stateDir, label);
      for (const file of await readdir(directory)) {
        const text = await readFile(join(directory, file), 'utf8');
        assert.doesNotMatch(text, /[0-9a-f]{64}|[A-Za-z0-9+/]{43}=/);
      }
    }
  });
});

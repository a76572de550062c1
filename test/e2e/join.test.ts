/** The README's way to join two machines, with exactly its commands, on two machines of one network. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it } from 'mocha';
import {
  type Json,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import { withMachines } from '../support/machines/with-machines.ts';

const DEVICE = 'kelmesh0';
const AGENT_LOG = '/var/lib/kelmesh/agent.log';

describe('two machines joined with the commands of the README', () => {
  let a: Machine;
  let b: Machine;
  let ofA: Json;
  let ofB: Json;

  withMachines(['a', 'b'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
    await joinTwoMachines(a, b);
    [ofA, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
  });

  it('know each other by AID, and are members of one charter', () => {
    assert.equal(ofA.peers[0].aid, ofB.aid);
    assert.equal(ofB.peers[0].aid, ofA.aid);
    assert.equal(ofA.mesh.charter, ofB.mesh.charter);
    assert.equal(ofA.mesh.version, 1);
    assert.deepEqual([ofA.interface, ofB.interface], [DEVICE, DEVICE]);
    assert.deepEqual([ofA.peers[0].level, ofB.peers[0].level], ['A', 'A']);
    for (const { psk, agreedAt, path, relay, reasonCode } of [ofA.peers[0], ofB.peers[0]]) {
      assert.deepEqual(psk.sources, ['ml-kem-1024', 'x25519']);
      assert.match(psk.since, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.ok(psk.since >= agreedAt && psk.since <= new Date().toISOString());
      assert.deepEqual([path, relay, reasonCode], ['direct', null, null]);
    }
    assert.equal(ofA.peers[0].proof, ofB.peers[0].proof);
    assert.equal(ofA.peers[0].sn, ofB.sn);
  });

  it('have a handshake and one preshared key, as wg itself shows', async () => {
    const keys = new Set<string>();
    for (const machine of [a, b]) {
      const [handshake, ...others] = await machine.wg(DEVICE, 'latest-handshakes');
      assert.deepEqual(others, []);
      assert.ok(Number(handshake?.[1]) > 0);
      const [preshared] = await machine.wg(DEVICE, 'preshared-keys');
      assert.match(preshared?.[1] ?? '', /^[A-Za-z0-9+/]{43}=$/);
      keys.add(preshared?.[1] ?? '');
    }
    assert.equal(keys.size, 1);
  });

  it('carry datagrams and streams, in both directions', async () => {
    for (const [from, to, at] of [
      [a, b, ofB],
      [b, a, ofA],
    ] as const) {
      const [address] = at.overlay;
      const server = await to.serve(address, 7000);
      const { received } = await from.measure('rtt', address, 7000, 10, 5);
      assert.equal(received, 10);
      assert.ok((await from.measure('throughput', address, 7000, 0.2)) > 0);
      await server.stop();
    }
  });

  it('show a person what is up', async () => {
    const text = await a.ok('status');
    assert.match(text, /peers +1 of 1 up/);
    assert.match(text, /proven/);
    assert.match(await a.ok('peer', 'list'), /^university-b /m);
    assert.match(await b.ok('peer', 'list'), /^hospital-a /m);
  });

  it('tell no WireGuard key in a log, a journal or a result', async () => {
    const keys = new Map<string, Buffer>();
    for (const machine of [a, b]) {
      const [[publicKey = ''] = []] = await machine.wg(DEVICE, 'public-key');
      const [[privateKey = ''] = []] = await machine.wg(DEVICE, 'private-key');
      const [[, presharedKey = ''] = []] = await machine.wg(DEVICE, 'preshared-keys');
      for (const [kind, text] of Object.entries({ publicKey, privateKey, presharedKey }))
        keys.set(`${kind} of ${machine.name}`, Buffer.from(text, 'base64'));
    }
    for (const machine of [a, b]) {
      for (const verb of ['id show', 'peer list', 'mesh show', 'config check', 'status'])
        await machine.json(...verb.split(' '));
      const told = {
        'what kelmesh printed': Buffer.from(machine.printed.join('')),
        'agent.log': Buffer.from(machine.read(AGENT_LOG)),
        'the own log': await exported(machine, ofA.aid),
        'the log of the other': await exported(machine, ofB.aid),
      };
      assert.match(machine.read(AGENT_LOG), /"level":"DEBUG"/);
      for (const [where, bytes] of Object.entries(told))
        for (const [what, key] of keys)
          for (const form of formsOf(key))
            assert.ok(!bytes.includes(form), `${what} stands in ${where} of ${machine.name}`);
    }
  });

  async function exported(machine: Machine, aid: string): Promise<Buffer> {
    const { cesr } = await machine.json('id', 'export', aid);
    const bytes = Buffer.from(cesr, 'base64');
    assert.ok(bytes.length > 500);
    return bytes;
  }

  it('keep the passphrase out of every process and of what is said', async () => {
    for (const machine of [a, b]) {
      const secret = machine.read('/var/lib/kelmesh/secret').trim();
      assert.ok(secret.length >= 32);
      const pid = await machine.agentPid();
      for (const file of ['cmdline', 'environ'])
        assert.ok(!machine.read(`/proc/${pid}/${file}`).includes(secret), file);
      assert.ok(!machine.printed.join('').includes(secret));
      assert.ok(!machine.read(AGENT_LOG).includes(secret));
    }
  });

  it('are left as they were by kelmesh down', async () => {
    for (const machine of [a, b]) {
      assert.equal(existsSync(machine.path('/var/lib/kelmesh/control.sock')), true);
      await machine.ok('down');
      assert.deepEqual(await machine.leftovers(), []);
      assert.equal((await machine.kelmesh('status')).code, 3);
    }
  });
});

/** As it would stand in binary, in hex, and in both kinds of Base64. */
function formsOf(key: Buffer): readonly Buffer[] {
  assert.equal(key.length, 32);
  const hex = key.toString('hex');
  return [
    key,
    Buffer.from(hex),
    Buffer.from(hex.toUpperCase()),
    Buffer.from(key.toString('base64').slice(0, 42)),
    Buffer.from(key.toString('base64url').slice(0, 42)),
  ];
}

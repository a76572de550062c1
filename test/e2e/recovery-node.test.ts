/** docs/recovery.md: a node was stolen. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { configure } from '../support/machines/configured.ts';
import {
  eventually,
  type Json,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import { withMachines } from '../support/machines/with-machines.ts';

const SECRET = '/var/lib/kelmesh/secret';
const APPROVAL = '/var/lib/kelmesh/ward.approval';

describe('recovery: a stolen node', function () {
  this.timeout(90_000);
  /** The organisation of the node. */
  let a: Machine;
  let b: Machine;
  let node: Machine;
  let ward = '';

  withMachines(['a', 'b', 'node'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
    node = machines.get('node');
    configure(a, 'hospital-a');
    configure(b, 'university-b');
    await joinTwoMachines(a, b);
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
    ward = await addNode();
  });

  async function addNode(): Promise<string> {
    const { aid: organisation } = await a.json('id', 'show');
    const { aid } = await node.json(
      ...['node', 'add', 'ward', '--organisation', organisation, '--endpoint', node.address],
      ...['--generate-secret', '--secret-file', SECRET],
    );
    node.append('/etc/kelmesh/kelmesh.toml', '\n[log]\nlevel = "debug"\n');
    const { addresses } = await a.json('status');
    const to = addresses.find((address: string) => address.includes(a.address));
    await node.kelmesh('node', 'request', '--to', to);
    await a.ok('node', 'approve', 'ward', '--out', APPROVAL);
    await node.ok('node', 'request', '--to', to, '--wait');
    await node.ok('mesh', 'join', (await a.ok('mesh', 'invite')).trim());
    await node.ok('up');
    await a.ok('mesh', 'admit', aid, '--name', 'ward', '--yes');
    await eventually('the tunnels of the node are up', async () => {
      const { peers } = await node.json('status');
      return peers.length === 2 && peers.every((peer: Json) => peer.state === 'up');
    });
    return aid;
  }

  async function revocation(): Promise<Json> {
    const { revocations } = await a.json('revoke', 'status');
    return revocations.find((row: Json) => row.who === ward);
  }

  async function hasPeers(machine: Machine, count: number): Promise<void> {
    await eventually(`${machine.name} has ${count} tunnels`, async () => {
      const { interface: device, peers } = await machine.json('status');
      if (device === null) return count === 0;
      const [, ...onDevice] = await machine.wg(device, 'dump');
      return onDevice.length === count && peers.length === count;
    });
  }

  it('is out everywhere at once, and who was away applies it when it is back', async () => {
    const aids = { a: (await a.json('id', 'show')).aid, b: (await b.json('id', 'show')).aid };
    await b.ok('down', '--keep-tunnels');
    const sealed = await a.json(
      'revoke',
      'node',
      ward,
      '--reason',
      'stolen from the ward',
      '--yes',
    );
    assert.deepEqual([sealed.who, sealed.kind, sealed.name], [ward, 'node', 'ward']);
    await eventually('a has applied it', async () => (await revocation()).applied.length === 1);
    const row = await revocation();
    assert.ok(row.applied[0].node === aids.a && row.applied[0].at >= row.sealedAt);
    assert.deepEqual(
      row.missing.map(({ node, name }: Json) => [node, name]),
      [[aids.b, 'university-b']],
    );
    assert.match(row.missing[0].silentSince, /^\d{4}-.*Z$/);
    assert.match(await a.ok('revoke', 'status'), /missing +university-b +last heard /);
    await hasPeers(a, 1);

    await b.ok('up');
    const applied = await eventually('b has applied it', async () => {
      const { applied, missing } = await revocation();
      return missing.length === 0 && applied;
    });
    assert.deepEqual(
      applied.map(({ node }: Json) => node).toSorted(),
      Object.values(aids).toSorted(),
    );
    await Promise.all([hasPeers(a, 1), hasPeers(b, 1)]);
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
  });

  it('gets nothing any more: no session, no agreement, no tunnel', async () => {
    const told = () => node.read('/var/lib/kelmesh/agent.log').split('\n');
    // An agent that goes on as if nothing had been, with the network of before.
    await node.ok('down');
    const before = told().length;
    await node.ok('up');
    await eventually('its sessions are refused', async () =>
      told()
        .slice(before)
        .some((line) => line.includes('"event":"sync.refused"')),
    );
    await hasPeers(node, 0);
    const since = told().slice(before).join('\n');
    assert.doesNotMatch(since, /"event":"(psk.agreed|tunnel.up)"/);
    const { revoked, isMember } = (await node.json('mesh', 'show')).mesh;
    assert.deepEqual([revoked.reason, isMember], ['stolen from the ward', false]);
    for (const machine of [a, b]) {
      const { peers } = await machine.json('status');
      assert.ok(!peers.some(({ name }: Json) => name === 'ward'));
    }
    const again = await a.kelmesh('revoke', 'node', ward, '--reason', 'again', '--yes');
    assert.match(again.stderr, /REVOKE_ALREADY/);
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
  });
});

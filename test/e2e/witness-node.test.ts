/** Witnesses and nodes with the commands of the manual: real agents, real sockets, real tunnels. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
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

/** A rotation is over when the former key has drained: 180 s unless the configuration says less. */
async function shortDrain(machine: Machine): Promise<void> {
  await machine.ok('down');
  await machine.shell("sed -i '/^.tunnel.$/a drain = 2' /etc/kelmesh/kelmesh.toml");
  await machine.ok('up');
}

describe('witnesses and nodes', function () {
  this.timeout(240_000);
  let a: Machine;
  let b: Machine;
  let node: Machine;

  withMachines(
    ['a', 'b', 'node'],
    async (machines) => {
      a = machines.get('a');
      b = machines.get('b');
      node = machines.get('node');
      await joinTwoMachines(a, b);
      for (const machine of [a, b]) await shortDrain(machine);
      await Promise.all([tunnelUp(a), tunnelUp(b)]);
    },
    240_000,
  );

  it('a member is made a witness, and every further event has its receipt', async () => {
    const { aid } = await b.json('witness', 'show');
    const { aid: member } = await b.json('id', 'show');
    const added = await a.json('witness', 'add', member);
    assert.deepEqual(
      added.witnesses.map((witness: Json) => witness.aid),
      [aid],
    );
    assert.equal(added.threshold, 1);
    const status = await tunnelUp(a);
    const [witness] = status.witnesses;
    assert.equal(witness.operator, member);
    assert.deepEqual([witness.connected, witness.sn, witness.lagSeconds], [true, status.sn, 0]);
    assert.equal(status.waiting, null);
    assert.match(await a.ok('status'), /yes +event \d+ +0 s/);
    const seen = await eventually('b holds the event', async () => {
      const { peers } = await b.json('peer', 'list');
      return peers[0].sn === status.sn && peers[0];
    });
    assert.equal(seen.said, status.said);
    assert.ok((await b.json('witness', 'show')).receipts > 0);
  });

  it('without its witness nothing is sealed, and the command says what to do', async () => {
    const { said } = await a.json('id', 'show');
    await b.ok('down');
    const { code, stderr } = await a.kelmesh('id', 'rotate');
    assert.equal(code, 1);
    assert.match(stderr, /IDENTITY_AWAITS_WITNESSES/);
    assert.match(stderr, /witness cut/);
    assert.equal((await a.json('id', 'show')).said, said);
    const [witness] = (await a.json('witness', 'list')).witnesses;
    assert.equal(witness.connected, false);
    await a.ok('witness', 'cut', witness.aid);
    assert.deepEqual((await a.json('id', 'show')).witnesses, []);
    await b.ok('up');
    await tunnelUp(a);
  });

  it('a node is made, approved over the network, joins, and rotates with approval', async () => {
    const { aid: organisation } = await a.json('id', 'show');
    const added = await node.json(
      ...['node', 'add', 'ward', '--organisation', organisation, '--endpoint', node.address],
      ...['--generate-secret', '--secret-file', SECRET],
    );
    const { addresses } = await a.json('status');
    const to = addresses.find((address: string) => address.includes(a.address));
    assert.equal((await node.kelmesh('node', 'request', '--to', to)).code, 1);
    const { nodes } = await a.json('node', 'list');
    assert.deepEqual([nodes[0].aid, nodes[0].name, nodes[0].approved], [added.aid, 'ward', false]);
    await a.ok('node', 'approve', 'ward', '--out', APPROVAL);
    const begun = await node.json('node', 'request', '--to', to, '--wait');
    assert.deepEqual([begun.aid, begun.delegator], [added.aid, organisation]);
    await node.shell("sed -i '/^.tunnel.$/a drain = 2' /etc/kelmesh/kelmesh.toml");
    await node.ok('mesh', 'join', (await a.ok('mesh', 'invite')).trim());
    await node.ok('up');
    await a.ok('mesh', 'admit', added.aid, '--name', 'ward', '--yes');
    await eventually('the tunnels of the node are up', async () => {
      const { peers, rotating } = await node.json('status');
      return !rotating && peers.length === 2 && peers.every((peer: Json) => peer.state === 'up');
    });
    assert.match((await node.kelmesh('id', 'rotate')).stderr, /IDENTITY_AWAITS_DELEGATOR/);
    await eventually('the rotation asks', async () => {
      const [entry] = (await a.json('node', 'list')).nodes;
      return entry.request !== null;
    });
    await a.ok('node', 'approve', 'ward', '--out', APPROVAL);
    const done = await eventually('the node has rotated', async () => {
      const status = await node.json('status');
      return status.waiting === null && !status.rotating && status;
    });
    await eventually('b has the new keys', async () => {
      const { peers } = await b.json('peer', 'list');
      return peers.some((peer: Json) => peer.name === 'ward' && peer.sn >= done.sn);
    });
  });
});

/**
 * Tunnels through routers: who keeps ports gets a way of its own, who does not is relayed by the member with a public address; nobody
 * types more than the README's commands, and `--endpoint` at that member.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { eventually, type Json, type Machine } from '../support/machines/federation.ts';
import {
  createInternet,
  dualStack,
  internetUnavailable,
  type SmallInternet,
} from '../support/machines/small-internet.ts';
import { skip } from '../support/skip.ts';

const BEHIND = ['alba', 'brim', 'cove'] as const;

describe('members behind routers', function () {
  this.timeout(240_000);
  let internet: SmallInternet;

  before(async function () {
    const reason = await internetUnavailable();
    if (reason !== undefined) skip(this, reason);
    internet = await createInternet({
      open: dualStack('quay'),
      routers: [
        { name: 'east', nat: 'keeps-ports', behind: ['alba'] },
        { name: 'west', nat: 'keeps-ports', behind: ['brim'] },
        { name: 'odd', nat: 'per-destination', behind: ['cove'] },
      ],
    });
    const quay = internet.get('quay');
    await quay.ok('init', '--name', 'quay', '--endpoint', quay.address, '--generate-secret');
    await quay.ok('mesh', 'create', 'research');
    quay.append('/etc/kelmesh/kelmesh.toml', '\n[log]\nlevel = "debug"\n');
    await quay.ok('up');
    const line = (await quay.ok('mesh', 'invite')).trim();
    for (const name of BEHIND) {
      const machine = internet.get(name);
      await machine.ok('init', '--name', name, '--generate-secret');
      machine.append('/etc/kelmesh/kelmesh.toml', `\n[log]\nlevel = "debug"\n`);
      const { stderr } = await machine.kelmesh('mesh', 'join', line);
      const aid = /: (E[\w-]{43})\s/.exec(stderr)?.[1] ?? '';
      await machine.ok('up');
      await quay.ok('mesh', 'admit', aid, '--name', name);
    }
  });
  after(async () => {
    await internet?.[Symbol.asyncDispose]();
  });

  it('reach each other where routers keep ports', async () => {
    const alba = await peerOf(internet.get('alba'), 'brim');
    const brim = await peerOf(internet.get('brim'), 'alba');
    assert.deepEqual([alba.path, alba.relay], ['direct', null]);
    assert.deepEqual([brim.path, brim.relay], ['direct', null]);
    assert.equal(alba.endpoint, `${internet.outerAddress('west')}:51820`);
    assert.equal(brim.endpoint, `${internet.outerAddress('east')}:51820`);
  });

  it('are relayed by the public member where one does not', async () => {
    const quay = internet.get('quay');
    for (const other of ['alba', 'brim']) {
      const cove = await peerOf(internet.get('cove'), other);
      assert.deepEqual([cove.path, cove.relay], ['relayed', 'quay']);
      assert.ok(String(cove.endpoint).startsWith(`${quay.address}:`), cove.endpoint);
    }
  });
});

function peerOf(machine: Machine, name: string): Promise<Json> {
  return eventually(
    `the tunnel of ${machine.name} to ${name} is up and proven`,
    async () => {
      const { peers } = await machine.json('peer', 'list');
      const peer = peers.find((one: Json) => one.name === name);
      return peer?.state === 'up' && peer.proof !== null && peer;
    },
    90_000,
  );
}

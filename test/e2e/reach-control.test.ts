/** The control channel of members that no packet from outside reaches: it comes up through a member that has a public address. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import { eventually, type Json, type Machine } from '../support/machines/federation.ts';
import {
  createInternet,
  dualStack,
  internetUnavailable,
  type SmallInternet,
} from '../support/machines/small-internet.ts';
import { skip } from '../support/skip.ts';

describe('the control channel behind address translation', function () {
  this.timeout(60_000);
  let internet: SmallInternet;

  before(async function () {
    this.timeout(240_000);
    const reason = await internetUnavailable();
    if (reason !== undefined) skip(this, reason);
    internet = await createInternet({
      open: dualStack('harbour'),
      routers: [
        { name: 'keeper', nat: 'keeps-ports', behind: ['alba'] },
        { name: 'mixer', nat: 'per-destination', behind: ['brim'] },
        { name: 'strict', nat: 'keeps-ports', behind: ['dune'], letsOut: 'tcp-443' },
      ],
    });
    const harbour = internet.get('harbour');
    await harbour.ok(
      'init',
      '--name',
      'harbour',
      '--endpoint',
      harbour.address,
      '--generate-secret',
    );
    await harbour.ok('mesh', 'create', 'research');
    await harbour.ok('up');
    const line = (await harbour.ok('mesh', 'invite')).trim();
    const join = async (name: string) => {
      const machine = internet.get(name);
      await machine.ok('init', '--name', name, '--generate-secret');
      const { aid } = await machine.json('mesh', 'join', line);
      await machine.ok('up');
      await eventually(`${name} asks to join`, async () => {
        const { knocks } = await harbour.json('status');
        return knocks.some((knock: Json) => knock.aid === aid);
      });
      return { name, aid };
    };
    for (const { name, aid } of await Promise.all(['alba', 'brim', 'dune'].map(join)))
      await harbour.ok('mesh', 'admit', aid, '--name', name);
  });
  after(() => internet?.[Symbol.asyncDispose]());

  const [alba, brim] = [() => internet.get('alba'), () => internet.get('brim')];

  it('comes up through the member that has a public address, which says so', async () => {
    for (const [machine, other] of [
      [alba(), 'brim'],
      [brim(), 'alba'],
    ] as const) {
      const row = await eventually(`${machine.name} is connected with ${other}`, async () => {
        const found = await rowOf(machine, other);
        return found?.connected === true && found;
      });
      deepStrictEqual([row.control.path, row.control.by], ['relayed', 'harbour']);
      const text = await machine.ok('status');
      ok(text.includes('control relayed by harbour'), text);
    }
    const { control } = await rowOf(internet.get('harbour'), 'alba');
    strictEqual(control.path, 'direct');
  });

  it('comes up within TLS where a firewall lets out TCP 443 alone', async () => {
    const row = await eventually('dune is connected with alba', async () => {
      const found = await rowOf(internet.get('dune'), 'alba');
      return found?.connected === true && found;
    });
    deepStrictEqual([row.control.path, row.control.by], ['relayed', 'harbour']);
    const { control } = await rowOf(internet.get('dune'), 'harbour');
    ok(control.address.includes('/tcp/443/tls/'), control.address);
  });

  it('carries the agreement of a key', async () => {
    for (const [machine, other] of [
      [alba(), 'brim'],
      [brim(), 'alba'],
    ] as const)
      await eventually(`${machine.name} has agreed a key with ${other}`, async () => {
        const { reasonCode, state } = await rowOf(machine, other);
        return ['setting-up', 'no-handshake'].includes(reasonCode) || state === 'up';
      });
  });

  it('is back when a machine has moved, because the system has told that it did', async () => {
    const before = alba().read('/var/lib/kelmesh/agent.log').split('underlay.changed').length;
    await internet.move('alba', 'mixer');
    await eventually('the agent has seen that it is somewhere else', async () => {
      const told = alba().read('/var/lib/kelmesh/agent.log').split('underlay.changed').length;
      return told > before;
    });
    // On one LAN now: the relay stands in until the two have found each other there.
    for (const other of ['harbour', 'brim'])
      await eventually(`alba is directly connected with ${other}`, async () => {
        const { control } = await rowOf(alba(), other);
        return control?.path === 'direct';
      });
  });
});

async function rowOf(machine: Machine, name: string): Promise<Json> {
  const { peers } = await machine.json('status');
  return peers.find((peer: Json) => peer.name === name);
}

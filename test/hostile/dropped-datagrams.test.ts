/** A member that drops the datagrams of its tunnels, or falls silent: it must not hold off a rotation of another. Over real WireGuard. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import {
  createMachines,
  eventually,
  type Json,
  type Machine,
  type Machines,
  machinesUnavailable,
} from '../support/machines/federation.ts';
import { skip } from '../support/skip.ts';
import { found, initialise, join, peerRow, upTo } from './support/bad-machine.ts';

/** Datagrams of WireGuard and nothing else, so that the agents hear each other. */
const RULE = 'pref 10 ipproto 17 dport 51820-51823 blackhole';

describe('a member that drops the datagrams of its tunnels', function () {
  this.timeout(180_000);
  let machines: Machines | undefined;
  let honest: Machine;
  let other: Machine;
  let dropper: Machine;
  let aids: readonly string[];
  let otherAid: string;
  let dropperAid: string;

  before(async function () {
    const reason = machinesUnavailable();
    if (reason !== undefined) skip(this, reason);
    machines = await createMachines(['honest', 'other', 'dropper']);
    honest = machines.get('honest');
    other = machines.get('other');
    dropper = machines.get('dropper');
    aids = await initialise([honest, other, dropper]);
    [, otherAid = '', dropperAid = ''] = aids;
    const line = await found(honest);
    await join(honest, other, line);
    await join(honest, dropper, line);
    await upTo(honest, otherAid);
    await upTo(honest, dropperAid);
    const ruled = await dropper.run('sh', '-c', `ip rule add ${RULE}`);
    if (ruled.code !== 0) skip(this, `ip rule cannot drop datagrams here: ${ruled.stderr}`);
  });

  after(() => machines?.[Symbol.asyncDispose]());

  it('holds off no `id rotate`, `rotate tunnel` or `rotate all` of another, nor the tunnels of that one to third ones', async () => {
    const { sn } = await honest.json('id', 'show');
    const { generation } = await peerRow(honest, otherAid);
    await honest.ok('id', 'rotate');
    await honest.ok('id', 'rotate');
    await honest.ok('rotate', 'all', '--yes');
    await honest.ok('rotate', 'tunnel', '--yes');
    assert.ok((await honest.json('id', 'show')).sn >= sn + 4);
    const followed = await eventually('the third one has followed to the newest keys', async () => {
      const row = await upTo(honest, otherAid);
      return row.generation > generation && row;
    });
    assert.equal(followed.state, 'up');
    const { rotations } = await honest.json('rotate', 'status');
    assert.ok(
      rotations.some((row: Json) => row.aid === dropperAid),
      `who has not followed is shown: ${JSON.stringify(rotations)}`,
    );
  });

  it('nor by an agent that is there and says nothing', async () => {
    const pid = await dropper.agentPid();
    process.kill(pid, 'SIGSTOP');
    try {
      const { sn } = await honest.json('id', 'show');
      await honest.ok('id', 'rotate');
      await honest.ok('rotate', 'all', '--yes');
      assert.ok((await honest.json('id', 'show')).sn > sn + 1);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });

  it('and is caught up with when it lets them through again', async () => {
    await dropper.shell(`ip rule del ${RULE}`);
    const now = (await honest.json('id', 'show')).sn;
    await eventually(
      'it has the newest keys, in both directions',
      async () => {
        const [here, there] = [
          await peerRow(honest, dropperAid),
          await peerRow(dropper, aids[0] ?? ''),
        ];
        return (
          here.state === 'up' && there.state === 'up' && here.proof !== null && there.sn === now
        );
      },
      120_000,
    );
  });
});

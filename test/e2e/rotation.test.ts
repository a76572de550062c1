/** What an operator types to change and to revoke keys, on two machines with packets running. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'mocha';
import {
  eventually,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import type { LongRunning } from '../support/machines/namespace.ts';
import { withMachines } from '../support/machines/with-machines.ts';

const PER_SECOND = 200;

describe('rotation by the operator', () => {
  let a: Machine;
  let b: Machine;
  let address = '';
  let server: LongRunning | undefined;

  withMachines(['a', 'b'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
    await joinTwoMachines(a, b);
    const [, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    address = ofB.overlay[0];
    server = await b.serve(address, 7000);
  });

  after(async () => {
    await server?.stop();
  });

  async function streamed(seconds: number, act: () => Promise<void>) {
    const stream = await a.stream(address, 7000, PER_SECOND, seconds);
    await act();
    const [, result = ''] = (await stream.finished()).split('\n');
    return JSON.parse(result) as { sent: number; lost: number[] };
  }

  it('changes the preshared key, proven by a handshake, without losing a packet', async () => {
    const [before] = (await a.json('peer', 'list')).peers;
    const { lost } = await streamed(4, async () => {
      const { pairs } = await a.json('rotate', 'psk', '--prove', '--yes');
      assert.deepEqual([pairs.length, pairs[0].agreed, pairs[0].proven], [1, true, true]);
    });
    assert.deepEqual(lost, []);
    const [now] = (await a.json('peer', 'list')).peers;
    assert.notEqual(now.agreement, before.agreement);
    assert.equal((await b.json('peer', 'list')).peers[0].agreement, now.agreement);
    assert.equal(now.generation, before.generation);
  });

  it('changes the tunnel keys without losing a packet, and shows the steps', async () => {
    const plan = await a.json('rotate', 'tunnel', '--plan');
    assert.deepEqual([plan.obstacle, plan.pairs.length, plan.pairs[0].when], [null, 1, 'now']);
    const { lost } = await streamed(6, async () => {
      const { epoch, kind } = await a.json('rotate', 'tunnel', '--yes');
      assert.deepEqual([kind, epoch], ['tunnel', 1]);
      await eventually('the former key drains', async () => {
        const { rotations } = await a.json('rotate', 'status');
        return rotations.some(
          (row: { kind: string; step: string; deadline: string; since: string }) =>
            row.kind === 'tunnel' && row.step === 'retire' && row.deadline > row.since,
        );
      });
    });
    assert.deepEqual(lost, []);
    assert.equal((await a.json('peer', 'list')).peers[0].generation, 2);
  });

  it('changes them again and again while the former ones drain: each waits a moment for the one before', async () => {
    const { lost } = await streamed(6, async () => {
      for (const expected of [2, 3]) {
        const { epoch } = await a.json('rotate', 'tunnel', '--yes');
        assert.equal(epoch, expected);
      }
      await eventually('the tunnel has followed', async () => {
        return (await a.json('peer', 'list')).peers[0].generation === 4;
      });
    });
    assert.deepEqual(lost, []);
  });

  it('refuses a name that is not in the mesh, and touches nothing', async () => {
    const { sn } = await a.json('id', 'show');
    for (const kind of ['psk', 'tunnel', 'id', 'all']) {
      const result = await a.kelmesh('rotate', kind, '--peer', 'nobody', '--yes', '--json');
      assert.equal(result.code, 1);
      assert.equal(JSON.parse(result.stdout).error.code, 'ROTATION_NOT_A_MEMBER', kind);
    }
    assert.equal((await a.json('id', 'show')).sn, sn);
  });

  it('revokes its keys at once, and sees who has applied it', async () => {
    const { who } = await b.json('revoke', 'epoch', 'current', '--reason', 'a rehearsal', '--yes');
    await eventually('both have acknowledged', async () => {
      const { revocations } = await a.json('revoke', 'status');
      const row = revocations.find((candidate: { who: string }) => candidate.who === who);
      return row?.applied.length === 2 && row.missing.length === 0 && row.reason === 'a rehearsal';
    });
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
    const refused = await a.kelmesh('revoke', 'epoch', who, '--reason', 'not mine', '--json');
    assert.equal(JSON.parse(refused.stdout).error.code, 'REVOKE_NOT_YOURS');
  });
}).timeout(60_000);

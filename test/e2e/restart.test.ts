/** An agent is killed while traffic runs through its tunnel: nothing is lost, and the next one finds everything as it was. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'mocha';
import {
  eventually,
  type Json,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import type { LongRunning } from '../support/machines/namespace.ts';
import { withMachines } from '../support/machines/with-machines.ts';

const DEVICE = 'kelmesh0';
const PER_SECOND = 200;
const SECONDS = 7;

describe('an agent that is killed while packets run', () => {
  let a: Machine;
  let b: Machine;
  let atFirst: Json;
  let server: LongRunning;

  withMachines(['a', 'b'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
    await joinTwoMachines(a, b);
    const [, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    server = await b.serve(ofB.overlay[0], 7000);
    atFirst = await a.json('status');
  });

  after(async () => {
    await server?.stop();
  });

  /** What must survive: who it is, and the tunnel as the device itself shows it. */
  async function state(machine: Machine): Promise<Json> {
    const { aid, sn, said, mesh, overlay, port } = await machine.json('status');
    return {
      ...{ aid, sn, said, mesh, overlay, port },
      device: await machine.wg(DEVICE, 'private-key'),
      presharedKeys: await machine.wg(DEVICE, 'preshared-keys'),
      endpoints: await machine.wg(DEVICE, 'endpoints'),
      allowedIps: await machine.wg(DEVICE, 'allowed-ips'),
    };
  }

  it('loses no packet, and comes back to the same state without a new agreement', async () => {
    const former = await state(a);
    const agentPid = await a.agentPid();
    // The key store's process ends with the agent, as it should.
    const tunnelPids = (await a.processes()).filter((pid) => commandOf(pid).includes(DEVICE));
    assert.ok(tunnelPids.length > 0);
    const [address] = (await b.json('status')).overlay;
    const stream = await a.stream(address, 7000, PER_SECOND, SECONDS);
    process.kill(agentPid, 'SIGKILL');
    await eventually('the agent is gone', async () => !(await a.processes()).includes(agentPid));
    assert.equal((await a.kelmesh('status')).code, 3);
    for (const pid of tunnelPids) assert.ok((await a.processes()).includes(pid));
    await a.ok('up');
    assert.notEqual(await a.agentPid(), agentPid);
    const [, result = ''] = (await stream.finished()).split('\n');
    assert.deepEqual(JSON.parse(result), {
      sent: PER_SECOND * SECONDS,
      lost: [],
      duplicated: [],
    });
    const status = await tunnelUp(a);
    assert.equal(status.agreements, 0);
    assert.equal(status.peers[0].agreement, atFirst.peers[0].agreement);
    assert.equal(status.peers[0].proof, atFirst.peers[0].proof);
    assert.equal(status.peers[0].generation, 1);
    assert.equal(status.auditLeaves, atFirst.auditLeaves);
    assert.deepEqual(await state(a), former);
  });

  it('loses none either when it is stopped for an upgrade and started again', async () => {
    const former = await state(a);
    const [address] = (await b.json('status')).overlay;
    const stream = await a.stream(address, 7000, PER_SECOND, SECONDS);
    await a.ok('down', '--keep-tunnels');
    assert.equal((await a.kelmesh('status')).code, 3);
    await a.ok('up');
    const [, result = ''] = (await stream.finished()).split('\n');
    assert.deepEqual(JSON.parse(result).lost, []);
    const status = await tunnelUp(a);
    assert.equal(status.agreements, 0);
    // The audit log is anchored at a graceful stop: one more event, the same keys.
    const { sn: _sn, said: _said, ...same } = await state(a);
    const { sn: _former, said: _formerSaid, ...wanted } = former;
    assert.deepEqual(same, wanted);
  });

  it('comes back at both ends after both were killed, and packets still run', async () => {
    const pids = [await a.agentPid(), await b.agentPid()];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    const rtt = await a.measure('rtt', atFirst.peers[0].overlay[0], 7000, 5, 5);
    assert.equal(rtt.received, 5);
    await Promise.all([a.ok('up'), b.ok('up')]);
    const [ofA, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    assert.deepEqual([ofA.agreements, ofB.agreements], [0, 0]);
    assert.equal(ofA.peers[0].sn, ofB.sn);
    assert.deepEqual(
      (await a.wg(DEVICE, 'preshared-keys'))[0]?.[1],
      (await b.wg(DEVICE, 'preshared-keys'))[0]?.[1],
    );
  });
}).timeout(60_000);

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
}

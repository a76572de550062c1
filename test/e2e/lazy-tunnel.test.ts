/** A lazy tunnel on two machines with real WireGuard: nothing is agreed until a packet wants to go, and it sleeps again afterwards. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'mocha';
import { eventually, type Json, type Machine } from '../support/machines/federation.ts';
import type { LongRunning } from '../support/machines/namespace.ts';
import { withMachines } from '../support/machines/with-machines.ts';

const CONFIG = '/etc/kelmesh/kelmesh.toml';
const POLICY = '[[edge]]\nbetween = ["*", "*"]\nstart = "lazy"\n';

describe('a lazy tunnel of two machines', function () {
  this.timeout(180_000);
  let a: Machine;
  let b: Machine;
  let server: LongRunning | undefined;

  withMachines(['a', 'b'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
    for (const machine of [a, b]) {
      const name = machine === a ? 'hospital-a' : 'university-b';
      await machine.json(
        'init',
        '--name',
        name,
        '--endpoint',
        machine.address,
        '--generate-secret',
      );
      machine.append(CONFIG, '\n[log]\nlevel = "debug"\n');
      const config = machine.path(CONFIG);
      await machine.shell(`sed -i 's/^\\[tunnel\\]$/[tunnel]\\nlazy-idle = 15/' ${config}`);
    }
    await a.json('mesh', 'create', 'research');
    await a.json('up');
    await a.json('mesh', 'upgrade');
    a.write('/etc/kelmesh/policy.toml', POLICY);
    const set = await a.json('mesh', 'policy', 'set', a.path('/etc/kelmesh/policy.toml'), '--yes');
    assert.deepEqual([set.set, set.comparison.rules.length], [true, 1]);
    const { line } = await a.json('mesh', 'invite');
    const { aid } = await b.json('mesh', 'join', line);
    await b.json('up');
    await a.json('mesh', 'admit', aid, '--name', 'university-b', '--yes');
  });

  after(async () => {
    await server?.stop();
  });

  const peer = async (machine: Machine): Promise<Json> =>
    (await machine.json('peer', 'list')).peers[0];

  const asleep = (...machines: readonly Machine[]): Promise<readonly Json[]> =>
    Promise.all(
      machines.map((machine) =>
        eventually(
          `the tunnel of ${machine.name} sleeps`,
          async () => {
            const it = await peer(machine);
            return it?.reasonCode === 'asleep' && it.interface === null && it;
          },
          90_000,
        ),
      ),
    );

  it('has no agreement from the beginning, and its endpoint on the loopback interface', async () => {
    for (const { level, psk, agreement } of await asleep(a, b))
      assert.deepEqual([level, psk, agreement], [null, null, null]);
    for (const machine of [a, b]) {
      const { interface: device } = await machine.json('status');
      const [endpoint] = await machine.wg(device, 'endpoints');
      assert.match(endpoint?.[1] ?? '', /^127\.0\.0\.1:\d+$/);
    }
  });

  /** From the first packet to the answer. */
  async function answered(from: Machine, to: Machine, port: number): Promise<void> {
    const address = (await peer(from)).overlay[0];
    server = await to.serve(address, port);
    await eventually('an answer through the tunnel', async () => {
      const { received } = await from.measure('rtt', address, port, 5, 2);
      return received > 0;
    });
    await server.stop();
    server = undefined;
  }

  const up = (machine: Machine) =>
    eventually(`the tunnel of ${machine.name} is up`, async () => {
      const it = await peer(machine);
      return it.state === 'up' && it;
    });

  it('comes up at both ends when a packet wants to go, and sleeps again when none does', async () => {
    await answered(a, b, 7_000);
    for (const { level, psk } of await Promise.all([up(a), up(b)]))
      assert.deepEqual([level, psk.sources], ['A', ['ml-kem-1024', 'x25519']]);
    for (const { psk } of await asleep(a, b)) assert.equal(psk, null);
  });

  it('comes up from the other end too, and is awake after a restart where it was up', async () => {
    await answered(b, a, 7_001);
    const before = (await up(b)).agreement;
    await b.json('down', '--keep-tunnels');
    await b.json('up');
    assert.equal((await up(b)).agreement, before);
  });
});

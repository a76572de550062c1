/** What `status` says while a tunnel is not up, at both ends, for causes that are made with the means of the system. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  eventually,
  type Json,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import { withFreshMachines } from '../support/machines/with-machines.ts';
import { skip } from '../support/skip.ts';

describe('the reason why a tunnel is not up, on two machines', function () {
  this.timeout(300_000);
  let a: Machine;
  let b: Machine;

  withFreshMachines(['a', 'b'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
  });

  async function says(machine: Machine, code: string): Promise<string> {
    let last = '';
    try {
      return await eventually(
        `${machine.name} says ${code}`,
        async () => {
          const [peer] = (await machine.json('peer', 'list')).peers;
          last = `${peer?.state} ${peer?.reasonCode} ${peer?.reason}`;
          return peer?.reasonCode === code && peer.reason;
        },
        90_000,
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}; last: ${last}`);
    }
  }

  /** The codes of what doctor calls an error; it says so by its exit code. */
  async function errorsOf(machine: Machine): Promise<readonly string[]> {
    const { code, stdout } = await machine.kelmesh('doctor', '--json');
    const { checks } = JSON.parse(stdout);
    const errors = checks.filter(({ severity }: Json) => severity === 'error');
    assert.equal(code, errors.length > 0 ? 5 : 0);
    for (const { text, cure } of errors) assert.ok(text !== '' && cure !== '');
    return errors.map((check: Json) => check.code);
  }

  it('is the name of the own interface where that is taken, and at the other end that it is so there', async () => {
    await b.shell('ip link add kelmesh0 type veth peer name other0');
    await joinTwoMachines(a, b);
    assert.match(await says(b, 'own-device-failed'), /kelmesh0/);
    assert.match(await says(a, 'peer-device-failed'), /WIREGUARD_NAME_TAKEN/);
    assert.deepEqual(await errorsOf(b), ['own-device-failed']);
    assert.deepEqual(await errorsOf(a), ['peer-device-failed']);
    await b.shell('ip link del kelmesh0');
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
  });

  it('is the UDP port, where datagrams are dropped from the start, and the addresses, where they are lost later', async function () {
    // Only datagrams of WireGuard: the agents hear each other.
    const rule = 'pref 10 ipproto 17 dport 51820-51823 blackhole';
    for (const machine of [a, b]) {
      const ruled = await machine.run('sh', '-c', `ip rule add ${rule}`);
      if (ruled.code !== 0) skip(this, `ip rule cannot drop datagrams here: ${ruled.stderr}`);
    }
    await joinTwoMachines(a, b);
    for (const machine of [a, b])
      assert.match(await says(machine, 'no-handshake'), /a key is agreed.*own UDP port 5182\d/);
    // What a rule keeps from being sent is not counted as sent: then one end alone cannot tell more.
    for (const code of await errorsOf(a)) assert.match(code, /^(udp-blocked|no-handshake)$/);
    for (const machine of [a, b]) await machine.shell(`ip rule del ${rule}`);
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
    assert.deepEqual(await errorsOf(a), []);
    const { lastHandshake } = (await a.json('peer', 'list')).peers[0];
    await b.shell('ip addr flush dev net0');
    await says(b, 'no-address');
    assert.match(await says(a, 'silent'), /nothing has come for \d+ s.*5182\d/);
    // Long before the session ends by itself.
    assert.ok(lastHandshake !== null);
  });

  it('is beside a tunnel that is up the port on which newer keys wait', async function () {
    await joinTwoMachines(a, b);
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
    // A change of keys needs the other ports too.
    const later = 'pref 10 ipproto 17 dport 51821-51823 blackhole';
    for (const machine of [a, b]) {
      const ruled = await machine.run('sh', '-c', `ip rule add ${later}`);
      if (ruled.code !== 0) skip(this, `ip rule cannot drop datagrams here: ${ruled.stderr}`);
    }
    await a.ok('rotate', 'tunnel', '--yes');
    const waiting = await eventually(
      'the port is named on which the change waits',
      async () => {
        const [row] = (await a.json('peer', 'list')).peers;
        return row.change !== null && row;
      },
      90_000,
    );
    assert.equal(waiting.state, 'up');
    assert.equal(waiting.change.reasonCode, 'change-blocked');
    assert.match(waiting.change.reason, /5182[123]/);
  });
});

/** A member that claims another's WireGuard key, over real WireGuard: it must not get, and not keep off, what is sent to the other. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import {
  createMachines,
  eventually,
  type Machine,
  type Machines,
  machinesUnavailable,
} from '../support/machines/federation.ts';
import { skip } from '../support/skip.ts';
import { BadMember, found, initialise, join, peerRow, upTo } from './support/bad-machine.ts';

const PORT = 7_000;
/** Both pairs take turns on the key until one has shaken hands: two turns, and the handshake. */
const TURNS_MS = 120_000;

describe("a member that names another's WireGuard key before the other does", function () {
  this.timeout(TURNS_MS + 120_000);
  let machines: Machines | undefined;
  let bystander: Machine;
  let victim: Machine;
  let thief: Machine;
  let claimer: BadMember | undefined;
  let aids: readonly string[];
  let line: string;
  let key: string;

  before(async function () {
    const reason = machinesUnavailable();
    if (reason !== undefined) skip(this, reason);
    machines = await createMachines(['bystander', 'victim', 'thief']);
    bystander = machines.get('bystander');
    victim = machines.get('victim');
    thief = machines.get('thief');
    aids = await initialise([bystander, victim, thief]);
    line = await found(bystander);
    // A public key is no secret: that it comes to be known is the premise.
    await using revealing = new BadMember(victim);
    key = await revealing.say('reveal');
  });

  after(async () => {
    await claimer?.[Symbol.asyncDispose]();
    await machines?.[Symbol.asyncDispose]();
  });

  /** Who stands under the key on the devices of the bystander: allowed IPs, endpoint, and when it last shook hands. */
  async function standing(): Promise<readonly (readonly string[])[]> {
    const of = async (what: string) => {
      const devices = await bystander.interfaces();
      const rows = await Promise.all(devices.map((device) => bystander.wg(device, what)));
      return rows.map((each) => each.find(([peer]) => peer === key)?.[1] ?? '');
    };
    const [allowed, endpoints, handshakes] = await Promise.all(
      ['allowed-ips', 'endpoints', 'latest-handshakes'].map(of),
    );
    return (allowed ?? [])
      .map((ips, n) => [ips, endpoints?.[n] ?? '', handshakes?.[n] ?? ''])
      .filter(([ips]) => ips !== '');
  }

  /** Wherever the key stands for the thief, nobody has shaken hands with it; where somebody has, it is the victim at its own place. */
  async function expectHolder(overlay: string): Promise<void> {
    const rows = await standing();
    assert.ok(rows.some(([ips, , at]) => ips === `${overlay}/128` && at !== '0'));
    for (const [ips, endpoint = '', at] of rows)
      if (at !== '0') {
        assert.equal(ips, `${overlay}/128`);
        assert.ok(endpoint.startsWith(`${victim.address}:`), endpoint);
      }
  }

  it('stands with it on the devices of others at first, as nobody else names it, and gets nothing by it', async () => {
    const bad = new BadMember(thief);
    claimer = bad;
    await bad.say('claim', key);
    await join(bystander, thief, line, () => bad.say('start', 0));
    await eventually('the claim has arrived', async () => (await standing()).length > 0, 90_000);
    const row = await peerRow(bystander, aids[2] ?? '');
    assert.deepEqual([row.state === 'up', row.proof], [false, null]);
  });

  it('gets no handshake and no packet with it, and its holder has tunnel, proof and traffic', async () => {
    await join(bystander, victim, line);
    const row = await upTo(bystander, aids[1] ?? '', TURNS_MS);
    await upTo(victim, aids[0] ?? '');
    await using served = await serving(victim, row.overlay[0]);
    assert.equal((await bystander.measure('rtt', served.address, PORT, 20, 20)).received, 20);
    await expectHolder(served.address);
    assert.notEqual((await peerRow(bystander, aids[2] ?? '')).state, 'up');
  });

  it('does not take it over later either, by naming it again in new keys while packets run', async () => {
    const [address = ''] = (await peerRow(bystander, aids[1] ?? '')).overlay;
    await using served = await serving(victim, address);
    const stream = await bystander.stream(served.address, PORT, 100, 8);
    await claimer?.say('claim', key);
    const [, result = ''] = (await stream.finished()).split('\n');
    assert.deepEqual((JSON.parse(result) as { lost: readonly number[] }).lost, []);
    await expectHolder(served.address);
    assert.notEqual((await peerRow(bystander, aids[2] ?? '')).state, 'up');
  });

  async function serving(machine: Machine, address: string) {
    const server = await machine.serve(address, PORT);
    return { address, [Symbol.asyncDispose]: () => server.stop() };
  }
});

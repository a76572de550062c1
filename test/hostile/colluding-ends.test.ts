/** Two ends that collude: they date a tunnel between them back, over real WireGuard. They must not move what is said of a third one. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
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
import { BadMember, found, initialise, join, upTo } from './support/bad-machine.ts';

/** More than clocks of honest organisations differ, and less than the five minutes from which on their own keys would not be valid yet. */
const BACK_MS = 285_000;
/** An agreement and a handshake take seconds; on a machine that does much else, many. */
const PATIENCE_MS = 150_000;
/** So that they stay below what one may bring about at the other. */
const RENEW_PAUSE_MS = 5_000;

describe('two members that date a tunnel between them back', function () {
  this.timeout(360_000);
  let machines: Machines | undefined;
  let honest: Machine;
  let pair: readonly Machine[];
  let bad: readonly BadMember[] = [];
  let aids: readonly string[];

  before(async function () {
    const reason = machinesUnavailable();
    if (reason !== undefined) skip(this, reason);
    machines = await createMachines(['honest', 'one', 'two']);
    honest = machines.get('honest');
    pair = [machines.get('one'), machines.get('two')];
    aids = await initialise([honest, ...pair]);
    const line = await found(honest);
    bad = pair.map((machine) => new BadMember(machine));
    for (const [n, machine] of pair.entries())
      await join(honest, machine, line, () => bad[n]?.say('start', 0) ?? Promise.resolve());
    for (const aid of aids.slice(1)) await upTo(honest, aid);
    await eventually('the two have proven their tunnel', () => provenByPair(1));
  });

  after(async () => {
    for (const each of bad) await each[Symbol.asyncDispose]();
    await machines?.[Symbol.asyncDispose]();
  });

  /** Whether both hold so many proofs of the tunnel between them. */
  async function provenByPair(count: number): Promise<boolean> {
    const [one, two] = aids.slice(1);
    const held = [await bad[0]?.say('proofs', two), await bad[1]?.say('proofs', one)];
    return held.every((proofs) => proofs >= count);
  }

  /** The bundle of all, each by its own export, merged and verified where nobody knows the mesh. */
  async function audited(name: string): Promise<{ readonly code: number; readonly report: Json }> {
    let merged: Uint8Array | undefined;
    for (const machine of [honest, ...pair]) {
      const others = merged === undefined ? [] : ['/run/others.kmb'];
      if (merged !== undefined) machine.write('/run/others.kmb', merged);
      await machine.ok('audit', 'export', '--out', `/run/${name}.kmb`, ...others);
      merged = machine.readBytes(`/run/${name}.kmb`);
    }
    const { code, stdout } = await honest.kelmesh(
      ...['audit', 'verify', await given(honest, merged), '--json'],
    );
    return { code, report: JSON.parse(stdout) };
  }

  async function given(machine: Machine, bytes: Uint8Array | undefined): Promise<string> {
    machine.write('/run/all.kmb', bytes ?? new Uint8Array());
    return '/run/all.kmb';
  }

  /** The intervals of the tunnels of the third party, by proof. */
  const ofThird = ({ tunnels }: Json): Json =>
    Object.fromEntries(
      tunnels
        .filter(({ a, b }: Json) => [a.aid, b.aid].includes(aids[0]))
        .map(({ proof, interval }: Json) => [proof, interval]),
    );

  it('are not believed, and the intervals of a third party with each of them stay as they were', async () => {
    for (const each of bad) await each.say('stop');
    const before = await audited('before');
    assert.deepEqual([before.code, before.report.verdict], [0, 'clean']);
    const known = new Set(before.report.tunnels.map(({ proof }: Json) => proof));

    for (const each of bad) await each.say('start', 0);
    // Before they date back: what is signed then is older than what others hold of them, and binds nobody.
    const [one, two] = aids.slice(1);
    await eventually(
      'both are in touch again',
      async () => (await bad[0]?.say('bound', two)) && (await bad[1]?.say('bound', one)),
      PATIENCE_MS,
    );
    for (const each of bad) await each.say('date', -BACK_MS);
    await eventually(
      'a tunnel of the two that is dated back',
      async () => {
        await bad[0]?.say('renew', two);
        await sleep(RENEW_PAUSE_MS);
        return provenByPair(2);
      },
      PATIENCE_MS,
    );
    for (const each of bad) await each.say('date', 0);
    for (const each of bad) await each.say('stop');

    const { code, report } = await audited('after');
    const dated = report.tunnels.filter(({ proof }: Json) => !known.has(proof));
    assert.ok(dated.length > 0, 'a tunnel of the two is in the bundle');
    assert.notEqual(code, 0);
    const told = report.problems.map(({ code: why }: Json) => why);
    assert.ok(told.includes('BUNDLE_TIMES'), told.join());
    const after = ofThird(report);
    for (const [proof, interval] of Object.entries(ofThird(before.report)))
      assert.deepEqual(after[proof], interval);
    const messages = report.problems.map(({ message }: Json) => message).join('\n');
    for (const proof of Object.keys(ofThird(before.report)))
      assert.ok(!messages.includes(proof), messages);
  });
});

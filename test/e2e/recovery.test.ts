/** docs/recovery.md, case by case: stolen keys and what a thief does with them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, describe, it } from 'mocha';
import { configure } from '../support/machines/configured.ts';
import {
  eventually,
  type Json,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import { softHsmProblem } from '../support/machines/softhsm.ts';
import { Thief } from '../support/machines/thief.ts';
import { withMachines } from '../support/machines/with-machines.ts';
import { skip } from '../support/skip.ts';

const NOBODY = `E${'A'.repeat(43)}`;
const LOOT = '/run/loot.cesr';

describe('recovery: a stolen key', function () {
  this.timeout(90_000);
  let a: Machine;
  let b: Machine;
  let hasToken = false;
  let aid = '';
  let thief: Thief | undefined;

  withMachines(['a', 'b'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
    configure(a, 'hospital-a');
    hasToken = (await softHsmProblem()) === undefined;
    configure(b, 'university-b', hasToken ? 'softhsm' : 'sealed-file');
    await joinTwoMachines(a, b);
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
    aid = (await a.json('id', 'show')).aid;
  });

  afterEach(async () => {
    await thief?.close();
    thief = undefined;
  });

  /** What the thief has signed reaches `machine`. @returns the verdict on its one event */
  async function reaches(machine: Machine, message: Uint8Array): Promise<Json> {
    machine.write(LOOT, message);
    const { stdout } = await machine.kelmesh('id', 'import', LOOT, '--json');
    const { outcomes } = JSON.parse(stdout);
    assert.equal(outcomes.length, 1);
    return outcomes[0];
  }

  it('an interaction of the thief gives way to the rotation, and nothing later counts', async () => {
    thief = await Thief.of(a);
    const loot = await thief.interaction();
    assert.equal((await reaches(b, loot.message)).verdict, 'accepted');
    // Its signature is right; what it lacks is the key that the log has committed to.
    const seized = await reaches(b, await thief.rotation());
    assert.deepEqual([seized.verdict, seized.code], ['waiting', 'KEL_AWAITS_NEXT_KEYS']);
    // The victim may have it already, from a session with b.
    assert.match((await reaches(a, loot.message)).verdict, /^(accepted|duplicate)$/);
    await b.ok('down');
    const { keys, foreignEvents } = await a.json('id', 'show');
    assert.equal(foreignEvents, true);
    const refused = await a.kelmesh('mesh', 'admit', NOBODY, '--name', 'mole', '--yes');
    assert.match(refused.stderr, /IDENTITY_AWAITS_RECOVERY/);

    await a.ok('id', 'rotate', '--yes');
    await b.ok('up');
    const rotated = await a.json('id', 'show');
    assert.notDeepEqual(rotated.keys, keys);
    assert.equal(rotated.establishment.sn, loot.sn);
    assert.equal(rotated.foreignEvents, false);
    for (const machine of [a, b])
      await eventually(`${machine.name} has superseded it`, async () => {
        const { events } = await machine.json('id', 'log', aid);
        return events.some((event: Json) => event.said === loot.said && event.superseded);
      });

    for (const after of [thief.state, loot, rotated])
      assert.equal((await reaches(b, (await thief.interaction(after)).message)).verdict, 'refused');
    const [ofA, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    assert.equal(ofB.peers[0].said, ofA.said);
    assert.deepEqual([ofA.suspended, ofB.suspended], [[], []]);
  });

  it('two events at one place suspend the AID until it has rotated and each peer has resolved it', async () => {
    thief = await Thief.of(a);
    const loot = await thief.interaction();
    // The victim writes on, and does not know: both events stand at one place.
    await a.ok('mesh', 'admit', NOBODY, '--name', 'guest', '--yes');
    await a.ok('mesh', 'remove', 'guest');
    const own = await eventually('b has the event of the victim', async () => {
      const [peer] = (await b.json('peer', 'list')).peers;
      return peer.sn >= loot.sn && peer;
    });
    assert.notEqual(own.said, loot.said);
    const verdict = await reaches(b, loot.message);
    assert.deepEqual([verdict.verdict, verdict.code], ['refused', 'KEL_DUPLICITOUS']);
    await eventually('b has taken the tunnel down', async () => {
      const [peer] = (await b.json('status')).peers;
      const [, ...peers] = await b.wg('kelmesh0', 'dump').catch(() => [[]]);
      return peer.state === 'suspended' && peers.length === 0;
    });

    await a.ok('id', 'rotate', '--yes');
    const { establishment } = await a.json('id', 'show');
    await eventually('b has the rotation, though it suspends the AID', async () => {
      const { events } = await b.json('id', 'log', aid);
      return events.some((event: Json) => event.sn === establishment.sn);
    });
    await eventually('the victim holds the evidence', async () => {
      const { evidence } = await a.json('id', 'evidence', 'list');
      return evidence.some((fork: Json) => fork.aid === aid && fork.sn === loot.sn);
    });
    const { evidence } = await b.json('id', 'evidence', 'list');
    assert.deepEqual([evidence.length, evidence[0].suspends], [1, true]);
    await b.ok('id', 'evidence', 'export', aid, '--out', '/run/fork.cesr');
    assert.match(await b.ok('id', 'evidence', 'verify', '/run/fork.cesr'), new RegExp(loot.said));

    await b.ok(
      'id',
      'evidence',
      'resolve',
      aid,
      '--reason',
      'they rotated, and told us by telephone',
    );
    await a.ok('id', 'evidence', 'resolve', aid, '--reason', 'our key was stolen, and is replaced');
    const [ofA, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    assert.deepEqual([ofA.suspended, ofB.suspended], [[], []]);
    // What the stolen key signs now is known to be worth nothing.
    for (const after of [loot, await a.json('id', 'show')])
      await reaches(b, (await thief.interaction(after)).message);
    assert.deepEqual((await b.json('status')).suspended, []);
  });

  it('a state directory from an old backup signs nothing until the later events are here and adopted', async () => {
    await a.ok('down');
    await a.shell('cp -a /var/lib/kelmesh /run/old-state');
    await a.ok('up');
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
    await a.ok('mesh', 'admit', NOBODY, '--name', 'guest', '--yes', '--again');
    await a.ok('mesh', 'remove', 'guest');
    const { sn, said, keys } = await a.json('id', 'show');
    await eventually('b holds what came after the backup', async () =>
      (await b.json('peer', 'list')).peers.some((peer: Json) => peer.sn >= sn),
    );
    await a.ok('down');
    await a.shell('rm -rf /var/lib/kelmesh/* && cp -a /run/old-state/. /var/lib/kelmesh/');

    await a.ok('up');
    const refused = await a.kelmesh('mesh', 'admit', NOBODY, '--name', 'guest', '--yes', '--again');
    assert.match(refused.stderr, /IDENTITY_AWAITS_RECOVERY/);
    await eventually('the later events are here', async () => {
      const { events } = await a.json('id', 'log');
      return events.some((event: Json) => event.said === said);
    });
    assert.equal((await a.json('status')).foreignEvents, true);
    await a.ok('id', 'rotate', '--adopt', '--yes');
    const [ofA, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    assert.deepEqual([ofA.suspended, ofB.suspended], [[], []]);
    const rotated = await a.json('id', 'show');
    assert.notDeepEqual(rotated.keys, keys);
    assert.equal(rotated.foreignEvents, false);
    for (const machine of [a, b]) {
      const { events } = await machine.json('id', 'log', aid);
      assert.ok(events.some((event: Json) => event.said === said && !event.superseded));
    }
  });

  it('a state directory from before a rotation takes the log that a member has exported', async function () {
    if (!hasToken) skip(this, 'SoftHSM is not installed');
    // The token is in the state directory, and is no part of its backup.
    const backUp = 'rm -rf /run/old-state && cp -a /var/lib/kelmesh /run/old-state';
    const restore =
      'cd /var/lib/kelmesh && mv softhsm /run/token && rm -rf ./* && cp -a /run/old-state/. . && rm -rf softhsm && mv /run/token softhsm';
    await b.ok('down');
    await b.shell(backUp);
    await b.ok('id', 'rotate', '--yes');
    await b.ok('up');
    const { aid: ofB, said, sn, keys } = await b.json('id', 'show');
    await eventually('a holds the rotation', async () =>
      (await a.json('peer', 'list')).peers.some((peer: Json) => peer.sn >= sn),
    );
    await b.ok('down');
    await b.shell(restore);
    const refused = await b.kelmesh('up');
    assert.match(refused.stderr, /IDENTITY_CURRENT_KEYS_LOST/);
    assert.match(refused.stderr, /--adopt --log FILE/);

    await a.ok('id', 'export', ofB, '--out', '/run/b.cesr');
    b.write('/run/b.cesr', readFileSync(a.path('/run/b.cesr')));
    await b.ok('id', 'rotate', '--adopt', '--log', '/run/b.cesr', '--yes');
    await b.ok('up');
    const [seenByA] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    assert.deepEqual(seenByA.suspended, []);
    const rotated = await b.json('id', 'show');
    assert.notDeepEqual(rotated.keys, keys);
    const { events } = await a.json('id', 'log', ofB);
    for (const event of [said, rotated.establishment.said])
      assert.ok(events.some((row: Json) => row.said === event && !row.superseded));
  });
});

/**
 * A mesh of two releases: 0.1, taken out of the history of this repository, and this one, as operators have it while they update one
 * after the other. `a` governs and is updated in place, `b` stays with 0.1, `c` is new. `npm run test:releases` adds the way back of the
 * governor's state between two starts, revocations, and what costs more commands.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, describe, it } from 'mocha';
import { configure } from '../support/machines/configured.ts';
import { eventually, type Json, type Machine } from '../support/machines/federation.ts';
import { type Release, releaseUnavailable, takeOutRelease } from '../support/machines/released.ts';
import { withMachines } from '../support/machines/with-machines.ts';

const isLong = process.env['KELMESH_SLOW'] === '1';
const whereLong = isLong ? it : () => undefined;

/** On a machine that does other things; a step takes a few seconds where it does not. */
const SET_UP_MS = 180_000;
const STEP_MS = 120_000;
/** Each look starts a program per machine. */
const LOOK_MS = 500;

const BUNDLES = '/var/lib/bundles';

describe('a mesh of release 0.1 and this one', function () {
  this.timeout(STEP_MS);
  let release: Release | undefined;
  let a: Machine;
  let b: Machine;
  let c: Machine;
  const aids = new Map<Machine, string>();

  withMachines(
    ['a', 'b', 'c'],
    async (machines) => {
      [a, b, c] = [machines.get('a'), machines.get('b'), machines.get('c')];
      release = takeOutRelease();
      for (const machine of [a, b]) machine.installs(release.main);
      await Promise.all([a, b, c].map(init));
      await a.ok('mesh', 'create', 'research');
      await a.ok('up');
      await joined(c, await a.ok('mesh', 'invite'));
    },
    SET_UP_MS,
    releaseUnavailable,
  );
  after(() => release?.[Symbol.dispose]());

  async function init(machine: Machine): Promise<void> {
    configure(machine, `org-${machine.name}`);
    aids.set(machine, (await machine.json('init', '--generate-secret')).aid);
    await machine.run('mkdir', BUNDLES);
  }

  async function joined(machine: Machine, line: string): Promise<void> {
    await machine.ok('mesh', 'join', line.trim());
    await machine.ok('up');
    const aid = aids.get(machine) ?? '';
    await eventually(`${machine.name} asks to join`, async () => {
      const { knocks } = await a.json('mesh', 'show');
      return knocks.some((knock: Json) => knock.aid === aid);
    });
    await a.ok('mesh', 'admit', aid, '--name', `org-${machine.name}`);
  }

  /** Resolves when each pair is up and proven, and knows the last event of the other's log. */
  async function level(...machines: readonly Machine[]): Promise<readonly Json[]> {
    let last = '';
    const look = async () => {
      const all = await Promise.all(machines.map((machine) => machine.json('status')));
      last = JSON.stringify(all.map(({ sn, rotating, peers }) => ({ sn, rotating, peers })));
      const areLevel = all.every((own) =>
        all.every((other) => {
          const peer = own.peers.find(({ aid }: Json) => aid === other.aid);
          return own === other || (!own.rotating && isLevel(peer, other));
        }),
      );
      if (!areLevel) await sleep(LOOK_MS);
      return areLevel && all;
    };
    return eventually('all are level', look, STEP_MS / 2).catch((error: Error) => {
      throw new Error(`${error.message}: ${last}`);
    });
  }

  function isLevel(peer: Json, { sn }: Json): boolean {
    return peer?.state === 'up' && peer.proof !== null && peer.sn === sn;
  }

  async function carries(from: Machine, to: Machine): Promise<void> {
    const [address] = (await to.json('status')).overlay;
    const server = await to.serve(address, 7000);
    const { received } = await from.measure('rtt', address, 7000, 10, 5);
    assert.equal(received, 10, `${from.name} to ${to.name}`);
    await server.stop();
  }

  /** The own evidence, with that of `others`. */
  async function exported(
    machine: Machine,
    name: string,
    ...others: readonly (readonly [Machine, string])[]
  ): Promise<void> {
    const files = others.map(([other, file]) => {
      machine.write(`${BUNDLES}/${file}`, other.readBytes(`${BUNDLES}/${file}`));
      return `${BUNDLES}/${file}`;
    });
    await machine.ok('audit', 'export', '--out', `${BUNDLES}/${name}`, ...files);
  }

  async function verdict(by: Machine, of: Machine, name: string): Promise<Json> {
    by.write(`${BUNDLES}/to-verify.kmb`, of.readBytes(`${BUNDLES}/${name}`));
    const args = ['audit', 'verify', `${BUNDLES}/to-verify.kmb`, '--json'];
    const { stdout, stderr } = await by.kelmesh(...args);
    assert.notEqual(stdout, '', stderr);
    return JSON.parse(stdout);
  }

  async function refused(machine: Machine, ...args: readonly string[]): Promise<Json> {
    const { code, stdout } = await machine.kelmesh(...args, '--json');
    assert.equal(code, 1, stdout);
    return JSON.parse(stdout).error;
  }

  it('a newcomer joins a governor of 0.1 with a line of 0.1, and both sign the tunnel', async () => {
    const [ofA, ofC] = await level(a, c);
    assert.equal(ofA.peers[0].proof, ofC.peers[0].proof);
    assert.deepEqual([ofA.peers[0].level, ofC.peers[0].level], ['A', 'A']);
    await carries(a, c);
  });

  it('either follows the rotation of the other', async () => {
    const before = await level(a, c);
    await Promise.all([a, c].map((machine) => machine.ok('id', 'rotate', '--yes')));
    for (const [n, { sn, peers }] of (await level(a, c)).entries()) {
      assert.ok(sn > before[n].sn);
      assert.notEqual(peers[0].proof, before[n].peers[0].proof);
    }
  });

  whereLong('a revocation of 0.1 is applied here, and acknowledged there', async () => {
    await a.ok('revoke', 'epoch', 'current', '--reason', 'copied', '--yes');
    await eventually('c has acknowledged', async () => {
      const { revocations } = await a.json('revoke', 'status');
      return (
        revocations.length > 0 && revocations.every(({ missing }: Json) => missing.length === 0)
      );
    });
    await level(a, c);
  });

  it('evidence of either verifies with the other, to the same verdict', async () => {
    await exported(a, 'of-a.kmb');
    await exported(c, 'both.kmb', [a, 'of-a.kmb']);
    const [here, there] = await Promise.all([c, a].map((by) => verdict(by, c, 'both.kmb')));
    assert.deepEqual([here.verdict, there.verdict], ['clean', 'clean']);
    assert.deepEqual(proofs(here), proofs(there));
    assert.ok(proofs(here).length >= 2);
    assert.equal((await verdict(c, a, 'of-a.kmb')).verdict, 'incomplete');
    if (!isLong) return;
    await exported(c, 'of-c.kmb');
    await exported(a, 'merged.kmb', [c, 'of-c.kmb']);
    for (const by of [a, c]) assert.equal((await verdict(by, a, 'merged.kmb')).verdict, 'clean');
  });

  const proofs = ({ tunnels }: Json) => tunnels.map(({ proof }: Json) => proof).sort();

  it('the governor is updated in place: its state is taken over, nothing is signed, and the tunnel stays', async () => {
    const [before] = await level(a, c);
    await a.ok('down', '--keep-tunnels');
    a.installs();
    await a.ok('up');
    const [later] = await level(a, c);
    const { format, takenOver, backup, wayBack } = await a.json('state', 'show');
    assert.deepEqual([format, takenOver.from, backup.sn], [2, 1, before.sn]);
    assert.deepEqual(wayBack, { isOpen: true, reason: null });
    assert.equal(later.sn, before.sn);
    assert.equal(later.peers[0].agreedAt, before.peers[0].agreedAt, 'nothing was agreed afresh');
    assert.equal((await refused(a, 'state', 'restore')).code, 'CONTROL_STATE_LOCKED');
  });

  whereLong('and can go back, while the tunnel stays, and forward again', async () => {
    await a.ok('down', '--keep-tunnels');
    const { format } = await a.json('state', 'restore');
    assert.equal(format, 1);
    a.installs(release?.main);
    await a.ok('up');
    await level(a, c);
    await carries(c, a);
    await a.ok('down', '--keep-tunnels');
    a.installs();
    await a.ok('up');
    await level(a, c);
  });

  it('a member of 0.1 joins the governor of this release with a line that 0.1 reads', async () => {
    await joined(b, await a.ok('mesh', 'invite', '--for-release', '0.1'));
    await level(a, b, c);
    await carries(c, b);
    const { code, message } = await refused(a, 'state', 'restore');
    assert.equal(code, 'CONTROL_STATE_NO_WAY_BACK', message);
  });

  whereLong('takes part in its rotations, and revokes keys of its own', async () => {
    await Promise.all([b.ok('id', 'rotate', '--yes'), a.ok('rotate', 'tunnel', '--yes')]);
    await level(a, b, c);
    await b.ok('revoke', 'epoch', 'current', '--reason', 'copied', '--yes');
    await level(a, b, c);
  });

  it('holds the move to records of version 2 up, by its name', async () => {
    const { code, message } = await refused(a, 'mesh', 'upgrade');
    assert.equal(code, 'MESH_NOT_READY');
    assert.match(message, /org-b/);
  });

  it('hears its removal from this release: the tunnels go, and the evidence stays good', async () => {
    await exported(b, 'of-b.kmb');
    await a.ok('mesh', 'remove', 'org-b', '--reason', 'contract ended');
    await eventually('b has no tunnel', async () => (await b.interfaces()).length === 0);
    await exported(a, 'of-a-2.kmb', [b, 'of-b.kmb']);
    await exported(c, 'three.kmb', [a, 'of-a-2.kmb']);
    for (const by of isLong ? [b, c] : [c])
      assert.equal((await verdict(by, c, 'three.kmb')).verdict, 'clean', by.name);
  });

  it('the mesh moves to records of version 2 when all are ready, and what 0.1 signed verifies for ever', async () => {
    const before = await level(a, c);
    const { recordVersion } = await a.json('mesh', 'upgrade');
    assert.equal(recordVersion, 2);
    await eventually('both have new keys, in version 2', async () => {
      const all = await Promise.all([a, c].map((machine) => machine.json('status')));
      return all.every(({ peers }, n) => peers[0].proof !== before[n].peers[0].proof);
    });
    await level(a, c);
    for (const machine of isLong ? [a, c] : [c])
      assert.equal((await verdict(machine, c, 'three.kmb')).verdict, 'clean');
    assert.equal((await refused(a, 'mesh', 'upgrade')).code, 'MESH_UPGRADED');
  });

  whereLong('and 0.1 is refused from then on, with words', async () => {
    await a.ok('mesh', 'admit', aids.get(b) ?? '', '--again', '--name', 'org-b', '--yes');
    await eventually('a says why org-b has no tunnel', async () => {
      const { peers } = await a.json('status');
      const peer = peers.find(({ aid }: Json) => aid === aids.get(b));
      return peer?.reasonCode === 'old-version' && /update/i.test(peer.reason);
    });
  });
});

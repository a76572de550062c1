/** docs/recovery.md, case by case: lost keys, in a sealed file and, where SoftHSM is installed, in a token. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { configure } from '../support/machines/configured.ts';
import { joinTwoMachines, type Machine, tunnelUp } from '../support/machines/federation.ts';
import { softHsmProblem } from '../support/machines/softhsm.ts';
import { withMachines } from '../support/machines/with-machines.ts';
import { skip } from '../support/skip.ts';

const KEY_STORE = '/var/lib/kelmesh/keys.sealed';
const BEFORE = '/run/before.sealed';
const BACKUP = '/run/backup.sealed';
const EVIDENCE = '/run/evidence.cbor';
const NEXT_KEYS = '/var/lib/kelmesh/next.sealed';

const LOSE = fileURLToPath(new URL('../support/machines/key-store-process.ts', import.meta.url));

describe('recovery: lost keys', function () {
  this.timeout(90_000);
  let a: Machine;
  /** Its keys are in a token, where there is one. */
  let b: Machine;
  let hasToken = false;

  withMachines(['a', 'b'], async (machines) => {
    hasToken = (await softHsmProblem()) === undefined;
    a = machines.get('a');
    b = machines.get('b');
    configure(a, 'hospital-a');
    configure(b, 'university-b', hasToken ? 'softhsm' : 'sealed-file');
    await joinTwoMachines(a, b);
    await bothUp();
  });

  /** Tunnels on both sides, each under the newest keys of the other. */
  async function bothUp(): Promise<void> {
    const [ofA, ofB] = await Promise.all([tunnelUp(a), tunnelUp(b)]);
    assert.deepEqual([ofA.suspended, ofB.suspended], [[], []]);
    for (const [machine, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const { establishment } = await machine.json('id', 'show');
      const [held] = (await other.json('peer', 'list')).peers;
      assert.ok(held.sn >= establishment.sn, `${other.name} holds event ${held.sn}`);
    }
  }

  /** The key store loses keys behind the back of Kelmesh. @returns how many are left */
  async function lose(machine: Machine, verb: string, ...names: string[]): Promise<number> {
    const { code, stdout, stderr } = await machine.run(process.execPath, LOSE, verb, ...names);
    assert.equal(code, 0, stderr);
    return Number(stdout);
  }

  async function refuses(machine: Machine, code: string, next: RegExp): Promise<void> {
    const refused = await machine.kelmesh('up');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, new RegExp(code));
    assert.match(refused.stderr, next);
  }

  /** What follows from a rotation that the peer has accepted. */
  async function expectRotated(machine: Machine, keys: readonly string[]): Promise<void> {
    await bothUp();
    const now = await machine.json('id', 'show');
    assert.ok(now.keys.every((key: string) => !keys.includes(key)));
  }

  it('the current key is lost: the next one takes its place', async () => {
    await a.shell(`cp ${KEY_STORE} ${BEFORE}`);
    const { keys } = await a.json('id', 'show');
    await a.ok('down');
    await lose(a, 'destroy', ...keys);
    await refuses(a, 'IDENTITY_CURRENT_KEYS_LOST', /kelmesh id rotate/);
    await a.ok('id', 'rotate', '--yes');
    await a.ok('up');
    await expectRotated(a, keys);
  });

  it('the current key goes from the token while the agent runs', async function () {
    if (!hasToken) skip(this, 'SoftHSM is not installed');
    const { keys } = await b.json('id', 'show');
    await lose(b, 'destroy', ...keys);
    await b.ok('id', 'rotate', '--yes');
    await expectRotated(b, keys);
  });

  it('the key store is lost: its newest backup goes on, an older one says that it cannot', async () => {
    await a.shell(`cp ${KEY_STORE} ${BACKUP}`);
    await a.ok('down');
    await a.shell(`rm ${KEY_STORE}`);
    await refuses(a, 'KEYSTORE_NOT_FOUND', /backup/);
    await a.shell(`cp ${BEFORE} ${KEY_STORE}`);
    await refuses(a, 'IDENTITY_NEXT_KEYS_LOST', /after the last rotation/);
    await a.shell(`cp ${BACKUP} ${KEY_STORE}`);
    const { said } = await a.json('id', 'show');
    await a.ok('up');
    await bothUp();
    assert.ok(
      (await a.json('id', 'log')).events.some((event: { said: string }) => event.said === said),
    );
  });

  it('only the backup of the next keys is left: all else is made anew', async () => {
    const { keys, establishment } = await a.json('id', 'show');
    const backup = await a.json('id', 'backup', NEXT_KEYS);
    assert.deepEqual(
      [backup.file, backup.keys, backup.establishment],
      [NEXT_KEYS, 2, establishment],
    );
    await a.ok('down');
    await a.shell(`cp ${NEXT_KEYS} ${KEY_STORE}`);
    await refuses(a, 'IDENTITY_CURRENT_KEYS_LOST', /kelmesh id rotate/);
    await a.ok('id', 'rotate', '--yes');
    // The backup was of the keys that are current now.
    await a.shell(`cp ${KEY_STORE} ${BACKUP} && cp ${NEXT_KEYS} ${KEY_STORE}`);
    await refuses(a, 'IDENTITY_NEXT_KEYS_LOST', /id backup/);
    await a.shell(`cp ${BACKUP} ${KEY_STORE}`);
    await a.ok('up');
    await expectRotated(a, keys);
    await a.ok('audit', 'export', '--out', EVIDENCE);
    const audited = await a.kelmesh('audit', 'verify', EVIDENCE, '--json');
    const { problems, tunnels } = JSON.parse(audited.stdout);
    // Of the two ends one exported: that is all that is missing.
    assert.deepEqual([audited.code, problems], [6, []]);
    for (const { missing } of tunnels) assert.match(missing.join(), /^dossier-[ab]$/);
  });

  it('only the next keys are left in the token', async function () {
    if (!hasToken) skip(this, 'SoftHSM is not installed');
    const refused = await b.kelmesh('id', 'backup', NEXT_KEYS);
    assert.match(refused.stderr, /KEYSTORE_UNSUPPORTED/);
    const { keys, nextDigests } = await b.json('id', 'show');
    await b.ok('down');
    assert.equal(await lose(b, 'keep', ...nextDigests), nextDigests.length);
    await refuses(b, 'IDENTITY_CURRENT_KEYS_LOST', /kelmesh id rotate/);
    await b.ok('id', 'rotate', '--yes');
    await b.ok('up');
    await expectRotated(b, keys);
  });
});

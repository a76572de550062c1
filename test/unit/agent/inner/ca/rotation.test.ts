import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { describeCa, describeGenerations, exportBundle, initCa } from '#agent/inner/ca/ca';
import { encodeCaFile, encodeCaHeader, parseCaFile } from '#agent/inner/ca/ca-file';
import { issueCertificate, serviceIdentity } from '#agent/inner/ca/issue';
import { planCaRotation } from '#agent/inner/ca/rotation-plan';
import { passphraseKey, unsealCa } from '#agent/inner/ca/sealed-ca';
import { utf8 } from '#src/bytes';
import { seal } from '#src/crypto/aead';
import { parseCaBundle, successionProof } from '#src/mtls/ca-certificate';
import { Secret } from '#src/secret';
import { CrashingSteps, caAt, cheapCost, DAY } from '../../../../support/kit/ca.ts';

const START = Date.UTC(2026, 5, 1);

describe('rotation of the inner CA', () => {
  let root: string;
  let alba: ReturnType<typeof caAt>;

  const issue = (days = 1, ca = alba) => issueCertificate({ ...ca, name: 'records', days });
  const generations = async (ca = alba) => {
    const { state, generations: all } = await describeGenerations(ca.dir);
    return { state, roles: all.map(({ number, role }) => `${number} ${role}`) };
  };
  const bundle = async (ca = alba) => parseCaBundle(await exportBundle(ca.dir, ca.clock));
  const chain = async () => {
    const { cert } = await serviceIdentity(alba.dir, 'records', alba.clock);
    return cert.split(/(?<=-----END CERTIFICATE-----\n)/).map((pem) => new X509Certificate(pem));
  };
  /** Keys in the file, as many as generations, none of them wiped. */
  const keysInFile = async (ca = alba) => {
    const file = parseCaFile(await readFile(join(ca.dir, 'ca.sealed')));
    const keys = unsealCa(file, await passphraseKey(ca.passphrase, file));
    for (const key of keys) assert.ok(key.expose().some((byte) => byte !== 0));
    return keys.length;
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'kelmesh-ca-rotation-'));
    alba = caAt(join(root, 'alba'), START);
    await alba.init('Alba');
  });

  afterEach(async () => {
    await rm(root, { recursive: true, force: true });
  });

  it('prepares a successor with the same name and bounds, and lets others have it', async () => {
    const before = await describeCa(alba.dir);
    assert.deepEqual(await alba.rotate({ step: 'prepare', algorithm: 'ed25519', days: 100 }), [
      'prepare',
    ]);
    assert.deepEqual(await generations(), {
      state: 'prepared',
      roles: ['1 current', '2 successor'],
    });
    const [former, successor] = await bundle();
    assert.deepEqual(former, before);
    assert.ok(successor !== undefined && former !== undefined);
    const { name, domains, ipRanges } = successor;
    assert.deepEqual(
      { name, domains, ipRanges },
      { name: before.name, domains: before.domains, ipRanges: before.ipRanges },
    );
    assert.equal(successor.notAfter, START + 100 * DAY);
    assert.equal(new X509Certificate(successor.pem).publicKey.asymmetricKeyType, 'ed25519');
    assert.ok(successionProof(successor, former, START));
    assert.equal(successionProof(former, successor), undefined);
    assert.equal(await keysInFile(), 2);
    await issue();
    assert.equal((await chain())[0]?.verify(new X509Certificate(former.pem).publicKey), true);
  });

  it('keeps life and algorithm of the CA in force, unless it is told otherwise', async () => {
    const before = { days: 100, algorithm: 'ed25519' } as const;
    const bern = caAt(join(root, 'bern'), START);
    await initCa({ ...bern, name: 'Bern', domain: 'bern.example', cost: cheapCost, ...before });
    const lifeOf = ({ notBefore, notAfter }: { notBefore: number; notAfter: number }) =>
      notAfter - notBefore;
    const [former] = await bundle(bern);
    await bern.rotate({ step: 'prepare' });
    const [, successor] = await bundle(bern);
    assert.ok(former !== undefined && successor !== undefined);
    assert.equal(lifeOf(successor), lifeOf(former));
    assert.equal(new X509Certificate(successor.pem).publicKey.asymmetricKeyType, 'ed25519');
  });

  it('issues from the successor once it is active, with the cross certificate in the chain', async () => {
    await alba.rotate();
    assert.deepEqual(await generations(), { state: 'activated', roles: ['1 former', '2 current'] });
    await issue();
    const [former, current] = await bundle();
    const [leaf, cross, ...rest] = await chain();
    assert.equal(rest.length, 0);
    assert.equal(leaf?.verify(new X509Certificate(current?.pem ?? '').publicKey), true);
    assert.equal(cross?.verify(new X509Certificate(former?.pem ?? '').publicKey), true);
    assert.equal(cross?.publicKey.equals(new X509Certificate(current?.pem ?? '').publicKey), true);
    const { trust } = await serviceIdentity(alba.dir, 'records', alba.clock);
    assert.deepEqual(trust, [current?.pem, former?.pem]);
  });

  it('takes what is due, and nothing when nothing is', async () => {
    const { notAfter } = await issue(3);
    assert.deepEqual(await alba.rotate(), ['prepare', 'activate']);
    assert.deepEqual(await alba.rotate(), []);
    const { deadline } = await planCaRotation(alba.dir, {}, alba.clock);
    assert.equal(deadline, notAfter);
    await assert.rejects(alba.rotate({ step: 'retire' }), { code: 'CA_NOT_DUE' });
    await alba.clock.advance(3 * DAY - 1);
    assert.deepEqual(await alba.rotate(), []);
    await alba.clock.advance(1);
    assert.deepEqual(await alba.rotate(), ['retire']);
    assert.deepEqual(await generations(), { state: 'stable', roles: ['2 current'] });
    assert.deepEqual(await alba.rotate({ step: 'retire' }), []);
  });

  it('waits for the certificate that lasts longest, not for the last one', async () => {
    const long = await issue(30);
    await issue(1);
    await alba.rotate();
    await issue(20);
    const { deadline } = await planCaRotation(alba.dir, {}, alba.clock);
    assert.equal(deadline, long.notAfter);
  });

  it('retires: out of the bundle, key erased, a receipt; the cross certificate goes on', async () => {
    const former = await describeCa(alba.dir);
    await alba.rotate();
    await alba.clock.advance(60_000);
    await alba.rotate();
    const [current, ...more] = await bundle();
    assert.equal(more.length, 0);
    assert.notEqual(current?.fingerprint, former.fingerprint);
    assert.ok(current !== undefined && successionProof(current, former, alba.clock.now()));
    assert.equal(await keysInFile(), 1);
    const { retired } = await describeGenerations(alba.dir);
    assert.deepEqual(retired, [
      {
        number: 1,
        fingerprint: former.fingerprint,
        preparedAt: START,
        activatedAt: START,
        retiredAt: START + 60_000,
        why: 'due',
      },
    ]);
    assert.equal(await readFile(join(alba.dir, 'ca.pem'), 'utf8'), current?.pem);
  });

  it('leaves the cross certificate away once it has run out with the former CA', async () => {
    await alba.clock.advance(700 * DAY);
    await alba.rotate();
    assert.equal((await bundle())[1]?.crosses[0]?.notAfter, START + 730 * DAY);
    await alba.clock.advance(30 * DAY);
    const [current, ...more] = await bundle();
    assert.equal(more.length, 0);
    assert.deepEqual(current?.crosses, []);
    await issue();
    assert.deepEqual((await chain())[1]?.toString().trim(), current?.pem.trim());
  });

  it('goes back step by step until the former CA is retired', async () => {
    const first = await describeCa(alba.dir);
    await alba.rotate();
    await issue(2);
    assert.deepEqual(await alba.rotate({ step: 'undo' }), ['undo']);
    assert.deepEqual(await generations(), {
      state: 'prepared',
      roles: ['1 current', '2 successor'],
    });
    await assert.rejects(alba.rotate({ step: 'undo' }), { code: 'CA_NOT_DUE' });
    await alba.clock.advance(2 * DAY);
    assert.deepEqual(await alba.rotate({ step: 'undo' }), ['undo']);
    assert.deepEqual(await bundle(), [first]);
    assert.equal(await keysInFile(), 1);
    const { retired } = await describeGenerations(alba.dir);
    assert.deepEqual(
      retired.map(({ number, why }) => ({ number, why })),
      [{ number: 2, why: 'undone' }],
    );
    await alba.rotate({ step: 'prepare' });
    assert.deepEqual((await generations()).roles, ['1 current', '3 successor']);
  });

  it('refuses steps that make no sense where it stands, and changes nothing', async () => {
    const refused = async (
      code: string,
      ...steps: readonly ('prepare' | 'activate' | 'retire' | 'undo')[]
    ) => {
      const before = await readFile(join(alba.dir, 'ca.sealed'));
      for (const step of steps) await assert.rejects(alba.rotate({ step }), { code });
      assert.deepEqual(await readFile(join(alba.dir, 'ca.sealed')), before);
    };
    await refused('CA_NO_STEP', 'activate', 'undo');
    await alba.rotate({ step: 'prepare' });
    await refused('CA_NO_STEP', 'retire');
    await assert.rejects(alba.rotate({ algorithm: 'p384' }), { code: 'CA_NO_STEP' });
    assert.deepEqual(await alba.rotate({ step: 'prepare', algorithm: 'p256' }), []);
    await alba.rotate();
    await refused('CA_NO_STEP', 'prepare');
    await assert.rejects(alba.rotate({ step: 'undo', passphrase: new Secret(utf8('x')) }), {
      code: 'CA_WRONG_PASSPHRASE',
    });
    await assert.rejects(alba.rotate({ days: 0 }), { code: 'CA_BAD_INPUT' });
  });

  it('replaces the CA at once: nothing of the former ones is left, and nothing speaks for the new one', async () => {
    for (const before of [[], ['prepare'], ['prepare', 'activate']] as const) {
      for (const step of before) await alba.rotate({ step });
      await issue(30);
      const former = await bundle();
      assert.deepEqual(await alba.rotate({ step: 'replace' }), ['replace']);
      const [fresh, ...more] = await bundle();
      assert.equal(more.length, 0);
      assert.ok(fresh !== undefined);
      assert.equal(
        former.some(({ fingerprint }) => fingerprint === fresh.fingerprint),
        false,
      );
      assert.deepEqual(fresh.crosses, []);
      assert.equal(await keysInFile(), 1);
      assert.equal((await generations()).state, 'stable');
      const { retired } = await describeGenerations(alba.dir);
      assert.deepEqual(
        retired.slice(-former.length).map(({ fingerprint, why }) => `${fingerprint} ${why}`),
        former.map(({ fingerprint }) => `${fingerprint} now`),
      );
    }
  });

  it('retires without waiting when asked, and hands out no cross certificate then', async () => {
    await issue(30);
    await alba.rotate();
    const current = await describeCa(alba.dir);
    assert.deepEqual(await alba.rotate({ step: 'retire', immediately: true }), ['retire']);
    assert.deepEqual(await bundle(), [{ ...current, crosses: [] }]);
    await issue();
    assert.equal((await chain())[1]?.toString().trim(), current.pem.trim());
    assert.equal((await describeGenerations(alba.dir)).retired[0]?.why, 'now');
  });

  it('of a CA that has expired makes no successor, but replaces it', async () => {
    await alba.clock.advance(730 * DAY);
    await assert.rejects(alba.rotate(), { code: 'CA_EXPIRED' });
    await assert.rejects(issue(), { code: 'CA_EXPIRED' });
    await alba.rotate({ step: 'replace' });
    assert.equal((await issue()).name, 'records');
  });

  it('takes a file of version 1 along: its certificates may last 30 days more', async () => {
    const file = parseCaFile(await readFile(join(alba.dir, 'ca.sealed')));
    const key = await passphraseKey(alba.passphrase, file);
    const [pkcs8] = unsealCa(file, key);
    const old = { ...file, version: 1 } as const;
    const bytes = encodeCaFile({
      ...old,
      sealed: seal(key, (pkcs8 as Secret).expose(), encodeCaHeader(old), alba.rng),
    });
    await writeFile(join(alba.dir, 'ca.sealed'), bytes);
    assert.equal((await describeGenerations(alba.dir)).generations[0]?.issuedUntil, undefined);
    await issue(1);
    await alba.rotate();
    const { deadline } = await planCaRotation(alba.dir, {}, alba.clock);
    assert.equal(deadline, START + 30 * DAY);
    assert.deepEqual(await generations(), { state: 'activated', roles: ['1 former', '2 current'] });
  });

  describe('killed at any write', () => {
    const cases: Readonly<
      Record<string, { before: () => Promise<unknown>; act: Act; end: readonly string[] }>
    > = {
      'prepare and activate': {
        before: async () => issue(),
        act: (ca) => ca.rotate,
        end: ['1 former', '2 current'],
      },
      retire: {
        before: async () => alba.rotate().then(() => alba.clock.advance(DAY)),
        act: (ca) => (change) => ca.rotate({ ...change, step: 'retire' }),
        end: ['2 current'],
      },
    };
    type Act = (ca: ReturnType<typeof caAt>) => ReturnType<typeof caAt>['rotate'];

    for (const [what, { before, act, end }] of Object.entries(cases)) {
      it(`${what} can be called again and comes to its end`, async () => {
        await before();
        const now = alba.clock.now();
        const count = new CrashingSteps();
        const untouched = caAt(join(root, 'untouched'), now);
        await cp(alba.dir, untouched.dir, { recursive: true });
        await act(untouched)({ steps: count });
        assert.deepEqual((await generations(untouched)).roles, end);
        assert.ok(count.total >= 8, String(count.total));
        for (let at = 0; at < count.total; at++) {
          for (const moment of ['before', 'after'] as const) {
            const ca = caAt(join(root, `${at}-${moment}`), now);
            await cp(alba.dir, ca.dir, { recursive: true });
            await assert.rejects(act(ca)({ steps: new CrashingSteps(at, moment) }), {
              code: 'CA_IO',
            });
            // Whatever is there works by itself.
            await describeGenerations(ca.dir);
            assert.ok((await bundle(ca)).length > 0);
            await act(ca)();
            assert.deepEqual((await generations(ca)).roles, end, `${at} ${moment}`);
            assert.equal(await keysInFile(ca), end.length);
            const anchors = (await bundle(ca)).map(({ pem }) => pem).join('');
            assert.equal(await readFile(join(ca.dir, 'ca.pem'), 'utf8'), anchors);
          }
        }
      });
    }

    it('an undo or a replacement leaves what was there or what was asked for', async () => {
      await alba.rotate({ step: 'prepare' });
      for (const step of ['undo', 'replace'] as const) {
        for (let at = 0; at < 4; at++) {
          for (const moment of ['before', 'after'] as const) {
            const ca = caAt(join(root, `${step}-${at}-${moment}`), START);
            await cp(alba.dir, ca.dir, { recursive: true });
            await assert.rejects(ca.rotate({ step, steps: new CrashingSteps(at, moment) }), {
              code: 'CA_IO',
            });
            const { state } = await generations(ca);
            assert.equal(await keysInFile(ca), state === 'stable' ? 1 : 2);
            assert.equal(state === 'stable', at > 2 || (at === 2 && moment === 'after'));
            await ca.rotate();
            await issue(1, ca);
          }
        }
      }
    });

    it('no certificate is there whose end is not known', async () => {
      const count = new CrashingSteps();
      const probe = caAt(join(root, 'probe'), START);
      await probe.init('Alba');
      await issueCertificate({ ...probe, name: 'records', days: 9, steps: count });
      for (let at = 0; at < count.total; at++) {
        for (const moment of ['before', 'after'] as const) {
          const ca = caAt(join(root, `issue-${at}-${moment}`), START);
          await cp(alba.dir, ca.dir, { recursive: true });
          const steps = new CrashingSteps(at, moment);
          await assert.rejects(issueCertificate({ ...ca, name: 'records', days: 9, steps }), {
            code: 'CA_IO',
          });
          const [generation] = (await describeGenerations(ca.dir)).generations;
          const isThere = await serviceIdentity(ca.dir, 'records', ca.clock).then(
            () => true,
            () => false,
          );
          if (isThere) assert.equal(generation?.issuedUntil, START + 9 * DAY);
          await issue(9, ca);
          assert.equal(
            (await describeGenerations(ca.dir)).generations[0]?.issuedUntil,
            START + 9 * DAY,
          );
        }
      }
    });
  });
});

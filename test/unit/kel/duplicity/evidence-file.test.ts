import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { claimedFork, verifyEvidence } from '#kel/duplicity/evidence-file';
import { LogVerifier } from '#kel/verify/log-verifier';
import {
  delegatedFork,
  type Fork,
  interactionFork,
  rotationFork,
  seal,
} from '../../../support/kit/forks.ts';
import { Organisation, sign, testKey, verifySignature } from '../../../support/kit/key-log.ts';
import { signature, signedBy } from '../../../support/kit/store-kit.ts';

const verify = (file: Uint8Array) => verifyEvidence(file, verifySignature);

const join = (...messages: readonly Uint8Array[]) => Buffer.concat(messages);

const codes = (file: Uint8Array) => {
  const report = verify(file);
  assert.equal(report.verdict, 'none');
  return report.problems.map(({ code }) => code);
};

describe('evidence file', () => {
  const forks: Readonly<Record<string, () => Fork>> = {
    interactionFork,
    rotationFork,
    delegatedFork,
  };
  for (const [name, make] of Object.entries(forks)) {
    it(`proves ${name} by itself and names both events`, () => {
      const { file, org, first, second } = make();
      assert.deepEqual(verify(file), {
        verdict: 'duplicity',
        fork: { aid: org.aid, sn: first.sn, saids: [first.said, second.said] },
        problems: [],
      });
      assert.deepEqual(claimedFork(file), {
        aid: org.aid,
        sn: first.sn,
        saids: [first.said, second.said],
      });
    });

    it(`${name}: proves nothing any more after one byte was changed, wherever`, () => {
      const { file } = make();
      for (let at = 0; at < file.length; at += 7) {
        const changed = Buffer.from(file);
        changed[at] = (changed[at] as number) ^ 1;
        const report = verify(changed);
        assert.equal(report.verdict, 'none', `byte ${at}`);
        assert.ok(report.problems.length > 0);
      }
    });
  }

  it('is a stream of which other readers accept all but the second event', () => {
    const { file, second } = interactionFork();
    const verifier = new LogVerifier(verifySignature);
    verifier.feed(file);
    const { refused, waiting } = verifier.finish();
    assert.deepEqual(
      refused.map(({ code, said }) => [code, said]),
      [['KEL_DUPLICITOUS', second.said]],
    );
    assert.deepEqual(waiting, []);
  });

  it('is taken with bare groups as well, as other software sends events', () => {
    const { prefix, first, second } = interactionFork();
    const bare = [...prefix, first, second].map(({ bytes, message }) =>
      Buffer.concat([bytes, message.subarray(bytes.length + 4)]),
    );
    assert.equal(verify(join(...bare)).verdict, 'duplicity');
    assert.deepEqual(codes(join(Buffer.from(' '), ...bare)), ['DUPLICITY_NOT_CANONICAL']);
    const [icp, ...others] = bare as [Buffer, ...Buffer[]];
    assert.deepEqual(codes(join(icp, Buffer.from('\n'), ...others)), ['DUPLICITY_NOT_CANONICAL']);
  });

  it('counts events that have not one receipt of the witnesses', () => {
    const witness = testKey('w', false).key as never;
    const org = new Organisation('witnessed');
    const icp = org.incept(
      { witnesses: [witness], witnessThreshold: 1 },
      { witnesses: [testKey('w', false)] },
    );
    const other = org.fork(1);
    const [first, second] = [org.anchor([seal('D')]), other.anchor([seal('E')])];
    assert.equal(verify(join(icp.message, first.message, second.message)).verdict, 'duplicity');
  });

  it('wants two different events', () => {
    const { prefix, first } = interactionFork();
    assert.deepEqual(codes(join(...prefix.map((p) => p.message), first.message)), [
      'DUPLICITY_NO_PAIR',
    ]);
    assert.deepEqual(codes(join(...prefix.map((p) => p.message), first.message, first.message)), [
      'DUPLICITY_NO_PAIR',
    ]);
    assert.deepEqual(codes(new Uint8Array(0)), ['DUPLICITY_NO_PAIR']);
  });

  it('takes a recovery for what it is', () => {
    const org = new Organisation('recovered');
    org.incept();
    const other = org.fork(1);
    org.anchor([seal('D')]);
    const rotation = other.rotate();
    assert.deepEqual(codes(join(org.stream, rotation.message)), ['DUPLICITY_NO_PAIR']);
  });

  it('wants the signatures of both events to meet the threshold', () => {
    const { prefix, first, second, org } = interactionFork();
    const [key] = org.keys(1, 3);
    const weak = signedBy(second, [signature(second, key as never, 0)]);
    const forged = signedBy(
      second,
      sign(
        second.bytes,
        ['m0', 'm1', 'm2'].map((name) => testKey(name)),
      ),
    );
    const before = prefix.map((p) => p.message);
    assert.deepEqual(codes(join(...before, first.message, weak)), ['DUPLICITY_UNSIGNED']);
    assert.deepEqual(codes(join(...before, first.message, forged)), ['DUPLICITY_UNSIGNED']);
    assert.deepEqual(codes(join(...before, forged, first.message)), ['DUPLICITY_UNSIGNED']);
  });

  it('wants the whole log before, in order, and nothing else', () => {
    const { prefix, first, second } = interactionFork();
    const [icp, ixn, rot] = prefix.map((p) => p.message) as [Uint8Array, Uint8Array, Uint8Array];
    const pair = [first.message, second.message];
    assert.deepEqual(codes(join(...pair)), ['DUPLICITY_BAD_PREFIX']);
    assert.deepEqual(codes(join(icp, ixn, ...pair)), ['DUPLICITY_BAD_PREFIX']);
    assert.deepEqual(codes(join(icp, rot, ixn, ...pair)), ['KEL_AWAITS_PRIOR']);
    assert.deepEqual(codes(join(icp, icp, ixn, rot, ...pair)), ['DUPLICITY_BAD_PREFIX']);
    const stray = new Organisation('stray').incept().message;
    assert.deepEqual(codes(join(stray, icp, ixn, rot, ...pair)), ['DUPLICITY_BAD_PREFIX']);
    assert.equal(verify(join(icp, ixn, rot, ...pair)).verdict, 'duplicity');
  });

  it('refuses bytes that nothing covers', () => {
    const { file } = interactionFork();
    assert.equal(verify(join(file, Buffer.from('x'))).verdict, 'none');
    assert.deepEqual(codes(join(file, Buffer.from('\n'))), ['DUPLICITY_NOT_CANONICAL']);
  });
});

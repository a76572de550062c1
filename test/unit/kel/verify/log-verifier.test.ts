import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { encodeBody } from '#kel/cesr/body';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeWithSaid } from '#kel/cesr/said';
import { digestSeal, eventSeal, sealedDigest } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Said } from '#kel/identifiers';
import { LogVerifier } from '#kel/verify/log-verifier';
import { reportOf } from '#kel/verify/report';
import { concatBytes, utf8 } from '#src/bytes';
import {
  ed25519,
  Organisation,
  sign,
  verifySignature,
  witnessKey,
} from '../../../support/kit/key-log.ts';

function verify(...streams: Uint8Array[]) {
  const verifier = new LogVerifier(verifySignature);
  for (const stream of streams) verifier.feed(stream);
  return { verifier, ...verifier.finish() };
}

function longLog(name = 'a'): Organisation {
  const org = new Organisation(name);
  org.incept();
  org.anchor([digestSeal(org.state.said)]);
  org.rotate({ keyCount: 1, nextCount: 2, anchors: [digestSeal(org.state.said)] });
  org.anchor([eventSeal(org.state)]);
  org.rotate({ nextCount: 1 });
  org.anchor();
  return org;
}

function receipt(
  event: { aid: string; sn: number; said: string; bytes: Uint8Array },
  ...witnesses: ReturnType<typeof witnessKey>[]
) {
  const fields = { t: 'rct', d: event.said, i: event.aid, s: event.sn.toString(16) };
  const couples = witnesses.map(
    ({ aid, seed }) => aid + encodeMatter('0B', ed25519.sign(event.bytes, seed)),
  );
  return concatBytes(
    encodeBody('KERI', 'JSON', Object.entries(fields)),
    utf8(encodeCounter('C', couples.length) + couples.join('')),
  );
}

describe('log verifier', () => {
  it('accepts a log of inception, interactions and rotations', () => {
    const org = longLog();
    const { aids, refused, waiting } = verify(org.stream);
    assert.deepEqual([refused, waiting], [[], []]);
    assert.deepEqual(aids, [org.state]);
    assert.equal(aids[0]?.sn, 5);
  });

  it('answers for seals and for establishment events, past ones too', () => {
    const org = longLog();
    const { verifier } = verify(org.stream);
    const [icp, ixn, rot] = org.steps as [
      (typeof org.steps)[0],
      (typeof org.steps)[0],
      (typeof org.steps)[0],
    ];
    assert.deepEqual(verifier.sealOf(org.aid, icp.said), {
      aid: org.aid,
      event: { sn: 1, said: ixn.said },
    });
    assert.deepEqual(verifier.sealOf(org.aid, ixn.said), {
      aid: org.aid,
      event: { sn: 2, said: rot.said },
    });
    // An event seal is no digest seal.
    assert.equal(verifier.sealOf(org.aid, rot.said), undefined);
    assert.deepEqual(verifier.establishment(org.aid, 0, icp.said)?.keys, [org.keys(0)[0]?.key]);
    assert.equal(verifier.establishment(org.aid, 2, rot.said)?.said, rot.said);
    assert.equal(verifier.establishment(org.aid, 1, ixn.said), undefined);
    assert.equal(verifier.establishment(org.aid, 1, icp.said), undefined);
    assert.equal(verifier.state('D'.padEnd(44, 'A') as never), undefined);
  });

  it('forgets the seals of superseded interactions, and keeps the keys of superseded events', () => {
    const org = longLog();
    const recovered = org.fork(1);
    const sealed = sealedDigest(digestSeal(org.steps[0]?.said as Said)) as Said;
    recovered.rotate();
    const { verifier, refused } = verify(org.fork(2).stream, recovered.stream);
    assert.deepEqual(refused, []);
    assert.equal(verifier.sealOf(org.aid, sealed), undefined);
    assert.equal(verifier.state(org.aid)?.said, recovered.state.said);
  });

  it('gives the same result wherever the files are cut', () => {
    const one = longLog('one');
    const two = longLog('two');
    const whole = verify(one.stream, two.stream);
    for (const size of [1, 7, 64, 1000]) {
      const verifier = new LogVerifier(verifySignature);
      const length = Math.max(one.stream.length, two.stream.length);
      for (let at = 0; at < length; at += size) {
        verifier.feed(one.stream.subarray(at, at + size), { file: 'one' });
        verifier.feed(two.stream.subarray(at, at + size), { file: 'two' });
      }
      const byAid = (a: { aid: string }, b: { aid: string }) => (a.aid < b.aid ? -1 : 1);
      assert.deepEqual([...verifier.finish().aids].sort(byAid), [...whole.aids].sort(byAid));
    }
  });

  it('keeps what stands before a changed event; what depends on it waits', () => {
    const org = longLog();
    const offsets = org.steps.map((_, i) =>
      org.steps.slice(0, i).reduce((sum, { message }) => sum + message.length, 0),
    );
    const stream = Buffer.from(org.stream);
    const at = (offsets[2] as number) + 60;
    stream[at] = (stream[at] ?? 0) ^ 1;
    const { aids, refused, waiting } = reportOf(verify(stream));
    assert.equal(aids[0]?.sn, 1);
    assert.deepEqual(
      refused.map(({ code, offset }) => [code, offset]),
      [['KEL_BAD_SAID', offsets[2]]],
    );
    assert.deepEqual(
      waiting.map(({ code, offset, said }) => [code, offset, said]),
      [3, 4, 5].map((i) => ['KEL_AWAITS_PRIOR', offsets[i], org.steps[i]?.said]),
    );
  });

  it('says nothing about an AID without a valid inception', () => {
    const org = longLog();
    const { aids, refused, waiting } = verify(org.stream.subarray(1));
    assert.deepEqual(aids, []);
    assert.equal(refused.length, 1);
    assert.equal(waiting.length, 5);
  });

  it('completes an event by receipts that come before or after it', () => {
    const witnesses = [witnessKey('w0'), witnessKey('w1'), witnessKey('w2')];
    const org = new Organisation('a');
    const event = org.incept(
      { witnesses: witnesses.map(({ aid }) => aid), witnessThreshold: 2 },
      { witnesses },
    );
    const alone = encodeSignedEvent(event.bytes, sign(event.bytes, org.keys(0)));
    const [w0, w1] = witnesses as [(typeof witnesses)[0], (typeof witnesses)[0]];
    assert.equal(verify(alone, receipt(event, w0)).waiting[0]?.code, 'KEL_AWAITS_WITNESSES');
    for (const order of [
      [alone, receipt(event, w0), receipt(event, w1)],
      [receipt(event, w0), alone, receipt(event, w1)],
      [receipt(event, w0), receipt(event, w1), alone],
      [alone, receipt(event, w0, w1)],
    ]) {
      const { aids, refused, waiting } = verify(...order);
      assert.deepEqual([aids.length, refused, waiting], [1, [], []]);
    }
    assert.equal(verify(alone, receipt(event, w0), receipt(event, w0)).aids.length, 0);
    const forged = { ...event, bytes: utf8('another') };
    assert.equal(verify(alone, receipt(forged, w0, w1)).aids.length, 0);
  });

  it('passes over messages that are no key events, and refuses those of no kind', () => {
    const org = longLog();
    const reply = encodeWithSaid('KERI', 'JSON', [
      ['t', 'rpy'],
      ['d', ''],
      ['dt', ''],
      ['r', '/x'],
      ['a', new Map()],
    ]);
    const credential = encodeWithSaid('ACDC', 'JSON', [
      ['d', ''],
      ['i', org.aid],
    ]);
    assert.deepEqual(verify(reply.bytes, credential.bytes, org.stream).refused, []);
    const unknown = encodeWithSaid('KERI', 'JSON', [
      ['t', 'zzz'],
      ['d', ''],
    ]);
    assert.deepEqual(
      verify(unknown.bytes, org.stream).refused.map(({ code }) => code),
      ['KEL_BAD_SCHEMA'],
    );
  });

  it('lets no changed event pass as a message that is none', () => {
    const org = longLog();
    const changes: readonly (readonly [string, string, string])[] = [
      ['ixn', 'exn', 'KEL_BAD_SAID'],
      ['KERI10', 'ACDC10', 'KEL_BAD_SAID'],
      ['KERI10', 'KMSH10', 'KEL_BAD_VERSION'],
      ['KERI10', 'KERJ10', 'KEL_BAD_VERSION'],
    ];
    for (const [from, to, code] of changes) {
      const changed = Buffer.from(org.stream);
      changed.write(to, changed.lastIndexOf(from), 'latin1');
      const { refused } = verify(changed);
      assert.deepEqual(
        refused.map((row) => row.code),
        [code],
        to,
      );
    }
  });

  it('reports plain data with nulls for what is unknown', () => {
    const org = longLog();
    const verifier = new LogVerifier(verifySignature);
    verifier.feed(concatBytes(org.stream, utf8('junk')), { file: 'org.cesr' });
    const report = reportOf(verifier.finish());
    assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
    assert.equal(report.aids[0]?.delegator, null);
    assert.equal(report.aids[0]?.kind, 'CBOR');
    const { reason, ...rest } = report.refused[0] as (typeof report.refused)[0];
    assert.ok(reason.length > 0);
    assert.deepEqual(rest, {
      code: 'KEL_BAD_STREAM',
      aid: null,
      sn: null,
      said: null,
      offset: org.stream.length,
      file: 'org.cesr',
    });
  });
});

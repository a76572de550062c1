/** One log in every form of a stream: the verdicts are the same, however it is framed, mixed and cut. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { encodeBody } from '#kel/cesr/body';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeDateTime } from '#kel/cesr/date-time';
import { encodeIndexedSignature } from '#kel/cesr/indexer';
import { encodeOrdinal } from '#kel/cesr/number';
import { encodeWithSaid } from '#kel/cesr/said';
import { eventSeal } from '#kel/event/seal';
import type { SerializationKind } from '#kel/key-state/key-state';
import { LogVerifier } from '#kel/verify/log-verifier';
import { type LogReport, reportOf } from '#kel/verify/report';
import { concatBytes, utf8 } from '#src/bytes';
import { bare, delegation, signed } from '../../../support/kit/keri-rows.ts';
import { Organisation, sign, verifySignature, witnessKey } from '../../../support/kit/key-log.ts';

const KINDS: readonly SerializationKind[] = ['JSON', 'CBOR', 'MGPK'];
const witnesses = [witnessKey('w0'), witnessKey('w1')];

/** A log whose events are of all kinds, witnessed. */
function mixedLog(name: string): Organisation {
  const org = new Organisation(name);
  const aids = witnesses.map(({ aid }) => aid);
  org.incept({ kind: 'JSON', witnesses: aids, witnessThreshold: 2 }, { witnesses });
  for (const kind of KINDS) org.rotate({ kind }, { witnesses });
  return org;
}

function verdicts(chunks: Iterable<Uint8Array>): LogReport {
  const verifier = new LogVerifier(verifySignature);
  for (const chunk of chunks) verifier.feed(chunk);
  const { aids, ...rest } = reportOf(verifier.finish());
  return { aids: [...aids].sort((a, b) => (a.aid < b.aid ? -1 : 1)), ...rest };
}

/** Groups of every kind that other software attaches; none of them changes a verdict. */
function otherGroups(org: Organisation, bytes: Uint8Array): string {
  const { aid, said } = org.state;
  const signature = encodeIndexedSignature(
    sign(bytes, org.keys(0))[0] as { index: number; raw: Uint8Array },
  );
  const group = encodeCounter('A', 1) + signature;
  const event = encodeOrdinal(0) + said;
  return [
    encodeCounter('D', 1) + aid + event + signature,
    encodeCounter('E', 1) + encodeOrdinal(9) + encodeDateTime('2026-01-02T03:04:05.678901+00:00'),
    encodeCounter('F', 1) + aid + event + group,
    encodeCounter('G', 1) + event,
    encodeCounter('H', 1) + aid + group,
    encodeCounter('I', 1) + aid + event,
  ].join('');
}

describe('forms of a stream', () => {
  const [one, two] = [mixedLog('one'), mixedLog('two')];
  const { parent, dip } = delegation();
  parent.anchor([eventSeal(dip)]);
  const expected = verdicts([one.stream, two.stream, parent.stream, signed(dip)]);

  it('the log that the others are forms of is accepted to its end', () => {
    assert.deepEqual([expected.refused, expected.waiting], [[], []]);
    assert.deepEqual(expected.aids.map(({ sn }) => sn).sort(), [0, 1, 3, 3]);
  });

  it('AIDs interleaved, a delegate before its delegator', () => {
    const pairs = one.steps.flatMap((step, i) => [
      two.steps[i]?.message as Uint8Array,
      step.message,
    ]);
    assert.deepEqual(verdicts([signed(dip), ...pairs, parent.stream]), expected);
    assert.deepEqual(verdicts([concatBytes(signed(dip), ...pairs, parent.stream)]), expected);
  });

  it('groups of all kinds, framed, bare, binary', () => {
    const forms = one.steps.flatMap((step) => {
      const frame = Buffer.from(step.message.subarray(step.bytes.length)).toString('latin1');
      const groups = frame.slice(4) + otherGroups(one, step.bytes);
      const framed = encodeCounter('V', groups.length / 4) + groups;
      const binary = (text: string) => Buffer.from(text, 'base64url');
      return [
        [utf8(framed), utf8(groups), binary(groups), binary(framed)].map((form) =>
          concatBytes(step.bytes, form),
        ),
      ];
    });
    for (const form of [0, 1, 2, 3]) {
      const stream = forms.map((event) => event[form] as Uint8Array);
      assert.deepEqual(
        verdicts([concatBytes(...stream), two.stream, parent.stream, signed(dip)]),
        expected,
      );
    }
  });

  it('messages of other kinds between the events', () => {
    const fields: Record<string, [string, BodyValue][]> = {
      rpy: [
        ['d', ''],
        ['dt', ''],
        ['r', '/loc/scheme'],
        ['a', new Map()],
      ],
      qry: [
        ['d', ''],
        ['dt', ''],
        ['r', 'logs'],
        ['rr', ''],
        ['q', new Map()],
      ],
      exn: [
        ['d', ''],
        ['i', one.aid],
        ['p', ''],
        ['dt', ''],
        ['r', ''],
        ['q', new Map()],
        ['a', new Map()],
        ['e', new Map()],
      ],
    };
    const others = Object.entries(fields).flatMap(([type, rest]) =>
      KINDS.map((kind) => encodeWithSaid('KERI', kind, [['t', type], ...rest]).bytes),
    );
    const receipt = { t: 'rct', d: one.state.said, i: one.aid, s: '3' };
    const rct = encodeBody('KERI', 'JSON', Object.entries(receipt));
    const stream = one.steps.flatMap(({ message }) => [message, ...others, rct]);
    assert.deepEqual(
      verdicts([concatBytes(...stream), two.stream, parent.stream, signed(dip)]),
      expected,
    );
  });

  it('every cut in two, and pieces of every small size', () => {
    const first = one.steps[0] as (typeof one.steps)[0];
    const broken = Buffer.from(one.steps[1]?.message as Uint8Array);
    broken[50] = (broken[50] ?? 0) ^ 1;
    const short = new Organisation('short');
    short.incept();
    const stream = concatBytes(
      bare(first.message, first),
      broken,
      short.stream,
      utf8('?'),
      short.anchor().message,
    );
    const whole = verdicts([stream]);
    assert.deepEqual(whole.aids.map(({ sn }) => sn).sort(), [0, 1]);
    assert.deepEqual(
      whole.refused.map(({ code }) => code),
      ['KEL_BAD_SAID', 'KEL_BAD_STREAM'],
    );
    for (let at = 0; at <= stream.length; at++)
      assert.deepEqual(verdicts([stream.subarray(0, at), stream.subarray(at)]), whole, `${at}`);
    for (const size of [1, 2, 3, 5, 24, 88]) assert.deepEqual(verdicts(cut(stream, size)), whole);
  });
});

function* cut(stream: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < stream.length; at += size) yield stream.subarray(at, at + size);
}

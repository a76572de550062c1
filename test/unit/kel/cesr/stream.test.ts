import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { MAX_ATTACHMENT_BYTES } from '#kel/cesr/attachment-reader';
import { MAX_BODY_BYTES } from '#kel/cesr/body';
import { encodeCounter, encodeCounterBinary } from '#kel/cesr/counter';
import { encodeDateTime } from '#kel/cesr/date-time';
import { encodeIndexedSignature } from '#kel/cesr/indexer';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeOrdinal } from '#kel/cesr/number';
import { MAX_RESYNCS, type ParsedMessage, parseStream, type StreamFault } from '#kel/cesr/stream';
import { formatVersion } from '#kel/cesr/version';
import { LogVerifier } from '#kel/verify/log-verifier';
import { concatBytes, utf8 } from '#src/bytes';
import { Organisation, sign, verifySignature } from '../../../support/kit/key-log.ts';

const org = new Organisation('stream');
org.incept({ kind: 'JSON' });
org.anchor();
org.rotate();
org.anchor();

const parts = org.steps.map(({ bytes, message }) => ({
  bytes,
  frame: Buffer.from(message.subarray(bytes.length)).toString('latin1'),
}));

/** The log with every frame changed by `reframe`. @param groups what stands in the frame */
function reframed(reframe: (groups: string, bytes: Uint8Array) => Uint8Array): Uint8Array {
  return concatBytes(
    ...parts.flatMap(({ bytes, frame }) => [bytes, reframe(frame.slice(4), bytes)]),
  );
}

function reached(stream: Uint8Array): { sn: number | undefined; refused: string[] } {
  const verifier = new LogVerifier(verifySignature);
  verifier.feed(stream);
  const { refused } = verifier.finish();
  return { sn: verifier.state(org.aid)?.sn, refused: refused.map(({ code }) => code) };
}

function reaches(stream: Uint8Array): void {
  assert.deepEqual(reached(stream), { sn: 3, refused: [] });
}

function firstFault(stream: Uint8Array): StreamFault {
  const fault = [...parseStream(stream)].find((item) => item.type === 'fault');
  assert.ok(fault?.type === 'fault');
  return fault;
}

describe('stream: framings', () => {
  it('one frame per message, bare groups, big frames', () => {
    reaches(reframed((groups) => utf8(encodeCounter('V', groups.length / 4) + groups)));
    reaches(reframed((groups) => utf8(groups)));
    reaches(
      reframed((groups) =>
        utf8(`-0VAAA${encodeCounter('V', groups.length / 4).slice(2)}${groups}`),
      ),
    );
  });

  it('binary groups, bare and in a binary frame', () => {
    const binary = (groups: string) => Buffer.from(groups, 'base64url');
    reaches(reframed((groups) => binary(groups)));
    reaches(
      reframed((groups) =>
        concatBytes(encodeCounterBinary('V', groups.length / 4), binary(groups)),
      ),
    );
  });

  it('genus code at the start, or before each message', () => {
    reaches(concatBytes(utf8('-_AAABAA'), org.stream));
    reaches(concatBytes(...org.steps.flatMap(({ message }) => [utf8('-_AAABAA'), message])));
    reaches(
      concatBytes(
        ...parts.flatMap(({ bytes, frame }) => [utf8('-_AAABAA'), bytes, utf8(frame.slice(4))]),
      ),
    );
  });

  it('white space between messages and at the end', () => {
    reaches(concatBytes(...org.steps.flatMap(({ message }) => [message, utf8('\r\n \t')])));
    reaches(reframed((groups) => utf8(`${groups}\n`)));
  });

  it('a second frame belongs to no message', () => {
    const stream = reframed((groups) =>
      utf8(
        encodeCounter('V', groups.length / 4) +
          groups +
          encodeCounter('V', groups.length / 4) +
          groups,
      ),
    );
    assert.deepEqual(reached(stream), {
      sn: 3,
      refused: ['KEL_BAD_STREAM', 'KEL_BAD_STREAM', 'KEL_BAD_STREAM', 'KEL_BAD_STREAM'],
    });
  });
});

describe('stream: attachment groups', () => {
  const bytes = org.steps[0]?.bytes as Uint8Array;
  const said = org.steps[0]?.said as string;
  const siger = encodeIndexedSignature({ index: 70, ondex: 3, raw: new Uint8Array(64).fill(7) });
  const small = encodeIndexedSignature({ index: 1, raw: new Uint8Array(64).fill(9) });
  const dateTime = '2026-01-02T03:04:05.678901+00:00';
  const groups = [
    encodeCounter('A', 2) + siger + small,
    encodeCounter('B', 1) + small,
    encodeCounter('C', 1) + org.aid + encodeMatter('0B', new Uint8Array(64)),
    encodeCounter('D', 1) + org.aid + encodeOrdinal(3) + said + small,
    encodeCounter('E', 1) + encodeOrdinal(4) + encodeDateTime(dateTime),
    encodeCounter('F', 2) +
      (org.aid + encodeOrdinal(0) + said + encodeCounter('A', 1) + siger).repeat(2),
    encodeCounter('G', 1) + encodeOrdinal(5) + said,
    encodeCounter('H', 1) + org.aid + encodeCounter('A', 1) + small,
    encodeCounter('I', 1) + org.aid + encodeOrdinal(256) + said,
    `${encodeCounter('J', 1)}5AACAA-e-icp${encodeCounter('A', 1)}${small}`,
    `${encodeCounter('L', 3)}5AACAA-e-icp`,
  ].join('');

  for (const [name, attachments] of [
    ['bare', utf8(groups)],
    ['framed', utf8(encodeCounter('V', groups.length / 4) + groups)],
    ['binary', Buffer.from(groups, 'base64url')],
  ] as const) {
    it(`every group by its meaning, ${name}`, () => {
      const [item, ...more] = [...parseStream(concatBytes(bytes, attachments))];
      assert.deepEqual(more, []);
      const found = (item as ParsedMessage).attachments;
      assert.deepEqual(
        found.signatures.map(({ index, ondex }) => [index, ondex]),
        [
          [70, 3],
          [1, 1],
        ],
      );
      assert.equal(found.witnessSignatures.length, 1);
      assert.equal(found.receiptCouples[0]?.prefix, org.aid);
      assert.equal(found.transferableReceipts[0]?.sn, 3);
      assert.deepEqual(found.firstSeen, [{ ordinal: 4, dateTime }]);
      assert.equal(found.transferableSignatures.length, 2);
      assert.deepEqual(found.transferableSignatures[1]?.signatures[0]?.index, 70);
      assert.deepEqual(found.sealSources, [{ sn: 5, said }]);
      assert.equal(found.lastSignatures[0]?.signatures.length, 1);
      assert.deepEqual(found.sealSourceTriples, [{ prefix: org.aid, sn: 256, said }]);
    });
  }

  it('a frame with bad content loses its message and no other', () => {
    const bad = encodeCounter('A', 1) + siger.slice(0, -4);
    const stream = concatBytes(bytes, utf8(encodeCounter('V', bad.length / 4) + bad), org.stream);
    assert.deepEqual(reached(stream), { sn: 3, refused: ['KEL_BAD_STREAM'] });
    const nested = encodeCounter('V', 1) + encodeCounter('A', 0);
    assert.equal(
      firstFault(concatBytes(bytes, utf8(encodeCounter('V', nested.length / 4) + nested))).code,
      'KEL_BAD_STREAM',
    );
  });
});

describe('stream: faults', () => {
  it('gives the offset of the first byte of each message', () => {
    const offsets = [...parseStream(org.stream)].map(({ offset }) => offset);
    const expected = org.steps.map((_, i) =>
      org.steps.slice(0, i).reduce((sum, { message }) => sum + message.length, 0),
    );
    assert.deepEqual(offsets, expected);
  });

  it('finds the next message behind garbage', () => {
    const [first, ...rest] = org.steps.map(({ message }) => message) as [
      Uint8Array,
      ...Uint8Array[],
    ];
    for (const garbage of [
      'x',
      'garbage {"v":"KERI',
      '\u0000\u0000',
      '{"v":"KERI10JSON00',
      '_AAA',
      '-Zaa',
    ]) {
      const result = reached(concatBytes(first, utf8(garbage), ...rest));
      assert.equal(result.sn, 3, garbage);
      assert.ok(result.refused.length > 0, garbage);
    }
  });

  it('finds the messages that a too large size has swallowed', () => {
    const text = Buffer.from(org.stream).toString('latin1');
    const stream = Buffer.from(text.replace('KERI10JSON00012b_', 'KERI10JSON00f000_'), 'latin1');
    const items = [...parseStream(stream)];
    assert.equal(items[0]?.type === 'fault' && items[0].code, 'KEL_TRUNCATED');
    assert.equal(items.filter(({ type }) => type === 'message').length, 3);
  });

  it('says when the stream ends inside a message', () => {
    for (const cut of [5, 100, 299 + 2, (org.steps[0]?.message.length as number) - 1]) {
      const items = [...parseStream(org.stream.subarray(0, cut))];
      assert.equal(items[0]?.type === 'fault' && items[0].code, 'KEL_TRUNCATED', `${cut}`);
    }
  });

  it('has bounds on bodies, attachments and searches', () => {
    const body = utf8(
      `{"v":"${formatVersion({ protocol: 'KERI', kind: 'JSON', size: MAX_BODY_BYTES + 1 })}"`,
    );
    assert.equal(firstFault(body).code, 'KEL_LIMIT');
    const bytes = org.steps[0]?.bytes as Uint8Array;
    const frame = '-0VAP__8';
    assert.equal(firstFault(concatBytes(bytes, utf8(frame))).code, 'KEL_LIMIT');
    const signature = encodeIndexedSignature({
      ...(sign(bytes, org.keys(0))[0] as { index: number; raw: Uint8Array }),
    });
    const group = encodeCounter('A', 4095) + signature.repeat(4095);
    const groups = group.repeat(Math.ceil(MAX_ATTACHMENT_BYTES / group.length) + 1);
    assert.equal(firstFault(concatBytes(bytes, utf8(groups))).code, 'KEL_LIMIT');
    const junk = Buffer.concat(
      Array.from({ length: MAX_RESYNCS + 5 }, () => concatBytes(bytes, utf8('?'))),
    );
    const faults = [...parseStream(concatBytes(junk, org.stream))];
    assert.equal(faults.length, MAX_RESYNCS + 1);
    assert.equal(
      faults.every(({ type }) => type === 'fault'),
      true,
    );
  });
});

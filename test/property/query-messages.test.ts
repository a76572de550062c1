import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { QueryError } from '#agent/mesh/query/errors';
import { decodeAnswer, encodeAnswer, type QueryAnswer } from '#agent/mesh/query/messages';

const answers: fc.Arbitrary<QueryAnswer> = fc.oneof(
  fc
    .uint8Array({ minLength: 1, maxLength: 400 })
    .map((bytes) => ({ kind: 'piece' as const, bytes })),
  fc.record(
    {
      kind: fc.constant('refused' as const),
      code: fc.stringMatching(/^[A-Z][A-Z0-9_]{0,63}$/),
      reason: fc.string({ maxLength: 300 }),
    },
    { noNullPrototype: true },
  ),
);

describe('answers to queries, any', () => {
  it('decode to what was encoded', () => {
    fc.assert(
      fc.property(answers, (answer) =>
        assert.deepEqual(decodeAnswer(encodeAnswer(answer)), answer),
      ),
    );
  });

  it('that decode encode to the same bytes; the others are refused with a code', () => {
    const changed = fc.tuple(answers, fc.nat(), fc.nat({ max: 255 })).map(([answer, at, byte]) => {
      const bytes = encodeAnswer(answer);
      bytes[at % bytes.length] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), changed), (bytes) => {
        try {
          assert.deepEqual(Buffer.from(encodeAnswer(decodeAnswer(bytes))), Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof QueryError);
        }
      }),
    );
  });
});

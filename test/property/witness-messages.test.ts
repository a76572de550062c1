import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { WitnessError } from '#agent/identity/witness/errors';
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  type WitnessAnswer,
  type WitnessRequest,
} from '#agent/identity/witness/messages';
import { witnessKey } from '../support/kit/key-log.ts';

const bytes = fc.uint8Array({ maxLength: 400 });
const aid = fc.constantFrom(witnessKey('a').aid, witnessKey('b').aid);

const requests: fc.Arbitrary<WitnessRequest> = fc.oneof(
  fc.constant({ kind: 'who' as const }),
  fc.constant({ kind: 'open' as const }),
  bytes.map((event) => ({ kind: 'receipt' as const, event })),
  bytes.map((stream) => ({ kind: 'log' as const, stream })),
);

const answers: fc.Arbitrary<WitnessAnswer> = fc.oneof(
  fc.record(
    { kind: fc.constant('witness' as const), aid, serves: fc.boolean() },
    { noNullPrototype: true },
  ),
  bytes.map((receipt) => ({ kind: 'receipted' as const, receipt })),
  bytes.map((event) => ({ kind: 'open' as const, event })),
  fc.record(
    { kind: fc.constant('behind' as const), aid, from: fc.maxSafeNat() },
    { noNullPrototype: true },
  ),
  fc.record(
    {
      kind: fc.constant('refused' as const),
      code: fc.string({ maxLength: 64 }),
      reason: fc.string({ maxLength: 300 }),
    },
    { noNullPrototype: true },
  ),
);

describe('witness messages, any', () => {
  it('decode to what was encoded', () => {
    fc.assert(
      fc.property(requests, (request) =>
        assert.deepEqual(decodeRequest(encodeRequest(request)), request),
      ),
    );
    fc.assert(
      fc.property(answers, (answer) =>
        assert.deepEqual(decodeAnswer(encodeAnswer(answer)), answer),
      ),
    );
  });

  it('that decode encode to the same bytes; the others are refused with a code', () => {
    const input = fc.oneof(
      bytes,
      fc
        .tuple(
          fc.oneof(requests.map(encodeRequest), answers.map(encodeAnswer)),
          fc.nat(),
          fc.nat(255),
        )
        .map(([message, at, value]) => {
          const changed = Uint8Array.from(message);
          changed[at % changed.length] = value;
          return changed;
        }),
    );
    for (const [decode, encode] of [
      [decodeRequest, encodeRequest],
      [decodeAnswer, encodeAnswer],
    ] as const) {
      fc.assert(
        fc.property(input, (message) => {
          let decoded: ReturnType<typeof decode>;
          try {
            decoded = decode(message);
          } catch (error) {
            assert.ok(error instanceof WitnessError);
            return;
          }
          assert.deepEqual((encode as (value: unknown) => Uint8Array)(decoded), message);
        }),
      );
    }
  });
});

/** What two ends of a tunnel ask of each other when no packets pass, as bytes. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  type EndLook,
  expectLookRequest,
  lookAnswer,
  lookManners,
  lookRequest,
  parseLookAnswer,
} from '#agent/tunnel/path/look-messages';
import type { Said } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';

const said = fc.option(
  fc.stringMatching(/^[A-Za-z0-9_-]{42}$/).map((text) => `EA${text}` as Said),
  { nil: undefined },
);
const count = fc.maxSafeNat();
const look: fc.Arbitrary<EndLook> = fc.record({
  own: said,
  peer: said,
  view: fc.option(
    fc.record({
      agreement: fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 }), { nil: undefined }),
      epoch: count,
      received: count,
      sent: count,
      handshakeAge: fc.option(count, { nil: undefined }),
      hasEndpoint: fc.boolean(),
    }),
    { nil: undefined },
  ),
});
const bad = { code: 'PATH_BAD_MESSAGE' };

describe('looks at a pair', () => {
  it('are read as they were written, and fit', () => {
    fc.assert(
      fc.property(look, (value) => {
        const bytes = encodeCbor(lookAnswer(value));
        assert.ok(bytes.length <= lookManners.limits.maxMessage);
        const read = parseLookAnswer(decodeCbor(bytes) as readonly CborValue[]);
        assert.deepEqual(encodeCbor(lookAnswer(read)), bytes);
        assert.deepEqual(read.view?.handshakeAge, value.view?.handshakeAge);
      }),
    );
  });

  it('are refused, or read as what the bytes then say, when a byte is another one', () => {
    fc.assert(
      fc.property(look, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, at, flip) => {
        const bytes = encodeCbor(lookAnswer(value));
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ flip;
        let read: EndLook;
        try {
          read = parseLookAnswer(decodeCbor(bytes) as readonly CborValue[]);
        } catch (error) {
          assert.ok(error instanceof Error);
          return;
        }
        assert.deepEqual(encodeCbor(lookAnswer(read)), bytes);
      }),
    );
  });

  it('are asked for in one form', () => {
    expectLookRequest(lookRequest);
    for (const wrong of [['looks'], ['look', 1], [], 'look'])
      assert.throws(() => expectLookRequest(encodeCbor(wrong)), bad);
    for (const wrong of [
      [],
      ['look'],
      ['look', 'E', '', []],
      ['look', '', '', [1]],
      ['look', '', '', [], 1],
    ])
      assert.throws(() => parseLookAnswer(wrong), bad);
  });
});

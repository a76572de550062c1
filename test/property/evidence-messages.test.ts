import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { decodeEvidenceMessage, encodeEvidenceMessage } from '#agent/mesh/duplicity/messages';
import { SyncError } from '#agent/mesh/sync/errors';

const message = fc.oneof(
  fc.record({
    kind: fc.constant('have' as const),
    forks: fc.array(fc.string({ maxLength: 160 }), { maxLength: 20 }),
  }),
  fc.record({ kind: fc.constant('give' as const), file: fc.uint8Array({ maxLength: 200 }) }),
);

describe('messages of the evidence protocol', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(message, (message) => {
        const bytes = encodeEvidenceMessage(message);
        assert.deepEqual(encodeEvidenceMessage(decodeEvidenceMessage(bytes)), bytes);
      }),
    );
  });

  it('are refused in any other form', () => {
    const isRefused = (bytes: Uint8Array) => {
      try {
        assert.deepEqual(encodeEvidenceMessage(decodeEvidenceMessage(bytes)), bytes);
      } catch (error) {
        if (error instanceof SyncError) assert.equal(error.code, 'SYNC_BAD_MESSAGE');
        else throw error;
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), isRefused));
    fc.assert(
      fc.property(message, fc.nat(), fc.nat(255), (message, at, value) => {
        const bytes = encodeEvidenceMessage(message);
        bytes[at % bytes.length] = value;
        isRefused(bytes);
      }),
    );
  });
});

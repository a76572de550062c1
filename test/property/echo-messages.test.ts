/** The echo through a tunnel, as bytes. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  decodeEcho,
  ECHO_HEADER,
  ECHO_TOKEN,
  type EchoMessage,
  encodeEcho,
  MAX_ECHO,
} from '#agent/tunnel/path/echo-messages';

const messages: fc.Arbitrary<EchoMessage> = fc.record({
  kind: fc.constantFrom('ask', 'answer'),
  size: fc.integer({ min: ECHO_HEADER, max: MAX_ECHO }),
  token: fc.uint8Array({ minLength: ECHO_TOKEN, maxLength: ECHO_TOKEN }),
});

describe('echo messages', () => {
  it('come back as they were, and an answer is never longer than what it answers', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const bytes = encodeEcho(message);
        assert.deepEqual(decodeEcho(bytes), { ...message });
        assert.ok(bytes.length <= message.size);
      }),
    );
  });

  it('have one form: what is read re-encodes to the same bytes, whatever a stranger sends', () => {
    const mutated = fc
      .tuple(messages, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.integer({ min: -2, max: 2 }))
      .map(([message, at, flip, longer]) => {
        const bytes = encodeEcho({ ...message, size: ECHO_HEADER + (message.size % 64) });
        const out = new Uint8Array(Math.max(0, bytes.length + longer));
        out.set(bytes.subarray(0, out.length));
        if (out.length > 0) out[at % out.length] = (out[at % out.length] ?? 0) ^ flip;
        return out;
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 64 })), (bytes) => {
        const message = decodeEcho(bytes);
        if (message !== undefined) assert.deepEqual(encodeEcho(message), bytes);
      }),
    );
  });

  it('that are too short or too long are none', () => {
    assert.equal(decodeEcho(new Uint8Array(0)), undefined);
    const size = MAX_ECHO + 1;
    const token = new Uint8Array(ECHO_TOKEN);
    assert.equal(decodeEcho(encodeEcho({ kind: 'ask', size, token })), undefined);
    assert.equal(
      decodeEcho(encodeEcho({ kind: 'ask', size: ECHO_HEADER - 1, token: token.subarray(1) })),
      undefined,
    );
  });
});

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { encodeFrame, FrameDecoder } from '#agent/network/framing';
import { concatBytes } from '#src/bytes';

const MAX = 40_000;

/** Cuts `bytes` at the given lengths, then takes the rest whole. */
function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let at = 0;
  for (const length of lengths) {
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return [...chunks, bytes.subarray(at)];
}

describe('message framing', () => {
  it('is a 4-byte big-endian length and the bytes', () => {
    assert.deepEqual(encodeFrame(Uint8Array.of(7, 8)), Uint8Array.of(0, 0, 0, 2, 7, 8));
    assert.deepEqual(encodeFrame(new Uint8Array(0)), Uint8Array.of(0, 0, 0, 0));
  });

  it('gives the same messages however the stream is cut, and they encode to the same bytes', () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 8 });
    const cuts = fc.array(fc.nat({ max: 40 }), { maxLength: 30 });
    fc.assert(
      fc.property(messages, cuts, fc.nat({ max: 3 }), (sent, lengths, missing) => {
        const wire = concatBytes(...sent.map(encodeFrame));
        const decoder = new FrameDecoder(() => MAX);
        const got = cut(wire, lengths).flatMap((chunk) => decoder.push(chunk));
        assert.deepEqual(got, sent);
        assert.ok(decoder.atBoundary);
        assert.deepEqual(concatBytes(...got.map(encodeFrame)), wire);
        decoder.push(encodeFrame(Uint8Array.of(1)).subarray(0, missing + 1));
        assert.ok(!decoder.atBoundary, 'a truncated frame shows');
      }),
    );
  });

  it('holds a message that grows over many chunks', () => {
    const message = new Uint8Array(MAX).map((_, i) => i % 251);
    const decoder = new FrameDecoder(() => MAX);
    const chunks = cut(
      encodeFrame(message),
      Array.from({ length: 3000 }, () => 13),
    );
    assert.deepEqual(
      chunks.flatMap((chunk) => decoder.push(chunk)),
      [message],
    );
  });

  it('copies what it is given', () => {
    const decoder = new FrameDecoder(() => MAX);
    const chunk = encodeFrame(Uint8Array.of(1, 2));
    const [message] = decoder.push(chunk);
    chunk.fill(9);
    assert.deepEqual(message, Uint8Array.of(1, 2));
  });

  it('refuses a length above the bound as soon as it is known, and no length below', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (length) => {
        const prefix = new Uint8Array(4);
        new DataView(prefix.buffer).setUint32(0, length);
        const push = () => new FrameDecoder(() => MAX).push(prefix);
        if (length > MAX) {
          assert.throws(push, { code: 'NETWORK_MESSAGE_TOO_LARGE', fields: { length, max: MAX } });
        } else {
          assert.equal(push().length, length === 0 ? 1 : 0);
        }
      }),
    );
  });
});

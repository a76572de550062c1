import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  decodeRequest,
  encodeRequest,
  type PairRequest,
} from '#agent/tunnel/rotation/pair-requests';
import type { Said } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';

const said = fc.stringMatching(/^[A-Za-z0-9_-]{42}$/).map((text) => `EA${text}` as Said);
const th = fc.uint8Array({ minLength: 32, maxLength: 32 });
const request = fc
  .record({
    kind: fc.constantFrom('renew', 'written', 'rekey', 'epoch', 'wake', 'sleep'),
    own: said,
    peer: said,
    th,
    n: fc.nat(),
  })
  .map(({ n, ...rest }) => ({ ...rest, epoch: rest.kind === 'epoch' ? n : 0 }) as PairRequest);
const bad = { code: 'ROTATION_BAD_MESSAGE' };

describe('requests of a pair', () => {
  it('are read as they were written, in one form', () => {
    fc.assert(
      fc.property(request, (value) => {
        const bytes = encodeRequest(value);
        assert.deepEqual(encodeRequest(decodeRequest(bytes)), bytes);
        assert.deepEqual(decodeRequest(bytes).kind, value.kind);
      }),
    );
  });

  it('are refused when a byte is changed, or read as what the bytes then say', () => {
    fc.assert(
      fc.property(request, fc.nat(), fc.nat({ max: 254 }), (value, at, delta) => {
        const bytes = encodeRequest(value);
        const place = at % bytes.length;
        bytes[place] = ((bytes[place] as number) + 1 + delta) % 256;
        let read: PairRequest | undefined;
        try {
          read = decodeRequest(bytes);
        } catch (error) {
          assert.equal((error as { code: string }).code, 'ROTATION_BAD_MESSAGE');
        }
        if (read !== undefined) assert.deepEqual(encodeRequest(read), bytes);
      }),
    );
  });

  it('are refused in any other shape', () => {
    const own = `EA${'a'.repeat(42)}`;
    const id = new Uint8Array(32);
    const shapes: readonly CborValue[] = [
      5,
      [],
      ['renew', own, own, id],
      ['renew', own, own, id, 1],
      ['renew', own, own, id, 0, 0],
      ['hello', own, own, id, 0],
      ['epoch', own, own, id, -1],
      ['epoch', own, own, id, 2 ** 33],
      ['renew', own, 'x', id, 0],
      ['renew', own, own, id.subarray(1), 0],
      ['renew', 1, own, id, 0],
    ];
    for (const shape of shapes) assert.throws(() => decodeRequest(encodeCbor(shape)), bad);
    assert.throws(() => decodeRequest(new Uint8Array(0)), bad);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        assert.throws(() => decodeRequest(bytes), bad);
      }),
    );
  });
});

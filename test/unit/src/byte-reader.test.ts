import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { ByteReader } from '#src/byte-reader';
import { concatBytes, lengthPrefixed, uint32be, uint64be } from '#src/bytes';

class Cut extends Error {}

const reading = (bytes: Uint8Array) => new ByteReader(bytes, (reason) => new Cut(reason));

describe('byte reader', () => {
  it('gives back what was written, wherever in its buffer the bytes begin', () => {
    const inputs = fc.tuple(
      fc.nat(255),
      fc.nat(0xffff_ffff),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ maxLength: 40 }),
    );
    fc.assert(
      fc.property(inputs, fc.nat(8), ([small, number, wide, field, rest], offset) => {
        const written = concatBytes(
          Uint8Array.of(small),
          uint32be(number),
          uint64be(wide),
          lengthPrefixed(field),
          rest,
        );
        const reader = reading(concatBytes(new Uint8Array(offset), written).subarray(offset));
        const read = [reader.uint8(), reader.uint32(), reader.uint64(), reader.field()];
        assert.deepEqual(read, [small, number, wide, field]);
        assert.equal(reader.at, written.length - rest.length);
        assert.deepEqual(reader.rest(), rest);
        assert.equal(reader.left, 0);
      }),
    );
  });

  it('throws the error of whoever reads for what is cut, and never reads further than there are bytes', () => {
    const reads: Record<string, [number, (reader: ByteReader) => unknown]> = {
      uint8: [1, (reader) => reader.uint8()],
      uint16: [2, (reader) => reader.uint16()],
      uint32: [4, (reader) => reader.uint32()],
      uint64: [8, (reader) => reader.uint64()],
      bytes: [5, (reader) => reader.bytes(5)],
      view: [5, (reader) => reader.view(5)],
      field: [9, (reader) => reader.field()],
    };
    for (const [name, [length, read]] of Object.entries(reads)) {
      const whole = new Uint8Array(length);
      if (name === 'field') whole[3] = 5;
      read(reading(whole));
      for (let cut = 0; cut < length; cut++) {
        // Behind the end of the view there are more bytes, which are none of its.
        const reader = reading(concatBytes(whole, whole).subarray(0, cut));
        assert.throws(() => read(reader), Cut, `${name} cut at ${cut}`);
      }
    }
    assert.throws(() => reading(uint32be(0xffff_ffff)).field(), Cut);
  });

  it('copies what it hands out, and shares what it is asked to', () => {
    // A Buffer's own `slice` would not copy.
    const bytes = Buffer.from([1, 2, 3, 4]);
    const reader = reading(bytes);
    const [copy, view] = [reader.bytes(2), reader.view(2)];
    bytes.fill(9);
    assert.deepEqual(
      [[...copy], [...view]],
      [
        [1, 2],
        [9, 9],
      ],
    );
  });
});

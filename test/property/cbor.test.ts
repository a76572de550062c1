import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';

const malformed = { code: 'CBOR_MALFORMED' };
const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((it) => it.isWellFormed());

const value: fc.Arbitrary<CborValue> = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.maxSafeInteger().map((n) => n + 0),
    fc.constantFrom(
      0,
      23,
      24,
      255,
      256,
      65_535,
      65_536,
      2 ** 32 - 1,
      2 ** 32,
      -24,
      -25,
      -(2 ** 32),
    ),
    text,
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 6 }),
    fc.array(fc.tuple(text, tie('value')), { maxLength: 6 }).map((entries) => new Map(entries)),
  ),
})).value;

/** Nearly well formed: a value with a few bytes changed, put in or taken out. */
const damaged = fc
  .tuple(
    value,
    fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'in', 'out')), {
      minLength: 1,
      maxLength: 3,
    }),
  )
  .map(([it, changes]) => {
    const bytes = [...encodeCbor(it)];
    for (const [at, byte, kind] of changes) {
      const place = at % (bytes.length + 1);
      bytes.splice(place, kind === 'in' ? 0 : 1, ...(kind === 'out' ? [] : [byte]));
    }
    return new Uint8Array(bytes);
  });

/** Either an error of the decoder, or bytes that the encoder would write again. */
function expectStrict(bytes: Uint8Array): void {
  let decoded: CborValue;
  try {
    decoded = decodeCbor(bytes);
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'CBOR_MALFORMED', String(error));
    return;
  }
  assert.deepEqual(encodeCbor(decoded), bytes);
}

describe('deterministic CBOR', () => {
  it('decodes what it encodes', () => {
    fc.assert(
      fc.property(value, (it) => {
        const bytes = encodeCbor(it);
        assert.deepEqual(encodeCbor(decodeCbor(bytes)), bytes);
        assert.deepEqual(sorted(decodeCbor(bytes)), sorted(it));
      }),
    );
  });

  it('encodes again to the same bytes whatever it decodes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), expectStrict), { numRuns: 2_000 });
    fc.assert(fc.property(damaged, expectStrict), { numRuns: 1_000 });
  });

  it('writes one map whatever the order of its entries', () => {
    fc.assert(
      fc.property(fc.uniqueArray(text, { maxLength: 8 }), (keys) => {
        const forth = new Map(keys.map((key) => [key, key]));
        const back = new Map(keys.toReversed().map((key) => [key, key]));
        assert.deepEqual(encodeCbor(forth), encodeCbor(back));
      }),
    );
  });

  it('agrees with RFC 8949 appendix A', () => {
    const examples: readonly (readonly [CborValue, string])[] = [
      [0, '00'],
      [23, '17'],
      [24, '1818'],
      [1000, '1903e8'],
      [1_000_000, '1a000f4240'],
      [1_000_000_000_000, '1b000000e8d4a51000'],
      [-1, '20'],
      [-1000, '3903e7'],
      [false, 'f4'],
      [true, 'f5'],
      [null, 'f6'],
      [hex('01020304'), '4401020304'],
      ['IETF', '6449455446'],
      ['\u{10151}', '64f0908591'],
      [[1, [2, 3]], '8201820203'],
      [
        new Map<string, CborValue>([
          ['a', 1],
          ['b', [2, 3]],
        ]),
        'a26161016162820203',
      ],
    ];
    for (const [it, encoded] of examples) {
      assert.equal(Buffer.from(encodeCbor(it)).toString('hex'), encoded);
      assert.deepEqual(decodeCbor(hex(encoded)), it);
    }
  });

  it('refuses what it would not have written', () => {
    const refused: Readonly<Record<string, string>> = {
      nothing: '',
      'a byte too many': '0000',
      '23 in two bytes': '1817',
      '255 in three bytes': '1900ff',
      '65535 in five bytes': '1a0000ffff',
      'a small number in nine bytes': '1b0000000000000001',
      'an integer that is not safe': '1b0020000000000000',
      'a negative integer that is not safe': '3b001fffffffffffff',
      'a length that is not minimal': '580101',
      'an indefinite byte string': '5f4101ff',
      'an indefinite list': '9f01ff',
      'an indefinite map': 'bf616101ff',
      'a tag': 'c000',
      undefined: 'f7',
      'a simple value': 'e0',
      'a simple value in two bytes': 'f8ff',
      'a half float': 'f93c00',
      'a float': 'fa47c35000',
      'a double': 'fb3ff199999999999a',
      break: 'ff',
      'a reserved length': '1c',
      'text that is not UTF-8': '61ff',
      'a lone surrogate': '63eda080',
      'a key twice': 'a2616101616102',
      'keys out of order': 'a2616201616101',
      'a longer key before a shorter one': 'a262616101616201',
      'a number as a key': 'a10101',
      'a map cut short': 'a26161016162',
      'a byte string cut short': '4401',
    };
    for (const [what, encoded] of Object.entries(refused)) {
      assert.throws(() => decodeCbor(hex(encoded)), malformed, what);
    }
  });

  it('keeps a byte order mark, so that two texts stay two', () => {
    assert.equal(decodeCbor(hex('63efbbbf')), '\ufeff');
  });

  it('refuses lengths that the bytes cannot hold before it builds anything', () => {
    for (const head of ['5b', '7b', '9b', 'bb']) {
      assert.throws(() => decodeCbor(hex(`${head}001fffffffffffff`)), malformed);
      assert.throws(() => decodeCbor(hex(`${head}0000000100000000`)), malformed);
    }
    for (const head of ['5a', '7a', '9a', 'ba'])
      assert.throws(() => decodeCbor(hex(`${head}ffffffff00`)), malformed);
  });

  it('follows 16 levels and no more', () => {
    const nested = (levels: number) => hex(`${'81'.repeat(levels)}00`);
    assert.doesNotThrow(() => decodeCbor(nested(16)));
    assert.throws(() => decodeCbor(nested(17)), malformed);
    assert.throws(() => decodeCbor(nested(1_000_000)), malformed);
    assert.throws(() => decodeCbor(hex(`${'a16161'.repeat(40)}00`)), malformed);
  });

  it('gives copies of byte strings, of a Buffer too', () => {
    for (const source of [hex('42abcd'), Buffer.from('42abcd', 'hex')]) {
      const copy = decodeCbor(source) as Uint8Array;
      source.fill(0);
      assert.deepEqual(copy, hex('abcd'));
    }
  });

  it('encodes nothing that is not one of its types', () => {
    const wrong = [
      1.5,
      2 ** 53,
      Number.NaN,
      1n,
      undefined,
      {},
      new Set([1]),
      'a\ud800',
      [undefined],
      new Map([['a', 0.5]]),
    ];
    for (const it of wrong) assert.throws(() => encodeCbor(it as CborValue), TypeError, String(it));
  });
});

/** Maps compare by insertion order here, which the encoding does not keep. */
function sorted(it: CborValue): unknown {
  if (it instanceof Map) {
    return [...it]
      .map(([key, inner]) => [key, sorted(inner)] as const)
      .sort((a, b) => (a[0] < b[0] ? -1 : 1));
  }
  if (Array.isArray(it)) return it.map(sorted);
  return it;
}

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { visible, visibleJson } from '#src/visible';

/** Written out, not asked of the regular expression engine: C0, DEL, C1, marks, zero width, bidirectional, separators, fillers, tags. */
const dangerous: readonly (readonly [number, number])[] = [
  [0x00, 0x1f],
  [0x7f, 0x9f],
  [0xad, 0xad],
  [0x34f, 0x34f],
  [0x61c, 0x61c],
  [0x115f, 0x1160],
  [0x17b4, 0x17b5],
  [0x180b, 0x180f],
  [0x200b, 0x200f],
  [0x2028, 0x202e],
  [0x2060, 0x206f],
  [0x3164, 0x3164],
  [0xd800, 0xdfff],
  [0xe000, 0xf8ff],
  [0xfe00, 0xfe0f],
  [0xfeff, 0xfeff],
  [0xffa0, 0xffa0],
  [0xfff0, 0xfffb],
  [0xfffe, 0xffff],
  [0x1bca0, 0x1bca3],
  [0x1d173, 0x1d17a],
  [0xe0000, 0xe0fff],
  [0xf0000, 0x10ffff],
];

const codes = dangerous.flatMap(([first, last]) =>
  last - first < 0x200
    ? Array.from({ length: last - first + 1 }, (_, i) => first + i)
    : [first, first + 1, (first + last) >> 1, last],
);
const isDangerous = (code: number) =>
  dangerous.some(([first, last]) => code >= first && code <= last);
const anyText = fc.array(
  fc.oneof(fc.constantFrom(...codes), fc.integer({ min: 0x20, max: 0x10ffff })),
);

describe('text of others, made visible', () => {
  it('no code point that a terminal obeys, hides, reorders or breaks a line at is left, whatever stands around it', () => {
    for (const code of codes) {
      const shown = visible(`a${String.fromCodePoint(code)}b`);
      assert.match(shown, /^a\\u(\{[0-9a-f]+\}|[0-9a-f]{4})b$/, code.toString(16));
    }
    fc.assert(
      fc.property(anyText, (list) => {
        const shown = visible(String.fromCodePoint(...list));
        assert.ok(![...shown].some((c) => isDangerous(c.codePointAt(0) as number)), shown);
        assert.equal(visible(shown), shown);
      }),
    );
  });

  it('what a person writes stays as it is', () => {
    for (const text of [
      '',
      'hospital-a',
      'Ærøskøbing: 3 × ½ €',
      'Klinikum Ölbronn',
      '医院',
      'ελλάδα',
      'שלום',
    ])
      assert.equal(visible(text), text);
  });

  it('JSON parses to the same value, and its own line breaks stay', () => {
    const value = { a: `\u009b2J\u202e\u{e0041}\n`, b: ['\u2028', 'x'] };
    const text = JSON.stringify(value, undefined, 2);
    const shown = visibleJson(text);
    assert.deepEqual(JSON.parse(shown), value);
    assert.match(shown, /^[\x20-\x7e\n]*$/);
    assert.equal(shown.split('\n').length, text.split('\n').length);
    fc.assert(
      fc.property(anyText, (list) => {
        const inside = String.fromCodePoint(...list);
        assert.equal(JSON.parse(visibleJson(JSON.stringify(inside))), inside);
      }),
    );
  });
});

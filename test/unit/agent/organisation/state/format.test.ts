import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { formatFile, parseFormatFile } from '#agent/organisation/state/format';

const text = (...args: Parameters<typeof formatFile>) =>
  Buffer.from(formatFile(...args)).toString();

describe('the format of a state directory', () => {
  it('is read as it was written', () => {
    for (const format of [
      { format: 2 },
      { format: 2, takenOver: { from: 1, at: '2026-11-30T20:47:46.410Z' } },
    ])
      assert.deepEqual(parseFormatFile(text(format)), format);
  });

  it('of a newer version is its number, whatever it says behind it', () => {
    assert.deepEqual(parseFormatFile('kelmesh-state 17\nand more\nof that\n'), { format: 17 });
  });

  const bad = [
    '',
    'kelmesh-state 2',
    'kelmesh-state 02\n',
    'kelmesh-state 0\n',
    'kelmesh-state -2\n',
    'kelmesh-state 1234567\n',
    ' kelmesh-state 2\n',
    'kelmesh-state 2\r\n',
    'kelmesh-state 2\n\n',
    'kelmesh-state 2\ntaken-over 1\n',
    'kelmesh-state 2\ntaken-over 2 2026-11-30T20:47:46.410Z\n',
    'kelmesh-state 2\ntaken-over 1 2026-13-30T20:47:46.410Z\n',
    'kelmesh-state 2\ntaken-over 1 2026-11-30T20:47:46.410Z\nmore\n',
  ];
  for (const one of bad)
    it(`is refused: ${JSON.stringify(one)}`, () => assert.equal(parseFormatFile(one), undefined));

  it('is written as it was read, whatever it is', () => {
    const lines = fc.constantFrom(
      ...['kelmesh-state 2\n', 'kelmesh-state 1\n', 'taken-over 1 2026-11-30T20:47:46.410Z\n'],
      ...['taken-over 2 ', '\n', ' ', 'kelmesh'],
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(lines).map((all) => all.join('')),
        ),
        (input) => {
          const read = parseFormatFile(input);
          if (read !== undefined && read.format <= 2) assert.equal(text(read), input);
        },
      ),
    );
  });
});

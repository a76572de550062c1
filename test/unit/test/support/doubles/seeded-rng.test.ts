import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';

describe('seeded randomness', () => {
  const draw = (rng: SeededRng) => Buffer.from(rng.bytes(32)).toString('hex');

  it('repeats for the same seed and differs for another', () => {
    assert.equal(draw(new SeededRng(1)), draw(new SeededRng(1)));
    assert.notEqual(draw(new SeededRng(1)), draw(new SeededRng(2)));
    const rng = new SeededRng(1);
    assert.notEqual(draw(rng), draw(rng));
  });

  it('does not depend on how it is drawn', () => {
    const [a, b] = [new SeededRng(1), new SeededRng(1)];
    assert.deepEqual(Buffer.concat([a.bytes(3), a.bytes(61)]), Buffer.from(b.bytes(64)));
  });

  it('forks by name, whatever was drawn before', () => {
    const parent = new SeededRng(1);
    const early = parent.fork('a');
    parent.bytes(100);
    assert.equal(draw(early), draw(parent.fork('a')));
    assert.notEqual(draw(parent.fork('a')), draw(parent.fork('b')));
  });

  it('next, int, pick and shuffle stay in range and reach all of it', () => {
    const rng = new SeededRng('ranges');
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) {
      const x = rng.next();
      assert.ok(x >= 0 && x < 1);
      const n = rng.int(10);
      counts[n] = (counts[n] ?? 0) + 1;
    }
    assert.equal(counts.length, 10);
    for (const count of counts) assert.ok(count > 800 && count < 1200, `${count} of 1000 expected`);
    assert.deepEqual(
      new Set(Array.from({ length: 99 }, () => rng.pick(['a', 'b']))),
      new Set(['a', 'b']),
    );
    assert.throws(() => rng.pick([]), RangeError);
    const items = Array.from({ length: 50 }, (_, i) => i);
    const shuffled = rng.shuffle(items);
    assert.notDeepEqual(shuffled, items);
    assert.deepEqual(
      [...shuffled].sort((a, b) => a - b),
      items,
    );
  });
});

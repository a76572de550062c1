import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ampleWitnesses, carriedThreshold, carriedWitnessThreshold } from '#kel/event/defaults';
import type { Aid } from '#kel/identifiers';

const many = (count: number) => Array.from({ length: count }, (_, i) => `w${i}` as Aid);

describe('defaults of a rotation', () => {
  it('keep the threshold in force over as many keys, whatever it is', () => {
    for (const threshold of ['1', '3', ['1/2', '1/2', '1/2'], [['1'], ['1/2', '1/2']]])
      assert.deepEqual(carriedThreshold(threshold, many(3), many(3)), threshold);
    assert.equal(carriedThreshold('3', many(3), many(5)), '3');
    assert.equal(carriedThreshold('1', many(1), many(4)), '2');
    assert.equal(carriedThreshold('1', many(1), []), '0');
  });

  it('never ask for fewer receipts than are in force, for any list that still has witnesses', () => {
    for (let before = 0; before <= 7; before++)
      for (let threshold = Math.min(1, before); threshold <= before; threshold++)
        for (let count = 0; count <= 9; count++) {
          const now = carriedWitnessThreshold(
            { witnesses: many(before), witnessThreshold: threshold },
            count,
          );
          const words = `${threshold} of ${before}, then ${count}: ${now}`;
          if (count === 0) assert.equal(now, 0, words);
          else assert.ok(now >= threshold, words);
          if (count === before) assert.equal(now, threshold, words);
          // An ample list stays ample when it grows; a threshold that somebody chose lower stays as it was chosen.
          const wasAmple = threshold >= ampleWitnesses(before);
          if (count > before)
            assert.equal(
              now >= ampleWitnesses(count),
              wasAmple || threshold >= ampleWitnesses(count),
              words,
            );
          if (count > before) assert.ok(now <= count, words);
        }
  });
});

/**
 * What a stranger's bytes cost at worst: each parser and evaluator that they reach, with the shapes that cost it most, as a
 * ratio to a bare CBOR parse (cbor-x) of as many bytes in the same run, and how it grows over 16, 64 and 256 kB.
 *
 * CPU time of this process, best of three rounds of at least 4 ms. The exponent is the slope of log time over log size: 1 is in
 * proportion, 2 is the square. One above 1.1 is measured again, twice, and the least counts; what stays above is marked, and
 * the benchmark ends with 1. What is cheaper than the bare parse at every size is not marked. `--door WORD` takes only the doors whose name holds the word.
 */
import { parseArgs } from 'node:util';
import { decode, encode } from 'cbor-x';
import { doors, type Growth, measure } from './support/doors.ts';
import { describeMachine } from './support/machine.ts';

const SIZES = [16, 64, 256].map((kilo) => kilo * 1_000);
const MAX_EXPONENT = 1.1;
const ATTEMPTS = 3;

const { door: word = '' } = parseArgs({ options: { door: { type: 'string' } } }).values;

/** Texts as long as a SAID: what an honest message holds. */
const bare = {
  name: 'a bare CBOR parse',
  max: Number.POSITIVE_INFINITY,
  shapes: {},
  run: (bytes: Uint8Array) => decode(bytes),
};
const texts = (size: number): Uint8Array =>
  encode(Array.from({ length: size / 46 }, (_, n) => `${n}`.padStart(44, 'E')));
// Once for the compiler.
await measure(bare, texts, SIZES);
const baseline = await measure(bare, texts, SIZES);

const sized = ({ ms }: Growth) =>
  ms
    .map((taken, i) => {
      const base = baseline.ms[i];
      return taken === 'refused' || typeof base !== 'number'
        ? 'refused'.padStart(18)
        : `${taken.toFixed(2)} ms ${(taken / base).toFixed(1)} x`.padStart(18);
    })
    .join(' ');

/** Than the bare parse, at the largest size that is read: below it, copying and the garbage collector are what is measured. */
function isDearer({ ms }: Growth): boolean {
  const at = ms.findLastIndex((taken) => taken !== 'refused');
  const [taken, base] = [ms[at], baseline.ms[at]];
  return typeof taken === 'number' && typeof base === 'number' && taken > base;
}

console.log(describeMachine());
console.log(
  `${'door, shape'.padEnd(66)} ${['16 kB', '64 kB', '256 kB'].map((it) => it.padStart(18)).join(' ')}  exponent`,
);
console.log(`${bare.name.padEnd(66)} ${sized(baseline)}  ${baseline.exponent.toFixed(2)}`);

let worst = 0;
for (const door of doors.filter(({ name }) => name.includes(word))) {
  for (const [name, shape] of Object.entries(door.shapes)) {
    let growth = await measure(door, shape, SIZES);
    for (let attempt = 1; growth.exponent > MAX_EXPONENT && attempt < ATTEMPTS; attempt++) {
      const again = await measure(door, shape, SIZES);
      if (again.exponent < growth.exponent) growth = again;
    }
    const { exponent } = growth;
    const isOver = exponent > MAX_EXPONENT && isDearer(growth);
    if (isOver) worst += 1;
    const shown = Number.isNaN(exponent) ? '-' : exponent.toFixed(2);
    console.log(
      `${`${door.name}: ${name}`.padEnd(66)} ${sized(growth)}  ${shown}${isOver ? `  above ${MAX_EXPONENT}` : ''}`,
    );
  }
}
console.log(`${worst} above ${MAX_EXPONENT}`);
if (worst > 0) process.exitCode = 1;

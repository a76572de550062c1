/** Signing thresholds: a number of keys, or weights in exact fractions, clause by clause. */
import { parseHexNumber } from '#kel/cesr/number';
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import type { ThresholdForm } from './key-state.ts';

interface Fraction {
  readonly numerator: number;
  readonly denominator: number;
}

/** At most seven digits: more is refused before anything is computed. */
const WEIGHT = /^(0|1|([1-9][0-9]{0,6})\/([1-9][0-9]{0,6}))$/;
const MAX_CLAUSES = 64;
/** Of one threshold, over all clauses; as many as an event has keys. */
const MAX_WEIGHTS = 256;
/** Weights of a millionth are finer than any organisation divides its votes. */
const MAX_DENOMINATOR = 1_000_000;
/**
 * Bits of the common denominator of a clause, and so of every sum: room for all of 1/2, 1/3, … 1/180 in one clause.
 * Without a bound a stranger's coprime denominators make a number of tens of thousands of bits.
 */
const MAX_DENOMINATOR_BITS = 256;
const DENOMINATOR_LIMIT = 1n << BigInt(MAX_DENOMINATOR_BITS);

/**
 * Checks a threshold against the number of keys it stands over.
 * @param count keys or next-key digests; 0 only with threshold "0"
 * @throws KEL_BAD_THRESHOLD; KEL_LIMIT for weights that no organisation needs
 */
export function checkThreshold(label: string, value: unknown, count: number): ThresholdForm {
  if (typeof value === 'string') return checkNumber(label, value, count);
  const clauses = clausesOf(label, value);
  const weights = clauses.reduce((sum, clause) => sum + clause.length, 0);
  if (weights !== count) throw bad(label, `${weights} weights stand over ${count} keys`);
  for (const clause of clauses) {
    const fractions = clause.map((weight) => parseWeight(label, weight));
    if (!reachesOne(label, fractions, fractions))
      throw bad(label, `weights ${quote(clause.join(', '))} sum to less than 1`);
  }
  return value as ThresholdForm;
}

/**
 * True when the keys at `indices` meet the threshold. Each index counts once, however often it is given.
 * @param threshold of an accepted event
 */
export function satisfies(threshold: ThresholdForm, indices: Iterable<number>): boolean {
  const given = indices instanceof Set ? (indices as ReadonlySet<number>) : new Set(indices);
  if (typeof threshold === 'string') {
    const least = Number.parseInt(threshold, 16);
    return least > 0 && given.size >= least;
  }
  let offset = 0;
  for (const clause of clausesOf('threshold', threshold)) {
    const from = offset;
    const all = clause.map((weight) => parseWeight('threshold', weight));
    const met = all.filter((_, i) => given.has(from + i));
    if (!reachesOne('threshold', all, met)) return false;
    offset += clause.length;
  }
  return offset > 0;
}

function checkNumber(label: string, value: string, count: number): string {
  let number: number;
  try {
    number = parseHexNumber(label, value);
  } catch (cause) {
    throw new KelError('KEL_BAD_THRESHOLD', (cause as Error).message, { cause });
  }
  if (number > count) throw bad(label, `${number} of ${count} keys cannot be met`);
  if (number === 0 && count > 0) throw bad(label, `0 of ${count} keys would never be satisfied`);
  return value;
}

function clausesOf(label: string, value: unknown): readonly (readonly string[])[] {
  if (!Array.isArray(value) || value.length === 0)
    throw bad(label, `expected hex or a list of weights, got ${quote(value)}`);
  const clauses: unknown[] = Array.isArray(value[0]) ? value : [value];
  if (clauses.length > MAX_CLAUSES)
    throw tooMuch(label, `${clauses.length} clauses are above ${MAX_CLAUSES}`);
  let weights = 0;
  for (const clause of clauses) {
    weights += Array.isArray(clause) ? clause.length : 0;
    if (weights > MAX_WEIGHTS) throw tooMuch(label, `${weights} weights are above ${MAX_WEIGHTS}`);
    if (
      !Array.isArray(clause) ||
      clause.length === 0 ||
      clause.some((weight) => typeof weight !== 'string')
    ) {
      throw bad(label, 'a clause is not a list of weights');
    }
  }
  return clauses as readonly (readonly string[])[];
}

/** "0", "1", or a proper fraction in lowest terms. */
function parseWeight(label: string, text: string): Fraction {
  const match = WEIGHT.exec(text);
  if (match === null)
    throw bad(label, `weight ${quote(text)} is not a fraction from 0 to 1, of at most 7 digits`);
  if (match[2] === undefined || match[3] === undefined)
    return { numerator: Number(text), denominator: 1 };
  const numerator = Number(match[2]);
  const denominator = Number(match[3]);
  if (denominator > MAX_DENOMINATOR)
    throw tooMuch(label, `weight ${text}: the denominator is above ${MAX_DENOMINATOR}`);
  if (numerator >= denominator || greatestCommonDivisor(numerator, denominator) !== 1)
    throw bad(label, `weight ${text} is not a proper fraction in lowest terms`);
  return { numerator, denominator };
}

/**
 * Exact, over the common denominator of the clause: one multiplication and one addition of bounded numbers per weight.
 * @param clause all weights; a threshold is in bounds or not, whoever signs  @param met some of them
 */
function reachesOne(label: string, clause: readonly Fraction[], met: readonly Fraction[]): boolean {
  const common = commonDenominator(label, clause);
  let sum = 0n;
  for (const { numerator, denominator } of met) {
    sum += BigInt(numerator) * (common / BigInt(denominator));
    if (sum >= common) return true;
  }
  return false;
}

/** @throws KEL_LIMIT */
function commonDenominator(label: string, weights: readonly Fraction[]): bigint {
  let common = 1n;
  for (const denominator of new Set(weights.map((weight) => weight.denominator))) {
    const shared = greatestCommonDivisor(denominator, Number(common % BigInt(denominator)));
    common *= BigInt(denominator / shared);
    if (common > DENOMINATOR_LIMIT)
      throw tooMuch(label, `the common denominator has more than ${MAX_DENOMINATOR_BITS} bits`);
  }
  return common;
}

function greatestCommonDivisor(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

function bad(label: string, what: string): KelError {
  return new KelError('KEL_BAD_THRESHOLD', `${label}: ${what}`);
}

function tooMuch(label: string, what: string): KelError {
  return new KelError('KEL_LIMIT', `${label}: ${what}`);
}

/** Signing thresholds: a number of keys, or weights in exact fractions, clause by clause. */
import { parseHexNumber } from '#kel/cesr/number';
import { KelError } from '#kel/errors';
import type { ThresholdForm } from './key-state.ts';

interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const WEIGHT = /^(0|1|([1-9][0-9]{0,8})\/([1-9][0-9]{0,8}))$/;
const MAX_CLAUSES = 64;

/**
 * Checks a threshold against the number of keys it stands over.
 * @param count keys or next-key digests; 0 only with threshold "0"
 * @throws KEL_BAD_THRESHOLD
 */
export function checkThreshold(label: string, value: unknown, count: number): ThresholdForm {
  if (typeof value === 'string') return checkNumber(label, value, count);
  const clauses = clausesOf(label, value);
  const weights = clauses.reduce((sum, clause) => sum + clause.length, 0);
  if (weights !== count) throw bad(label, `${weights} weights stand over ${count} keys`);
  for (const clause of clauses) {
    if (!reachesOne(clause.map((weight) => parseWeight(label, weight)))) {
      throw bad(label, `weights ${clause.join(', ')} sum to less than 1`);
    }
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
    const met = clause
      .filter((_, i) => given.has(offset + i))
      .map((weight) => parseWeight('threshold', weight));
    if (!reachesOne(met)) return false;
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
    throw bad(label, `expected hex or a list of weights, got ${JSON.stringify(value)}`);
  const clauses: unknown[] = Array.isArray(value[0]) ? value : [value];
  if (clauses.length > MAX_CLAUSES)
    throw bad(label, `${clauses.length} clauses are above ${MAX_CLAUSES}`);
  for (const clause of clauses) {
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
    throw bad(label, `weight ${JSON.stringify(text)} is not a fraction from 0 to 1`);
  if (match[2] === undefined || match[3] === undefined)
    return { numerator: BigInt(text), denominator: 1n };
  const numerator = BigInt(match[2]);
  const denominator = BigInt(match[3]);
  if (numerator >= denominator || greatestCommonDivisor(numerator, denominator) !== 1n) {
    throw bad(label, `weight ${text} is not a proper fraction in lowest terms`);
  }
  return { numerator, denominator };
}

function reachesOne(weights: readonly Fraction[]): boolean {
  let numerator = 0n;
  let denominator = 1n;
  for (const weight of weights) {
    numerator = numerator * weight.denominator + weight.numerator * denominator;
    denominator *= weight.denominator;
    const divisor = greatestCommonDivisor(numerator, denominator);
    numerator /= divisor;
    denominator /= divisor;
  }
  return numerator >= denominator;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

function bad(label: string, what: string): KelError {
  return new KelError('KEL_BAD_THRESHOLD', `${label}: ${what}`);
}

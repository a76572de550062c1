/** What the tests of the inner CA share. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '#src/clock';
import type { PassphraseCost } from '#src/keystore/sealed-file-format';
import type { Rng } from '#src/rng';

/** The least that Argon2id takes: the tests are not about its cost. */
export const cheapCost: PassphraseCost = { memory: 8, passes: 1, lanes: 1 };

export const systemRng: Rng = { bytes: (length) => randomBytes(length) };

/** A clock that stands still. */
export function clockAt(ms: number): Clock {
  return { now: () => ms, sleep: async () => {} };
}

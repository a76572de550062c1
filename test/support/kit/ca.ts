/** What the tests of the inner CA share. */
import { initCa } from '#agent/inner/ca/ca';
import { type CaRotationOptions, rotateCa } from '#agent/inner/ca/rotation';
import { utf8 } from '#src/bytes';
import type { PassphraseCost } from '#src/crypto/passphrase';
import { type AtomicFileSteps, atomicFileSteps } from '#src/files/atomic-file';
import { Secret } from '#src/secret';
import { SeededRng } from '../doubles/seeded-rng.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';

/** The least that Argon2id takes: the tests are not about its cost. */
export const cheapCost: PassphraseCost = { memory: 8, passes: 1, lanes: 1 };

export const DAY = 86_400_000;

/** A CA directory, and what every command on it is given. P-256, because it is fast. */
export function caAt(dir: string, start: number) {
  const clock = new SimulatedClock({ start });
  const common = {
    dir,
    passphrase: new Secret(utf8('correct horse')),
    clock,
    rng: new SeededRng(dir),
  };
  return {
    ...common,
    init: (name: string, domain = `${name.toLowerCase()}.example`) =>
      initCa({ ...common, name, domain, algorithm: 'p256', cost: cheapCost }),
    rotate: (change: Partial<CaRotationOptions> = {}) => rotateCa({ ...common, ...change }),
  };
}

/** Fails at step `at`, counted from 0, before it is made or after; `total` counts the steps. */
export class CrashingSteps implements AtomicFileSteps {
  total = 0;
  readonly #at: number;
  readonly #moment: 'before' | 'after';

  constructor(at = Number.POSITIVE_INFINITY, moment: 'before' | 'after' = 'before') {
    this.#at = at;
    this.#moment = moment;
  }

  write = (path: string, bytes: Uint8Array) => this.#step(() => atomicFileSteps.write(path, bytes));
  sync = (path: string) => this.#step(() => atomicFileSteps.sync(path));
  rename = (from: string, to: string) => this.#step(() => atomicFileSteps.rename(from, to));
  syncDirectory = (path: string) => this.#step(() => atomicFileSteps.syncDirectory(path));

  async #step(make: () => Promise<void>): Promise<void> {
    const isCrash = this.total === this.#at;
    this.total++;
    if (!isCrash || this.#moment === 'after') await make();
    if (isCrash) throw new Error('crash');
  }
}

/**
 * The time of day by monotonic time: a clock that is stepped moves nothing by itself. It goes along with a clock that is slewed, and
 * with a step that others confirm, or that has stood for long while there was nobody to ask.
 */
import type { Clock } from './clock.ts';

/** By this much a clock may have moved against monotonic time since the last look without a step, milliseconds. */
export const SLEW_MS = 2_000;
/** A clock of others this near, in milliseconds, shows the same time. */
const NEAR_MS = 55_000;
/** A step about which nobody else can be asked is followed after this, in milliseconds. */
export const ALONE_MS = 600_000;

/** The clock of this machine shows another time than monotonic time leads to. */
export interface ClockStep {
  /** Milliseconds; positive: the clock is ahead. */
  readonly byMs: number;
  /** When it was noticed, by the time before the step: milliseconds since the Unix epoch. */
  readonly at: number;
}

/**
 * Whether a step is followed.
 * @param stoodMs how long the clock has shown it  @param others by how much clocks of others are ahead of the time before the step
 */
export function isConfirmed(
  { byMs }: Pick<ClockStep, 'byMs'>,
  stoodMs: number,
  others: readonly number[],
): boolean {
  let isRight = 0;
  let isWrong = 0;
  for (const ahead of others) {
    const [before, after] = [Math.abs(ahead), Math.abs(ahead - byMs)];
    if (Math.min(before, after) > NEAR_MS) continue;
    if (after < before) isRight += 1;
    else isWrong += 1;
  }
  return isRight === isWrong && isRight === 0 ? stoodMs >= ALONE_MS : isRight > isWrong;
}

export class SteadyTime {
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #others: () => Iterable<number>;
  /** Milliseconds since the Unix epoch at which monotonic time was 0. */
  #zero: number;
  #step: (ClockStep & { readonly since: number }) | undefined;

  /** @param others the time of each that was heard, as {@link zero} */
  constructor(clock: Pick<Clock, 'now' | 'monotonic'>, others: () => Iterable<number>) {
    this.#clock = clock;
    this.#others = others;
    this.#zero = clock.now() - clock.monotonic();
  }

  /** Whole milliseconds since the Unix epoch. */
  now(): number {
    const since = this.#clock.monotonic();
    const shown = this.#clock.now();
    const steady = Math.round(since + this.#zero);
    const byMs = shown - steady;
    if (Math.abs(byMs) <= SLEW_MS) {
      this.#step = undefined;
      this.#zero += byMs;
      return shown;
    }
    if (this.#step === undefined || Math.abs(this.#step.byMs - byMs) > SLEW_MS)
      this.#step = { byMs, at: steady, since };
    const ahead = [...this.#others()].map((zero) => zero - this.#zero);
    if (!isConfirmed(this.#step, since - this.#step.since, ahead)) return steady;
    this.#step = undefined;
    this.#zero += byMs;
    return shown;
  }

  /** The step that is not followed; undefined when the clock shows this time. */
  get step(): ClockStep | undefined {
    this.now();
    return this.#step && { byMs: this.#step.byMs, at: this.#step.at };
  }
}

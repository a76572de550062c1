/**
 * The clocks of members, as they were last heard: each as its time at the moment in which the own monotonic time was 0, so that a step
 * of the own clock moves none of them.
 */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';

/** A clock that was not heard for longer, in milliseconds, confirms no step. */
const AGE_MS = 600_000;

export class PeerClocks {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** And when that was heard, by monotonic time. */
  readonly #zeros = new Map<Aid, { readonly zero: number; readonly heard: number }>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** @param time what its clock shows now: milliseconds since the Unix epoch  @param isKnown of all others are forgotten */
  heard(aid: Aid, time: number, isKnown: (aid: Aid) => boolean): void {
    const heard = this.#clock.monotonic();
    this.#zeros.set(aid, { zero: time - heard, heard });
    for (const known of this.#zeros.keys()) if (!isKnown(known)) this.#zeros.delete(known);
  }

  /** Milliseconds that the clock of `aid` is ahead of `now`, if it goes on as it was last heard; undefined: it never was. */
  skewOf(aid: Aid, now: number): number | undefined {
    const clock = this.#zeros.get(aid);
    return clock === undefined ? undefined : Math.round(clock.zero + this.#clock.monotonic() - now);
  }

  /** Those that were heard of late, as their time when monotonic time was 0: a machine that slept has heard nobody. */
  recent(): readonly number[] {
    const since = this.#clock.monotonic() - AGE_MS;
    return [...this.#zeros.values()].flatMap(({ zero, heard }) => (heard >= since ? [zero] : []));
  }
}

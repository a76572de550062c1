/**
 * How long the demonstration waits for something: until it is there, until an agent has fallen, or until it is
 * interrupted. What never comes ends it too, after a time that goes with the speed of the machine.
 */

const POLL_MS = 60;

export class Patience {
  readonly #signal: AbortSignal;
  #slowness = 1;

  /** @param signal ends every wait, with its reason */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /**
   * An emulator takes for everything what it takes for the first thing.
   * @param tookMs for a task that takes `usualMs` on a machine of our days
   */
  calibrate(tookMs: number, usualMs: number): void {
    this.#slowness = Math.max(1, tookMs / usualMs);
  }

  /** Polls until `condition` holds. @param ms enough on a machine of our days  @throws with what was waited for */
  async until(ms: number, what: string, condition: () => Promise<boolean>): Promise<void> {
    const enough = ms * this.#slowness;
    for (const end = performance.now() + enough; ; ) {
      this.#signal.throwIfAborted();
      if (await condition()) return;
      if (performance.now() > end)
        throw new Error(`not within ${Math.round(enough / 1_000)} s: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

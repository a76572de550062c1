/** Steps in order, each timed and told in plain words; the first that fails is the last. */
import type { StepReport } from './report.ts';

export interface DemoStep {
  readonly name: string;
  /** What it does. */
  readonly words: string;
  /** @returns what it found, in words */
  readonly act: () => Promise<string>;
}

export class StepSequence {
  readonly #say: (line: string) => void;
  readonly #signal: AbortSignal;
  readonly #taken: StepReport[] = [];
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(say: (line: string) => void, signal: AbortSignal) {
    this.#say = say;
    this.#signal = signal;
  }

  get taken(): readonly StepReport[] {
    return this.#taken;
  }

  /** Resolves when the step under way, or the last one, does no more: an interrupted one goes on for a while. */
  async idle(): Promise<void> {
    await this.#underWay;
  }

  /** @returns whether every step did what it says */
  async run(steps: readonly DemoStep[]): Promise<boolean> {
    try {
      for (const step of steps) await this.#take(step, steps.length);
      return true;
    } catch {
      return false;
    }
  }

  async #take({ name, words, act }: DemoStep, of: number): Promise<void> {
    const say = this.#say;
    const signal = this.#signal;
    signal.throwIfAborted();
    const number = `[${String(this.#taken.length + 1).padStart(2)}/${of}]`;
    say(`${number} ${words} ...`);
    const began = performance.now();
    const slow = setInterval(
      () => say(`        still at it, ${Math.round((performance.now() - began) / 1_000)} s`),
      5_000,
    );
    const interrupted = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
    );
    interrupted.catch(() => undefined);
    try {
      const acting = act();
      this.#underWay = acting.catch(() => undefined);
      const detail = await Promise.race([acting, interrupted]);
      const ms = Math.round(performance.now() - began);
      this.#taken.push({ name, ok: true, ms, detail });
      say(`        ${detail} (${(ms / 1_000).toFixed(1)} s)`);
    } catch (error) {
      const detail = (error as Error).message;
      this.#taken.push({ name, ok: false, ms: Math.round(performance.now() - began), detail });
      say(`        FAILED: ${detail}`);
      throw error;
    } finally {
      clearInterval(slow);
    }
  }
}

/**
 * Measures one tunnel by echoes: loss and latency of short packets at a steady rate, whether the longest arrives, and how fast trains of
 * those do. The other end answers as it answers any echo, so nothing is asked of it but to run.
 */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import type { Echoes } from './echoes.ts';
import { PathError } from './errors.ts';

const SHORT = 84;
const COUNT = 50;
const INTERVAL_MS = 20;
const WAIT_MS = 1_000;
const TRIES = 3;
/** Packets of a train: what the buffer of a socket holds as the system makes it. */
const TRAIN = 100;
const TRAINS = 2;
/** Tests follow each other no closer: the other end answers so many echoes and no more. */
const REST_MS = 3_000;

export interface EdgeTestDeps {
  readonly echoes: Pick<Echoes, 'ask'>;
  readonly clock: Clock;
}

/** Milliseconds there and back. */
export interface RoundTrips {
  readonly min: number;
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

export interface EdgeResult {
  readonly sent: number;
  readonly received: number;
  /** Undefined: nothing came back. */
  readonly roundTrips: RoundTrips | undefined;
  /** Bytes of the longest packet that was tried, and whether it came through. */
  readonly longest: number;
  readonly longestArrives: boolean;
  /** Bits a second of the packets of the fastest train, one way; undefined: too few came. */
  readonly bitsPerSecond: number | undefined;
}

export class EdgeTest {
  readonly #deps: EdgeTestDeps;
  readonly #queue = new SerialQueue();

  constructor(deps: EdgeTestDeps) {
    this.#deps = deps;
  }

  /**
   * One at a time.
   * @param longest bytes of the longest packet that is to pass  @param progress what is done now, in words
   * Throws PATH_NO_TUNNEL when no echo is answered at all.
   */
  async run(aid: Aid, longest: number, progress: (text: string) => void): Promise<EdgeResult> {
    return this.#queue.run(async () => {
      progress(`${COUNT} short packets, one every ${INTERVAL_MS} ms`);
      const times = await this.#steady(aid);
      if (times.length === 0)
        throw new PathError('PATH_NO_TUNNEL', `${aid} has answered none of ${COUNT} echoes`);
      progress(`packets of ${longest} bytes`);
      const longestArrives = await this.#arrives(aid, longest);
      progress(`${TRAINS} trains of ${TRAIN} packets`);
      const bitsPerSecond = longestArrives ? await this.#fastest(aid, longest) : undefined;
      await this.#deps.clock.sleep(REST_MS);
      return {
        sent: COUNT,
        received: times.length,
        roundTrips: roundTripsOf(times),
        longest,
        longestArrives,
        bitsPerSecond,
      };
    });
  }

  async #steady(aid: Aid): Promise<readonly number[]> {
    const { echoes, clock } = this.#deps;
    const answers: Promise<number | undefined>[] = [];
    for (let n = 0; n < COUNT; n++) {
      answers.push(echoes.ask(aid, SHORT, WAIT_MS));
      await clock.sleep(INTERVAL_MS);
    }
    return (await Promise.all(answers)).filter((ms) => ms !== undefined);
  }

  async #arrives(aid: Aid, length: number): Promise<boolean> {
    for (let n = 0; n < TRIES; n++)
      if ((await this.#deps.echoes.ask(aid, length, WAIT_MS)) !== undefined) return true;
    return false;
  }

  async #fastest(aid: Aid, length: number): Promise<number | undefined> {
    let best: number | undefined;
    for (let n = 0; n < TRAINS; n++) {
      const rate = trainRate(await this.#train(aid, length), length);
      if (rate !== undefined) best = Math.max(best ?? 0, rate);
    }
    return best;
  }

  /** @returns when each answer came, monotonic */
  async #train(aid: Aid, length: number): Promise<readonly number[]> {
    const { echoes, clock } = this.#deps;
    const answers = Array.from({ length: TRAIN }, async () => {
      const begun = clock.monotonic();
      const ms = await echoes.ask(aid, length, WAIT_MS);
      return ms === undefined ? undefined : begun + ms;
    });
    return (await Promise.all(answers)).filter((at) => at !== undefined);
  }
}

/** @param times milliseconds, in any order */
export function roundTripsOf(times: readonly number[]): RoundTrips | undefined {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const [min, median, p95, max] = [sorted[0], at(0.5), at(0.95), sorted.at(-1)];
  if (min === undefined || median === undefined || p95 === undefined || max === undefined)
    return undefined;
  return { min, median, p95, max };
}

/**
 * From the first answer to the last lie as many packets as came, less one.
 * @param times milliseconds, in any order  @returns bits a second; undefined where half of the train is lost
 */
export function trainRate(times: readonly number[], length: number): number | undefined {
  if (times.length < TRAIN / 2) return undefined;
  const ms = Math.max(...times) - Math.min(...times);
  return ms <= 0 ? undefined : ((times.length - 1) * length * 8_000) / ms;
}

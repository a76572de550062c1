/**
 * Places for those that have not shown yet who they are: so many in all, so many for one source, and a newcomer always finds one.
 *
 * Whoever gives way is the oldest of the source that holds the most. So a crowd from few addresses pushes out itself, and who comes
 * from an address of its own has a place for as long as it takes to be let in. A place that was held for long is given up as soon
 * as half of them are taken.
 */
import type { Clock } from '#src/clock';

export interface PlaceLimits {
  readonly total: number;
  readonly perSource: number;
  /** Milliseconds after which a place is given up while half of all are taken. */
  readonly patienceMs: number;
}

export interface Held {
  readonly source: string;
  /** Monotonic; or any number that grows. */
  readonly since: number;
}

interface Place extends Held {
  readonly giveUp: () => void;
}

export class Places {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #limits: PlaceLimits;
  /** Oldest first. */
  readonly #held = new Set<Place>();
  #pushedOut = 0;

  constructor(clock: Pick<Clock, 'monotonic'>, limits: PlaceLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Those that had to give up their place, since the start. */
  get pushedOut(): number {
    return this.#pushedOut;
  }

  /**
   * @param giveUp called when the place is needed for others: ends whatever holds it
   * @returns frees the place
   */
  take(source: string, giveUp: () => void): () => void {
    const since = this.#clock.monotonic();
    const { total, perSource, patienceMs } = this.#limits;
    if (2 * (this.#held.size + 1) > total)
      for (const place of this.#held) if (since - place.since >= patienceMs) this.#pushOut(place);
    const ofSource = [...this.#held].filter((place) => place.source === source);
    if (ofSource.length >= perSource) this.#pushOut(ofSource[0]);
    else if (this.#held.size >= total) this.#pushOut(whoGivesWay(this.#held));
    const place: Place = { source, since, giveUp };
    this.#held.add(place);
    return () => {
      this.#held.delete(place);
    };
  }

  #pushOut(place: Place | undefined): void {
    if (place === undefined || !this.#held.delete(place)) return;
    this.#pushedOut += 1;
    place.giveUp();
  }
}

/** The oldest of the source that holds the most; of several such sources, the oldest of all. */
export function whoGivesWay<T extends Held>(held: Iterable<T>): T | undefined {
  const oldest = [...held].sort((a, b) => a.since - b.since);
  const counts = new Map<string, number>();
  for (const { source } of oldest) counts.set(source, (counts.get(source) ?? 0) + 1);
  const most = Math.max(0, ...counts.values());
  return oldest.find(({ source }) => counts.get(source) === most);
}

/** Who shares one: an IPv4 address, or the /64 of an IPv6 address, which one host can have whole. @param host IP address */
export function sourceOf(host: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1];
  if (mapped !== undefined) return mapped;
  const [plain = ''] = host.split('%');
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.toLowerCase().split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':');
}

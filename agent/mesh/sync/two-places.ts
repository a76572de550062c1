/**
 * Members that come from two places at one time: two agents with one AID show their `end` records in turn. One agent has one that is
 * current; it may be overtaken by a session that took longer, and does not come back again and again.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { SignedEnd } from './own-twin.ts';

/** Times that a former record came back within {@link WINDOW_MS} after which there are two. */
const RETURNS = 3;
const WINDOW_MS = 1_800_000;
/** Records remembered of one AID. */
const MAX_RECORDS = 8;

interface Shown {
  /** Newest shown last. */
  readonly records: Map<Said, readonly string[]>;
  current: Said;
  /** Monotonic. */
  returns: readonly number[];
}

export class TwoPlaces {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #shown = new Map<Aid, Shown>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** @param record with which a member was bound, verified  @returns whether this is the one that shows it */
  show({ i: aid, d: said, la }: SignedEnd): boolean {
    const shown = this.#shown.get(aid) ?? { records: new Map(), current: said, returns: [] };
    this.#shown.set(aid, shown);
    const now = this.#clock.monotonic();
    const before = this.placesOf(aid) !== undefined;
    const isReturn = shown.current !== said && shown.records.has(said);
    if (isReturn) shown.returns = [...this.#recent(shown), now].slice(-RETURNS);
    shown.records.delete(said);
    shown.records.set(said, la);
    shown.current = said;
    for (const oldest of shown.records.keys()) {
      if (shown.records.size <= MAX_RECORDS) break;
      shown.records.delete(oldest);
    }
    return !before && this.placesOf(aid) !== undefined;
  }

  /** Addresses of the two that came last; undefined: from one place, as far as is known. */
  placesOf(aid: Aid): readonly string[] | undefined {
    const shown = this.#shown.get(aid);
    if (shown === undefined || this.#recent(shown).length < RETURNS) return undefined;
    return [...new Set([...shown.records.values()].slice(-2).flat())];
  }

  /** Only who is a member is bound: bounded by what is told here. */
  forget(isMember: (aid: Aid) => boolean): void {
    for (const aid of this.#shown.keys()) if (!isMember(aid)) this.#shown.delete(aid);
  }

  #recent({ returns }: Shown): readonly number[] {
    const now = this.#clock.monotonic();
    return returns.filter((at) => now - at < WINDOW_MS);
  }
}

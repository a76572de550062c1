/** The foreign AIDs whose logs are kept: named by the operator, bounded, remembered across restarts. */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { StateTable } from '#src/store/state-table';
import { WatchError } from './errors.ts';

/** Where news of the log comes from; `import` has none but further imports. */
export type WatchSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'members' }
  | { readonly kind: 'import' };

export interface Watched {
  readonly aid: Aid;
  readonly source: WatchSource;
  /** Milliseconds since the Unix epoch, as the others. */
  readonly since: number;
  /** When the source last gave the log. */
  readonly fetched: number | null;
  /** Why it did not the last time. */
  readonly failure: { readonly at: number; readonly code: string; readonly message: string } | null;
}

export const MAX_WATCHED = 256;
const WATCH = 'watch.';

export class WatchList {
  readonly #table: StateTable;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #watched = new Map<Aid, Watched>();

  private constructor(table: StateTable, clock: Pick<Clock, 'now'>) {
    this.#table = table;
    this.#clock = clock;
  }

  static async open(table: StateTable, clock: Pick<Clock, 'now'>): Promise<WatchList> {
    const list = new WatchList(table, clock);
    for await (const [, watched] of table.entries<Watched>(WATCH))
      list.#watched.set(watched.aid, watched);
    return list;
  }

  has(aid: Aid): boolean {
    return this.#watched.has(aid);
  }

  /** In order of AID. */
  list(): readonly Watched[] {
    return [...this.#watched.values()].sort((a, b) => (a.aid < b.aid ? -1 : 1));
  }

  /** How many more there is room for. */
  get room(): number {
    return MAX_WATCHED - this.#watched.size;
  }

  /** The source of an AID that is watched already is replaced. @throws WATCH_FULL */
  async add(aid: Aid, source: WatchSource, fetched: number | null = null): Promise<void> {
    const earlier = this.#watched.get(aid);
    if (earlier === undefined && this.room <= 0)
      throw new WatchError(
        'WATCH_FULL',
        `${MAX_WATCHED} AIDs are watched, there is no room for ${aid}`,
      );
    const since = earlier?.since ?? this.#clock.now();
    await this.#put({ aid, source, since, fetched, failure: null });
  }

  /** Remembers how a fetch ended; nothing for an AID that is not watched any more. */
  async fetched(
    aid: Aid,
    error?: { readonly code: string; readonly message: string },
  ): Promise<void> {
    const watched = this.#watched.get(aid);
    if (watched === undefined) return;
    const at = this.#clock.now();
    await this.#put(
      error === undefined
        ? { ...watched, fetched: at, failure: null }
        : {
            ...watched,
            failure: { at, code: error.code, message: error.message.slice(0, 512) },
          },
    );
  }

  /** The log that is held stays. @throws WATCH_UNKNOWN */
  async remove(aid: Aid): Promise<void> {
    if (!this.#watched.has(aid)) throw new WatchError('WATCH_UNKNOWN', `${aid} is not watched`);
    await this.#table.put({ [WATCH + aid]: undefined });
    this.#watched.delete(aid);
  }

  async #put(watched: Watched): Promise<void> {
    await this.#table.put({ [WATCH + watched.aid]: watched });
    this.#watched.set(watched.aid, watched);
  }
}

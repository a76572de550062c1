/**
 * What a verification refused, within bounds that say what they keep out.
 *
 * Whoever makes the input can fill a list with refusals of a harmless kind. So each kind has a list and a bound of
 * its own: contradictions, which prove two logs of one AID, are never crowded out by anything else, and what exceeds
 * a bound is counted, by kind, and told.
 */
import type { KelErrorCode } from '#kel/errors';

export type RefusalKind = 'contradictions' | 'superseded' | 'other';

/** Entries that a bound kept out of a list, by kind. */
export type Dropped = Readonly<Record<RefusalKind, number>>;

export interface Refusal {
  readonly code: KelErrorCode;
  readonly aid?: string;
}

/** Of one AID: the first proves the point, and whoever has its keys can sign any number. Without a bound in all: each needs an accepted log. */
const MAX_CONTRADICTIONS_PER_AID = 16;
/** Events that gave way to a recovery: honest, and free for whoever holds the former keys. */
export const MAX_SUPERSEDED = 1_000;
export const MAX_OTHER_REFUSALS = 10_000;

export class Refusals<Entry extends Refusal> {
  readonly #kept: Entry[] = [];
  readonly #contradictions = new Map<string, number>();
  readonly #counts = { superseded: 0, other: 0 };
  readonly #dropped: Record<RefusalKind, number> = { contradictions: 0, superseded: 0, other: 0 };

  add(entry: Entry): void {
    const kind = kindOf(entry.code);
    if (this.#hasRoom(kind, entry.aid ?? '')) this.#kept.push(entry);
    else this.#dropped[kind] += 1;
  }

  /** In the order in which they came. */
  all(): readonly Entry[] {
    return [...this.#kept];
  }

  dropped(): Dropped {
    return { ...this.#dropped };
  }

  #hasRoom(kind: RefusalKind, aid: string): boolean {
    if (kind === 'contradictions') {
      const count = (this.#contradictions.get(aid) ?? 0) + 1;
      this.#contradictions.set(aid, count);
      return count <= MAX_CONTRADICTIONS_PER_AID;
    }
    this.#counts[kind] += 1;
    return this.#counts[kind] <= (kind === 'superseded' ? MAX_SUPERSEDED : MAX_OTHER_REFUSALS);
  }
}

function kindOf(code: KelErrorCode): RefusalKind {
  if (code === 'KEL_DUPLICITOUS') return 'contradictions';
  return code === 'KEL_SUPERSEDED' ? 'superseded' : 'other';
}

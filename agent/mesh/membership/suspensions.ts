/**
 * Who has signed two events for one place of its log, and what this organisation makes of it: the AID is
 * suspended from the moment the evidence is on disk until an operator resolves it.
 *
 * A resolution covers the forks that were known, and whatever the keys sign that were replaced before it. A new
 * fork under the keys in force suspends again.
 */

import { DuplicityError } from '#kel/duplicity/errors';
import type { Aid, Said } from '#kel/identifiers';
import type { DuplicityCase } from '#kel/store/duplicity-evidence';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import type { Clock } from '#src/clock';
import type { StateTable } from '#src/store/state-table';

export interface Suspension {
  readonly aid: Aid;
  /** Of the earliest fork that is not resolved. */
  readonly sn: number;
  readonly saids: readonly [Said, Said];
  /** When the first of them became known here; milliseconds since the Unix epoch. */
  readonly since: number;
}

export interface Resolution {
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  readonly reason: string;
  /** Sequence number of the establishment event in force then; -1 when no log was held. */
  readonly establishment: number;
  /** The forks known then, as {@link forkId}. */
  readonly forks: readonly string[];
}

export interface SuspensionsDeps {
  readonly kel: Pick<
    LevelKelStore,
    'duplicityCases' | 'subscribeDuplicity' | 'forksResolved' | 'state'
  >;
  readonly table: StateTable;
  readonly clock: Clock;
}

const RESOLVED = 'resolved.';
const RECORDED = 'recorded.';

/** The same wherever the fork was seen, whichever event came first. */
export function forkId({ aid, sn, accepted, conflicting }: DuplicityCase): string {
  return [aid, sn, ...[accepted, conflicting].sort()].join('.');
}

export class Suspensions {
  readonly #deps: SuspensionsDeps;
  readonly #listeners = new Set<() => void>();

  constructor(deps: SuspensionsDeps) {
    this.#deps = deps;
    deps.kel.subscribeDuplicity(() => this.#changed());
    for (const aid of new Set(deps.kel.duplicityCases().map((fork) => fork.aid))) {
      const resolution = this.resolutionOf(aid);
      if (resolution !== undefined) deps.kel.forksResolved(aid, resolution.forks.length);
    }
  }

  /** Undefined for an AID that is not suspended. The own AID may be among them: then its keys are in other hands. */
  of(aid: Aid): Suspension | undefined {
    const open = this.#openForks(aid);
    const [first] = open.toSorted((a, b) => a.sn - b.sn || a.since - b.since);
    if (first === undefined) return undefined;
    const since = Math.min(...open.map((fork) => fork.since));
    return { aid, sn: first.sn, saids: [first.accepted, first.conflicting], since };
  }

  all(): readonly Suspension[] {
    const aids = new Set(this.#deps.kel.duplicityCases().map(({ aid }) => aid));
    return [...aids].sort().flatMap((aid) => this.of(aid) ?? []);
  }

  resolutionOf(aid: Aid): Resolution | undefined {
    return this.#deps.table.get<Resolution>(RESOLVED + aid);
  }

  isOpen(fork: DuplicityCase): boolean {
    const resolution = this.resolutionOf(fork.aid);
    if (resolution === undefined) return true;
    return fork.sn >= resolution.establishment && !resolution.forks.includes(forkId(fork));
  }

  /** Lifts the suspension by the operator's word. @throws DUPLICITY_NONE */
  async resolve(aid: Aid, reason: string): Promise<Resolution> {
    const { kel, table, clock } = this.#deps;
    if (this.of(aid) === undefined)
      throw new DuplicityError('DUPLICITY_NONE', `${aid} is not suspended`);
    const resolution = {
      at: clock.now(),
      reason,
      establishment: kel.state(aid)?.establishment.sn ?? -1,
      forks: kel
        .duplicityCases()
        .filter((fork) => fork.aid === aid)
        .map(forkId),
    };
    await table.put({ [RESOLVED + aid]: resolution });
    kel.forksResolved(aid, resolution.forks.length);
    this.#changed();
    return resolution;
  }

  /** Forks that the audit log does not name yet. */
  unrecorded(): readonly DuplicityCase[] {
    const { kel, table } = this.#deps;
    return kel.duplicityCases().filter((fork) => table.get(RECORDED + forkId(fork)) === undefined);
  }

  async recorded(fork: DuplicityCase): Promise<void> {
    await this.#deps.table.put({ [RECORDED + forkId(fork)]: true });
  }

  /** Called after evidence came or was resolved. @returns unsubscribe */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #openForks(aid: Aid): readonly DuplicityCase[] {
    return this.#deps.kel.duplicityCases().filter((fork) => fork.aid === aid && this.isOpen(fork));
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

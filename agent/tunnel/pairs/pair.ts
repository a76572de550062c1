/** What is remembered of the tunnel to one peer, and how it changes: each change is on disk before anybody acts on it. */
import type { Aid } from '#kel/identifiers';
import type { Secret } from '#src/secret';
import type { StateTable } from '#src/store/state-table';
import { type PlacedView, sameView, type TunnelView } from './view.ts';

/** The view to which the own end routes. */
export interface ActiveView extends PlacedView {
  /** Counts the views that were active, from 1; 0: it never was, see {@link Pair.want}. */
  readonly generation: number;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
}

/** A view before the active one: packets on it are still taken. */
export interface DrainingView extends ActiveView {
  /** The other end has said that it routes to the view after this one too. */
  readonly isConfirmed: boolean;
  /** When it is looked at again, in milliseconds since the Unix epoch. */
  readonly until: number;
  /** After this, in milliseconds since the Unix epoch, its place may be taken whatever the other end does. */
  readonly deadline: number;
  /** Bytes that had come on it when it was looked at last. */
  readonly rxBytes: number;
}

/** A change to other keys that this end has not made yet: `waiting` for the other end, or `staged` on a device beside the active view. */
export type ChangeStep = 'waiting' | 'staged';

export interface PairChange extends TunnelView {
  readonly step: ChangeStep;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
  /** Milliseconds since the Unix epoch; from then on the former view may be dropped when its place is needed. */
  readonly deadline: number;
  /** Of `staged`. */
  readonly place?: Omit<PlacedView, 'own' | 'peer'>;
}

/** A tunnel that went because the other end did not follow a rotation: there is none until it does. */
export interface LeftBehind extends TunnelView {
  /** When it went, in milliseconds since the Unix epoch. */
  readonly since: number;
}

interface Remembered {
  readonly active?: ActiveView;
  readonly behind?: LeftBehind;
  readonly change?: PairChange;
  /** Oldest first. */
  readonly draining?: readonly DrainingView[];
}

/** A further one would have come before the others had drained: the oldest goes. */
const MAX_DRAINING = 2;

export class Pair {
  readonly aid: Aid;
  /** In place of a preshared key while nothing is agreed: nobody else has it, so nothing comes up (fail closed). */
  readonly unagreedKey: Secret;
  readonly #table: StateTable;
  #remembered: Remembered;
  /** An exchange with the other end about this pair is under way. */
  isExchanging = false;

  constructor(table: StateTable, aid: Aid, unagreedKey: Secret) {
    this.#table = table;
    this.aid = aid;
    this.unagreedKey = unagreedKey;
    this.#remembered = table.get<Remembered>(keyOf(aid)) ?? {};
  }

  get active(): ActiveView | undefined {
    return this.#remembered.active;
  }

  get draining(): readonly DrainingView[] {
    return this.#remembered.draining ?? [];
  }

  get change(): PairChange | undefined {
    return this.#remembered.change;
  }

  /** The tunnel that went without another in its place; undefined when one is up, or there never was one. */
  get behind(): LeftBehind | undefined {
    return this.#remembered.behind;
  }

  /** The view that is to follow, once it stands on a device. */
  get staged(): PlacedView | undefined {
    const { change } = this;
    return change?.place && { own: change.own, peer: change.peer, ...change.place };
  }

  /** Every view that stands on a device: the active one, the staged one, the former ones. */
  placed(): readonly PlacedView[] {
    return [this.active, this.staged, ...this.draining].filter((view) => view !== undefined);
  }

  /** `view` is to follow. Nothing is written when that is known. @param waitMs from now to the deadline */
  async want(view: TunnelView, now: number, waitMs: number): Promise<void> {
    if (sameView(this.change, view)) return;
    const { own, peer } = view;
    const change = { own, peer, step: 'waiting', since: now, deadline: now + waitMs } as const;
    await this.#save({ change, draining: [...this.draining, ...this.#setAside(now)] });
  }

  /** The other end may have flipped to a view that this one does not want any more: what comes on it is still taken. */
  #setAside(now: number): readonly DrainingView[] {
    const { staged, change } = this;
    if (staged === undefined || change === undefined) return [];
    const { deadline } = change;
    const rest = { generation: 0, since: now, until: now, deadline, isConfirmed: false };
    return [{ ...staged, ...rest, rxBytes: 0 }];
  }

  /** The view that {@link want} named stands at `place`. */
  async stage(place: Omit<PlacedView, 'own' | 'peer'>): Promise<void> {
    const { change } = this;
    if (change !== undefined) await this.#save({ change: { ...change, step: 'staged', place } });
  }

  /** The change is not wanted any more. */
  async settle(): Promise<void> {
    if (this.change !== undefined) await this.#save({ change: undefined });
  }

  /** The staged view becomes the active one; the former takes packets until `until` and for as long as some come. */
  async flip(now: number, until: number): Promise<void> {
    const { active: former, staged, change } = this;
    if (staged === undefined || change === undefined) return;
    const active = { ...staged, generation: (former?.generation ?? 0) + 1, since: now };
    const { deadline } = change;
    const drains =
      former && ({ ...former, until, deadline, isConfirmed: false, rxBytes: -1 } as const);
    await this.#save({
      active,
      behind: undefined,
      change: undefined,
      draining: drains === undefined ? this.draining : [...this.draining, drains],
    });
  }

  /** The other end routes to the active view too. */
  async confirm(): Promise<void> {
    if (this.draining.every(({ isConfirmed }) => isConfirmed)) return;
    await this.#save({ draining: this.draining.map((view) => ({ ...view, isConfirmed: true })) });
  }

  /** Something came on it, or the other end has not confirmed yet. */
  async drainOn(view: DrainingView, until: number, rxBytes: number): Promise<void> {
    const later = (other: DrainingView) =>
      isSamePlace(other, view) ? { ...other, until, rxBytes } : other;
    await this.#save({ draining: this.draining.map(later) });
  }

  async drained(view: DrainingView): Promise<void> {
    await this.#save({ draining: this.draining.filter((other) => !isSamePlace(other, view)) });
  }

  /** Lets go of views at once, as {@link drop}, and remembers which tunnel went. @param now milliseconds since the Unix epoch */
  async leaveBehind(isDropped: (view: TunnelView) => boolean, now: number): Promise<boolean> {
    const { active } = this;
    const behind = active && { own: active.own, peer: active.peer, since: now };
    return this.drop(isDropped, behind);
  }

  /** Lets go of views at once, without overlap. @returns whether the active one was among them */
  async drop(isDropped: (view: TunnelView) => boolean, behind?: LeftBehind): Promise<boolean> {
    const { active, draining, change } = this;
    const gone = (view: TunnelView | undefined) => view !== undefined && isDropped(view);
    if (![active, change, ...draining].some(gone)) return false;
    await this.#save({
      ...(gone(active) ? { active: undefined, ...(behind && { behind }) } : {}),
      ...(gone(change) ? { change: undefined } : {}),
      draining: draining.filter((view) => !gone(view)),
    });
    return gone(active);
  }

  async forget(): Promise<void> {
    this.#remembered = {};
    await this.#table.put({ [keyOf(this.aid)]: undefined });
  }

  async #save(
    part: { readonly [K in keyof Remembered]: Remembered[K] | undefined },
  ): Promise<void> {
    const { draining = [], ...rest } = { ...this.#remembered, ...part };
    const kept = {
      ...rest,
      ...(draining.length > 0 ? { draining: draining.slice(-MAX_DRAINING) } : {}),
    };
    const remembered = Object.fromEntries(
      Object.entries(kept).filter(([, value]) => value !== undefined),
    ) as Remembered;
    await this.#table.put({ [keyOf(this.aid)]: remembered });
    this.#remembered = remembered;
  }
}

function isSamePlace(a: PlacedView, b: PlacedView): boolean {
  return sameView(a, b) && a.slot === b.slot;
}

function keyOf(aid: Aid): string {
  return `tunnel.${aid}`;
}

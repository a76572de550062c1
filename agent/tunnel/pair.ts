/** What is remembered of the tunnel to one peer. */
import type { Aid, Said } from '#kel/identifiers';
import type { Secret } from '#src/secret';
import type { StateTable } from '../state-table.ts';
import { sameView, type TunnelView } from './view.ts';

export interface ActiveView extends TunnelView {
  /** This end starts the handshakes and holds the endpoint. */
  readonly initiates: boolean;
  /** Counts the views that were active, from 1. */
  readonly generation: number;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
}

export interface DrainingView extends ActiveView {
  /** Milliseconds since the Unix epoch after which the former key goes. */
  readonly until: number;
}

/**
 * How far a change to another view has come: newer keys are known (`waiting`), the peer stands on the device without
 * the prefix (`staged`), packets wait on the new device (`parked`), the prefix has moved and the other end has not
 * confirmed yet (`moved`).
 */
export type ChangeStep = 'waiting' | 'staged' | 'parked' | 'moved';

/** A change under way. Each step is on disk before it is taken. */
export interface PairChange extends TunnelView {
  readonly step: ChangeStep;
  /** The end whose key is new parks. */
  readonly end: 'parking' | 'moving';
  /** The parking end starts the handshake. */
  readonly knocks?: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
  /** Milliseconds since the Unix epoch; from then on the former view may be dropped when its place is needed. */
  readonly deadline: number;
}

interface Remembered {
  readonly active?: ActiveView;
  readonly draining?: DrainingView;
  readonly change?: PairChange;
}

export interface TargetView extends TunnelView {
  readonly initiates: boolean;
  readonly parked: boolean;
}

export class Pair {
  readonly aid: Aid;
  /** In place of a preshared key while nothing is agreed: nobody else has it, so nothing comes up (fail closed). */
  readonly unagreedKey: Secret;
  readonly #table: StateTable;
  #remembered: Remembered;
  /** A parking or moving exchange of this pair is under way. */
  inTransition = false;

  constructor(table: StateTable, aid: Aid, unagreedKey: Secret) {
    this.#table = table;
    this.aid = aid;
    this.unagreedKey = unagreedKey;
    this.#remembered = table.get<Remembered>(`pair.${aid}`) ?? {};
  }

  get active(): ActiveView | undefined {
    return this.#remembered.active;
  }

  get draining(): DrainingView | undefined {
    return this.#remembered.draining;
  }

  get change(): PairChange | undefined {
    return this.#remembered.change;
  }

  /** The view that is to follow, once it stands on the device. */
  get target(): TargetView | undefined {
    const { change } = this;
    if (change?.step !== 'staged' && change?.step !== 'parked') return undefined;
    return {
      own: change.own,
      peer: change.peer,
      initiates: change.end === 'moving' || change.knocks === true,
      parked: change.step === 'parked',
    };
  }

  /** Every view in use or on the way. */
  views(): readonly TunnelView[] {
    return [this.active, this.target, this.draining].filter((view) => view !== undefined);
  }

  uses(tunnelKey: Said): boolean {
    return this.views().some((view) => view.own === tunnelKey);
  }

  /** `view` is to follow. Nothing is written when that is known. @param waitMs from now to the deadline */
  async want(view: TunnelView, now: number, waitMs: number): Promise<void> {
    const { change } = this;
    if (change !== undefined && sameView(change, view)) return;
    const { own, peer } = view;
    const wanted = { own, peer, end: 'parking', since: now, deadline: now + waitMs } as const;
    await this.#save({ change: { ...wanted, step: 'waiting' } });
  }

  /** The change that {@link want} began is at `step` now. */
  async reach(step: ChangeStep, end: PairChange['end'], knocks = false): Promise<void> {
    const { change } = this;
    if (change === undefined) return;
    if (change.step === step && change.end === end && (change.knocks ?? false) === knocks) return;
    const { own, peer, since, deadline } = change;
    const reached = { own, peer, step, end, since, deadline };
    await this.#save({ change: knocks ? { ...reached, knocks } : reached });
  }

  /** The change has ended, or is not wanted any more. */
  async settle(): Promise<void> {
    if (this.change !== undefined) await this.#save({ change: undefined });
  }

  /**
   * Makes `view` the active one, on disk before anything is changed; the former drains until `until`. The end that moves
   * has not ended its change with that.
   */
  async activate(view: TunnelView, initiates: boolean, now: number, until: number): Promise<void> {
    const former = this.active;
    const change: PairChange | undefined =
      this.change?.end === 'moving' ? { ...this.change, step: 'moved' } : undefined;
    if (sameView(former, view) && former?.initiates === initiates) return this.#save({ change });
    const active: ActiveView = {
      own: view.own,
      peer: view.peer,
      initiates,
      generation: (former?.generation ?? 0) + 1,
      since: now,
    };
    const draining =
      former === undefined || sameView(former, view) ? this.draining : { ...former, until };
    await this.#save({ active, draining, change });
  }

  async drained(): Promise<void> {
    await this.#save({ draining: undefined });
  }

  /** Lets go of views at once, without overlap. @returns whether the active one was among them */
  async drop(isDropped: (view: TunnelView) => boolean): Promise<boolean> {
    const { active, draining, change } = this.#remembered;
    const gone = (view: TunnelView | undefined) => view !== undefined && isDropped(view);
    if (![active, draining, change].some(gone)) return false;
    await this.#save({
      ...(gone(active) ? { active: undefined } : {}),
      ...(gone(draining) ? { draining: undefined } : {}),
      ...(gone(change) ? { change: undefined } : {}),
    });
    return gone(active);
  }

  async forget(): Promise<void> {
    this.#remembered = {};
    await this.#table.put({ [`pair.${this.aid}`]: undefined });
  }

  async #save(
    part: { readonly [K in keyof Remembered]: Remembered[K] | undefined },
  ): Promise<void> {
    const remembered = Object.fromEntries(
      Object.entries({ ...this.#remembered, ...part }).filter(([, value]) => value !== undefined),
    ) as Remembered;
    await this.#table.put({ [`pair.${this.aid}`]: remembered });
    this.#remembered = remembered;
  }
}

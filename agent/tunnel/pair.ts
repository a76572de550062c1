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

interface Remembered {
  readonly active?: ActiveView;
  readonly draining?: DrainingView;
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
  target: TargetView | undefined;
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

  /** Every view in use or on the way. */
  views(): readonly TunnelView[] {
    return [this.active, this.target, this.draining].filter((view) => view !== undefined);
  }

  uses(tunnelKey: Said): boolean {
    return this.views().some((view) => view.own === tunnelKey);
  }

  /** Makes `view` the active one, on disk before anything is changed; the former drains until `until`. */
  async activate(view: TunnelView, initiates: boolean, now: number, until: number): Promise<void> {
    const former = this.active;
    if (!sameView(former, view) || former?.initiates !== initiates) {
      const active: ActiveView = {
        own: view.own,
        peer: view.peer,
        initiates,
        generation: (former?.generation ?? 0) + 1,
        since: now,
      };
      const draining =
        former === undefined || sameView(former, view) ? this.draining : { ...former, until };
      await this.#save(draining === undefined ? { active } : { active, draining });
    }
    this.target = undefined;
  }

  async drained(): Promise<void> {
    const { active } = this;
    await this.#save(active === undefined ? {} : { active });
  }

  async forget(): Promise<void> {
    this.target = undefined;
    this.#remembered = {};
    await this.#table.put({ [`pair.${this.aid}`]: undefined });
  }

  async #save(remembered: Remembered): Promise<void> {
    await this.#table.put({ [`pair.${this.aid}`]: remembered });
    this.#remembered = remembered;
  }
}

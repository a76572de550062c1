/**
 * Strangers who proved an AID and are not members: kept so that an operator can see and admit them.
 * In memory, bounded, oldest out first: a stranger costs no disk.
 */
import type { Aid } from '#kel/identifiers';
import type { PeerKey } from '../network/network.ts';

/** Strangers kept, and bytes of log per stranger, those of its delegators included. */
export const MAX_KNOCKS = 64;
export const MAX_STRANGER_LOG = 256 * 1024;

export interface Knock {
  readonly aid: Aid;
  readonly peer: PeerKey;
  readonly addresses: readonly string[];
  /** The verified log and `end` record, to be stored when the AID is admitted. */
  readonly log: Uint8Array;
  readonly endpoints: Uint8Array;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

export class Knocks {
  readonly #byAid = new Map<Aid, Knock>();
  #dropped = 0;

  /** Strangers that were pushed out by later ones. */
  get dropped(): number {
    return this.#dropped;
  }

  add(knock: Knock): void {
    this.#byAid.delete(knock.aid);
    // One place per peer: whoever makes up AIDs pushes out none but the last that it made up.
    for (const [aid, { peer }] of this.#byAid) if (peer === knock.peer) this.#byAid.delete(aid);
    this.#byAid.set(knock.aid, knock);
    for (const oldest of this.#byAid.keys()) {
      if (this.#byAid.size <= MAX_KNOCKS) break;
      this.#byAid.delete(oldest);
      this.#dropped += 1;
    }
  }

  get(aid: Aid): Knock | undefined {
    return this.#byAid.get(aid);
  }

  delete(aid: Aid): void {
    this.#byAid.delete(aid);
  }

  list(): readonly Knock[] {
    return [...this.#byAid.values()];
  }
}

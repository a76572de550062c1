/**
 * Strangers who proved an AID and are not members: kept so that an operator can see and admit them.
 * In memory, bounded, oldest out first: a stranger costs no disk.
 */
import type { Aid } from '#kel/identifiers';
import type { PeerKey } from '../../network/network.ts';

/** Of them, those that one member has passed on: it could make them up. */
const MAX_PASSED_ON = 8;
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
  /** What it would like to be called; a claim. */
  readonly name?: string;
  /** The member that passed it on, where it did not come itself. */
  readonly via?: Aid;
  /** The governor has heard of it from here. */
  readonly isPassedOn?: boolean;
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
    if (knock.via !== undefined) this.#makeRoom(knock.via);
    this.#byAid.set(knock.aid, knock);
    for (const oldest of this.#byAid.keys()) {
      if (this.#byAid.size <= MAX_KNOCKS) break;
      this.#byAid.delete(oldest);
      this.#dropped += 1;
    }
  }

  /** Adds to what is known of a stranger; nothing when it is not kept. */
  note(aid: Aid, more: Pick<Knock, 'name' | 'isPassedOn'>): void {
    const knock = this.#byAid.get(aid);
    if (knock !== undefined) this.#byAid.set(aid, { ...knock, ...more });
  }

  ofPeer(peer: PeerKey): Knock | undefined {
    return this.list().find((knock) => knock.peer === peer && knock.via === undefined);
  }

  #makeRoom(via: Aid): void {
    const passed = this.list().filter((knock) => knock.via === via);
    for (const { aid } of passed.slice(0, Math.max(0, passed.length - MAX_PASSED_ON + 1))) {
      this.#byAid.delete(aid);
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

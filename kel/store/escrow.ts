/**
 * Messages that wait for a piece: a prior event, signatures, receipts, a delegator. In memory; the store
 * writes the changes that it is told of.
 *
 * What a stranger can fill is bounded: events out of order, which nobody can verify yet, have a room of
 * their own and never drive out an event that a known key has signed. A full room loses its oldest message.
 */
import type { KelErrorCode } from '#kel/errors';
import type { Aid, Said } from '#kel/identifiers';

export interface EscrowedMessage {
  /** Order of arrival, never used twice. */
  readonly ordinal: number;
  /** `KEL_AWAITS_…` */
  readonly code: KelErrorCode;
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
  /** Another AID whose log may bring the missing piece: the delegator. */
  readonly awaits: Aid | undefined;
  readonly message: Uint8Array;
}

export interface EscrowLimits {
  /** Messages of one AID in one room. @default 128 */
  readonly maxPerAid: number;
  /** Messages in one room. @default 4,096 */
  readonly maxMessages: number;
  /** Bytes of the messages in one room. @default 16 MiB */
  readonly maxBytes: number;
  /** How long an event out of order waits. @default 1,200,000 */
  readonly priorTimeoutMs: number;
  /** How long everything else waits. @default 3,600,000 */
  readonly timeoutMs: number;
}

export const defaultEscrowLimits: EscrowLimits = {
  maxPerAid: 128,
  maxMessages: 4096,
  maxBytes: 16 * 1024 * 1024,
  priorTimeoutMs: 1_200_000,
  timeoutMs: 3_600_000,
};

export class Escrow {
  readonly #limits: EscrowLimits;
  readonly #unverified = new Room();
  readonly #verified = new Room();

  constructor(limits: EscrowLimits) {
    this.#limits = limits;
  }

  /** Oldest first. */
  list(): readonly EscrowedMessage[] {
    return [...this.#unverified.all(), ...this.#verified.all()].sort(
      (a, b) => a.ordinal - b.ordinal,
    );
  }

  find(aid: Aid, said: Said): EscrowedMessage | undefined {
    return [...this.#unverified.of(aid), ...this.#verified.of(aid)].find(
      (entry) => entry.said === said,
    );
  }

  /**
   * What the acceptance of the event of `aid` at `sn` may release: events of `aid` up to the next sequence
   * number, and events of others that wait for `aid`.
   */
  releasable(aid: Aid, sn: number): readonly EscrowedMessage[] {
    const own = [...this.#unverified.of(aid), ...this.#verified.of(aid)];
    return [
      ...own.filter((entry) => entry.sn <= sn + 1).sort((a, b) => a.sn - b.sn),
      ...this.#verified.awaiting(aid),
    ];
  }

  /** @returns the messages that had to go for `entry` */
  add(entry: EscrowedMessage): readonly EscrowedMessage[] {
    const { maxPerAid, maxMessages, maxBytes } = this.#limits;
    const room = this.#roomOf(entry);
    const gone: EscrowedMessage[] = [];
    const evict = (victim: EscrowedMessage) => {
      room.remove(victim);
      gone.push(victim);
    };
    const ofAid = room.of(entry.aid);
    if (ofAid.length >= maxPerAid) evict(ofAid[0] as EscrowedMessage);
    while (
      room.count > 0 &&
      (room.count >= maxMessages || room.bytes + entry.message.length > maxBytes)
    ) {
      evict(room.all().next().value as EscrowedMessage);
    }
    room.add(entry);
    return gone;
  }

  remove(entry: EscrowedMessage): void {
    this.#roomOf(entry).remove(entry);
  }

  expired(now: number): readonly EscrowedMessage[] {
    const { priorTimeoutMs, timeoutMs } = this.#limits;
    return [
      ...this.#unverified.before(now - priorTimeoutMs),
      ...this.#verified.before(now - timeoutMs),
    ];
  }

  #roomOf({ code }: EscrowedMessage): Room {
    return code === 'KEL_AWAITS_PRIOR' ? this.#unverified : this.#verified;
  }
}

/** Entries by ordinal, which is the order of insertion, and by AID. */
class Room {
  bytes = 0;
  readonly #entries = new Map<number, EscrowedMessage>();
  readonly #byAid = new Map<Aid, Map<number, EscrowedMessage>>();
  readonly #byAwaited = new Map<Aid, Map<number, EscrowedMessage>>();

  get count(): number {
    return this.#entries.size;
  }

  all(): MapIterator<EscrowedMessage> {
    return this.#entries.values();
  }

  of(aid: Aid): readonly EscrowedMessage[] {
    return [...(this.#byAid.get(aid)?.values() ?? [])];
  }

  awaiting(aid: Aid): readonly EscrowedMessage[] {
    return [...(this.#byAwaited.get(aid)?.values() ?? [])];
  }

  /** Entries are in the order of their arrival, so the first one that is young enough ends the search. */
  before(time: number): readonly EscrowedMessage[] {
    const old: EscrowedMessage[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.since >= time) break;
      old.push(entry);
    }
    return old;
  }

  add(entry: EscrowedMessage): void {
    this.#entries.set(entry.ordinal, entry);
    this.bytes += entry.message.length;
    addTo(this.#byAid, entry.aid, entry);
    if (entry.awaits !== undefined) addTo(this.#byAwaited, entry.awaits, entry);
  }

  remove(entry: EscrowedMessage): void {
    if (!this.#entries.delete(entry.ordinal)) return;
    this.bytes -= entry.message.length;
    removeFrom(this.#byAid, entry.aid, entry);
    if (entry.awaits !== undefined) removeFrom(this.#byAwaited, entry.awaits, entry);
  }
}

function addTo(
  index: Map<Aid, Map<number, EscrowedMessage>>,
  aid: Aid,
  entry: EscrowedMessage,
): void {
  const entries = index.get(aid) ?? new Map<number, EscrowedMessage>();
  entries.set(entry.ordinal, entry);
  index.set(aid, entries);
}

function removeFrom(
  index: Map<Aid, Map<number, EscrowedMessage>>,
  aid: Aid,
  entry: EscrowedMessage,
): void {
  const entries = index.get(aid);
  entries?.delete(entry.ordinal);
  if (entries?.size === 0) index.delete(aid);
}

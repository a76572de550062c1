/**
 * Messages that wait for a piece: a prior event, signatures, receipts, a delegator. In memory; the store
 * writes the changes that it is told of.
 *
 * What a stranger can fill is bounded: events out of order, which nobody can verify yet, have a room of
 * their own and never drive out an event that a known key has signed. A full room loses its oldest message.
 */

import type { WaitingPlaces } from '#kel/escrow/freed';
import type { Aid, Said } from '#kel/identifiers';
import type { EscrowCode } from '#kel/state/decision';

export interface EscrowedMessage {
  /** Order of arrival, never used twice. */
  readonly ordinal: number;
  readonly code: EscrowCode;
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
  readonly message: Uint8Array;
}

export interface TimedEscrowLimits {
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

export const defaultEscrowLimits: TimedEscrowLimits = {
  maxPerAid: 128,
  maxMessages: 4096,
  maxBytes: 16 * 1024 * 1024,
  priorTimeoutMs: 1_200_000,
  timeoutMs: 3_600_000,
};

export class TimedEscrow implements WaitingPlaces<EscrowedMessage> {
  readonly #limits: TimedEscrowLimits;
  #unverified = new Room();
  #verified = new Room();

  constructor(limits: TimedEscrowLimits) {
    this.#limits = limits;
  }

  /** Oldest first. */
  list(): readonly EscrowedMessage[] {
    return [...this.#unverified.all(), ...this.#verified.all()].sort(
      (a, b) => a.ordinal - b.ordinal,
    );
  }

  /** The event that a known key has signed, of which there is one entry. */
  verified(aid: Aid, said: Said): EscrowedMessage | undefined {
    return this.#verified.of(aid).find((entry) => entry.said === said);
  }

  /** Events that a known key has signed and that claim the place `sn`. */
  verifiedAt(aid: Aid, sn: number): readonly EscrowedMessage[] {
    return this.#verified.of(aid).filter((entry) => entry.sn === sn);
  }

  /** Events and receipts that came too early; of one event there may be several entries. */
  unverified(aid: Aid, said: Said): readonly EscrowedMessage[] {
    return this.#unverified.of(aid).filter((entry) => entry.said === said);
  }

  at(aid: Aid, sn: number): readonly EscrowedMessage[] {
    return [...this.#unverified.of(aid), ...this.#verified.of(aid)]
      .filter((entry) => entry.sn === sn)
      .sort((a, b) => a.ordinal - b.ordinal);
  }

  event(aid: Aid, said: Said): EscrowedMessage | undefined {
    return this.verified(aid, said);
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

  has(entry: EscrowedMessage): boolean {
    return this.#roomOf(entry).has(entry);
  }

  remove(entry: EscrowedMessage): void {
    this.#roomOf(entry).remove(entry);
  }

  clear(): void {
    this.#unverified = new Room();
    this.#verified = new Room();
  }

  /** What has waited too long. */
  expired(now: number): readonly EscrowedMessage[] {
    const { priorTimeoutMs, timeoutMs } = this.#limits;
    return [
      ...this.#unverified.before(now - priorTimeoutMs),
      ...this.#verified.before(now - timeoutMs),
    ];
  }

  /** When `entry` is dropped, in milliseconds since the Unix epoch. */
  expiryOf({ code, since }: EscrowedMessage): number {
    const { priorTimeoutMs, timeoutMs } = this.#limits;
    return since + (code === 'KEL_AWAITS_PRIOR' ? priorTimeoutMs : timeoutMs);
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

  get count(): number {
    return this.#entries.size;
  }

  all(): MapIterator<EscrowedMessage> {
    return this.#entries.values();
  }

  of(aid: Aid): readonly EscrowedMessage[] {
    return [...(this.#byAid.get(aid)?.values() ?? [])];
  }

  before(time: number): readonly EscrowedMessage[] {
    return [...this.#entries.values()].filter((entry) => entry.since < time);
  }

  has({ ordinal }: EscrowedMessage): boolean {
    return this.#entries.has(ordinal);
  }

  add(entry: EscrowedMessage): void {
    this.#entries.set(entry.ordinal, entry);
    this.bytes += entry.message.length;
    const ofAid = this.#byAid.get(entry.aid) ?? new Map<number, EscrowedMessage>();
    this.#byAid.set(entry.aid, ofAid.set(entry.ordinal, entry));
  }

  remove(entry: EscrowedMessage): void {
    if (!this.#entries.delete(entry.ordinal)) return;
    this.bytes -= entry.message.length;
    const ofAid = this.#byAid.get(entry.aid);
    ofAid?.delete(entry.ordinal);
    if (ofAid?.size === 0) this.#byAid.delete(entry.aid);
  }
}

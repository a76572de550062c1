/**
 * Messages that wait for something that can still arrive. What waits out of order is not verified yet, so a
 * stranger can fill it: it has a bound per AID and in all.
 */
import { type Attachments, mergeAttachments } from '#kel/cesr/attachments';
import type { BodyValue } from '#kel/cesr/body-value';
import type { KeyEvent, KeyEventMessage } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import type { EscrowCode, ReceiptCount } from '#kel/state/decision';
import type { WaitingPlaces } from './freed.ts';

export interface Waiting<Origin> {
  readonly message: KeyEventMessage;
  readonly code: EscrowCode;
  readonly reason: string;
  /** With KEL_AWAITS_WITNESSES. */
  readonly receipts?: ReceiptCount;
  /** Where the message came from, for the report. */
  readonly origin: Origin;
}

export interface EscrowLimits {
  readonly maxMessages: number;
  readonly maxMessagesPerAid: number;
  /** Bodies, what they hold as values, and signatures, roughly. */
  readonly maxBytes: number;
}

/** Of a list or map, of any other value and of a signature in memory, roughly. */
const CONTAINER_BYTES = 200;
const VALUE_BYTES = 40;
const SIGNATURE_BYTES = 100;

export class Escrow<Origin> implements WaitingPlaces<Waiting<Origin>> {
  readonly #limits: EscrowLimits;
  readonly #bySaid = new Map<Said, Waiting<Origin>>();
  readonly #saidsByAid = new Map<Aid, Map<number, Set<Said>>>();
  readonly #countByAid = new Map<Aid, number>();
  readonly #values = new WeakMap<KeyEvent, number>();
  #bytes = 0;

  constructor(limits: EscrowLimits) {
    this.#limits = limits;
  }

  /** A copy that waits already gains the attachments of the new one and keeps its origin. @returns false when full */
  add(waiting: Waiting<Origin>): boolean {
    const { event, bytes, attachments } = waiting.message;
    const earlier = this.remove(event.said);
    const message =
      earlier === undefined
        ? { event, bytes: new Uint8Array(bytes), attachments }
        : {
            ...earlier.message,
            attachments: mergeAttachments(earlier.message.attachments, attachments),
          };
    const entry = { ...waiting, message, origin: earlier?.origin ?? waiting.origin };
    const size = this.#sizeOf(message);
    const count = this.#countByAid.get(event.aid) ?? 0;
    const { maxMessages, maxMessagesPerAid, maxBytes } = this.#limits;
    if (
      this.#bySaid.size >= maxMessages ||
      count >= maxMessagesPerAid ||
      this.#bytes + size > maxBytes
    )
      return false;
    this.#bySaid.set(event.said, entry);
    this.#countByAid.set(event.aid, count + 1);
    this.#bytes += size;
    const bySn = this.#saidsByAid.get(event.aid) ?? new Map<number, Set<Said>>();
    const saids = bySn.get(event.sn) ?? new Set<Said>();
    this.#saidsByAid.set(event.aid, bySn.set(event.sn, saids.add(event.said)));
    return true;
  }

  /** Notes what has come of the receipts of a waiting event, which stays where it is. */
  count(said: Said, receipts: ReceiptCount): void {
    const waiting = this.#bySaid.get(said);
    if (waiting !== undefined) this.#bySaid.set(said, { ...waiting, receipts });
  }

  /** Adds to what came with a waiting event, which stays where it is. */
  attach(said: Said, more: Attachments): void {
    const waiting = this.#bySaid.get(said);
    if (waiting === undefined) return;
    const { event, bytes, attachments } = waiting.message;
    const message = { event, bytes, attachments: mergeAttachments(attachments, more) };
    this.#bytes += this.#sizeOf(message) - this.#sizeOf(waiting.message);
    this.#bySaid.set(said, { ...waiting, message });
  }

  /** Of one event the same each time: counted once. */
  #sizeOf({ event, bytes, attachments }: KeyEventMessage): number {
    const values = this.#values.get(event) ?? sizeOfValues(event.anchors);
    this.#values.set(event, values);
    const { signatures, witnessSignatures, receiptCouples } = attachments;
    const count = signatures.length + witnessSignatures.length + receiptCouples.length;
    return bytes.length + values + SIGNATURE_BYTES * count;
  }

  get size(): number {
    return this.#bySaid.size;
  }

  get(said: Said): Waiting<Origin> | undefined {
    return this.#bySaid.get(said);
  }

  event(aid: Aid, said: Said): Waiting<Origin> | undefined {
    const waiting = this.#bySaid.get(said);
    return waiting?.message.event.aid === aid ? waiting : undefined;
  }

  /** What waits at `sn` of `aid`, in order of arrival. */
  at(aid: Aid, sn: number): readonly Waiting<Origin>[] {
    const saids = this.#saidsByAid.get(aid)?.get(sn);
    if (saids === undefined) return [];
    return [...saids].flatMap((said) => this.#bySaid.get(said) ?? []);
  }

  all(): IterableIterator<Waiting<Origin>> {
    return this.#bySaid.values();
  }

  remove(said: Said): Waiting<Origin> | undefined {
    const waiting = this.#bySaid.get(said);
    if (waiting === undefined) return undefined;
    const { aid, sn } = waiting.message.event;
    this.#bySaid.delete(said);
    this.#bytes -= this.#sizeOf(waiting.message);
    const bySn = this.#saidsByAid.get(aid);
    const saids = bySn?.get(sn);
    saids?.delete(said);
    if (saids?.size === 0) bySn?.delete(sn);
    if (bySn?.size === 0) this.#saidsByAid.delete(aid);
    const count = (this.#countByAid.get(aid) ?? 1) - 1;
    if (count === 0) this.#countByAid.delete(aid);
    else this.#countByAid.set(aid, count);
    return waiting;
  }
}

/** What the anchors of an event take as values in memory, roughly: a small map is a few bytes in its body. */
function sizeOfValues(values: readonly BodyValue[]): number {
  let size = 0;
  const open: BodyValue[] = [...values];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (value instanceof Map) {
      size += CONTAINER_BYTES;
      for (const item of value.values()) open.push(item);
    } else if (Array.isArray(value)) {
      size += CONTAINER_BYTES;
      for (const item of value) open.push(item);
    } else size += VALUE_BYTES;
  }
  return size;
}

/**
 * What becomes of one message: accepted, put in escrow, added to what is known, or refused; and what its
 * acceptance releases. Writes go to the table and count when the store has committed it.
 */
import { type Attachments, emptyAttachments } from '#kel/cesr/attachments';
import { isFork } from '#kel/duplicity/fork';
import { KelError } from '#kel/errors';
import { freedBy } from '#kel/escrow/freed';
import type { KeyEvent, KeyEventMessage } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { Decision } from '#kel/state/decision';
import { type VerifySignature, validSignatures } from '#kel/state/key-signatures';
import { verifyWitnessSignatures } from '#kel/state/witness-signatures';
import { equalBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import type { DurableTable } from '#src/store/durable-table';
import { StoreError } from '#src/store/errors';
import { DurableEscrow } from '../escrow/durable-escrow.ts';
import type { EscrowedMessage, TimedEscrow } from '../escrow/timed-escrow.ts';
import {
  bodyOf,
  decodeMessage,
  encodeMessage,
  type ReceiptMessage,
  type StoredAttachments,
  type StoreMessage,
} from '../message/stored-message.ts';
import {
  joinAttachments,
  verifiedAttachments,
  witnessesAfter,
} from '../message/verified-attachments.ts';
import type { AcceptedLogs } from './accepted-logs.ts';
import type { DuplicityEvidence } from './duplicity-evidence.ts';
import type { MessageOutcome } from './kel-store.ts';
import { eventKey } from './keys.ts';

export type EventVerdict = Omit<MessageOutcome, 'offset'>;

export interface IntakeCounters {
  readonly accepted: number;
  readonly duplicate: number;
  readonly waiting: number;
  /** By code. */
  readonly refused: Readonly<Record<string, number>>;
  /** Messages that left the escrow because it was full. */
  readonly dropped: number;
  /** Messages that left the escrow because their time was up. */
  readonly expired: number;
  /** Further forks of AIDs of which one is kept, that found no room. */
  readonly forksDropped: number;
}

export interface EventIntakeParts {
  readonly table: DurableTable;
  readonly logs: AcceptedLogs;
  readonly escrow: TimedEscrow;
  readonly evidence: DuplicityEvidence;
  readonly verifySignature: VerifySignature;
  readonly clock: Pick<Clock, 'now'>;
}

interface AcceptedEvent {
  readonly state: KeyState;
  readonly message: Uint8Array;
}

type Escrowing = Extract<Decision, { kind: 'escrow' }>;
type Rejection = Extract<Decision, { kind: 'reject' }>;

/** Longest message that waits, in bytes: larger ones come in order or not at all. */
const MAX_WAITING_BYTES = 64 * 1024;
/** Copies of one event, with different attachments, that nobody can verify yet. */
const MAX_COPIES = 4;
export class EventIntake {
  readonly #parts: EventIntakeParts;
  readonly #waiting: DurableEscrow;
  /** Accepted since the last commit, in order. */
  #accepted: AcceptedEvent[] = [];
  /** Accepted events whose followers have not been looked at. */
  #unreleased: KeyEvent[] = [];
  #mustSync = false;
  readonly #counts = { accepted: 0, duplicate: 0, waiting: 0 };
  readonly #refused = new Map<string, number>();
  readonly #decodedWaiting = new WeakMap<EscrowedMessage, KeyEventMessage>();

  constructor(parts: EventIntakeParts) {
    this.#parts = parts;
    this.#waiting = new DurableEscrow(parts.table, parts.escrow);
  }

  get accepted(): readonly AcceptedEvent[] {
    return this.#accepted;
  }

  /** Something verified is pending besides accepted events. */
  get mustSync(): boolean {
    return this.#mustSync;
  }

  /** What is pending must not be lost with the power. */
  requireSync(): void {
    this.#mustSync = true;
  }

  counters(): IntakeCounters {
    const { dropped, expired } = this.#waiting;
    const forksDropped = this.#parts.evidence.dropped;
    const refused = Object.fromEntries(this.#refused);
    return { ...this.#counts, dropped, expired, forksDropped, refused };
  }

  /** Reads what waits from the table, in place of what is in memory. */
  async load(): Promise<void> {
    this.settle();
    this.#unreleased = [];
    await this.#waiting.load();
  }

  /** The table is committed. */
  settle(): void {
    this.#accepted = [];
    this.#mustSync = false;
  }

  refuse(code: string, reason: string): EventVerdict {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
    return { verdict: 'refused', code, reason };
  }

  /** @param message attacker-controlled, well formed */
  offer(message: StoreMessage): EventVerdict {
    const verdict = this.#settle(message, this.#parts.clock.now());
    if (verdict.verdict !== 'refused') this.#counts[verdict.verdict] += 1;
    for (let event = this.#unreleased.shift(); event; event = this.#unreleased.shift()) {
      this.#release(event);
    }
    return verdict;
  }

  /** Takes out of the escrow what has waited too long. */
  expire(): void {
    this.#waiting.expire(this.#parts.clock.now());
  }

  #settle(message: StoreMessage, since: number): EventVerdict {
    const { aid, sn, said } = 'event' in message ? message.event : message.receipt;
    const verdict =
      'event' in message ? this.#settleEvent(message, since) : this.#settleReceipt(message, since);
    return { ...verdict, aid, sn, said };
  }

  #settleEvent(message: KeyEventMessage, since: number): EventVerdict {
    const { logs, escrow } = this.#parts;
    const { aid, said } = message.event;
    const earlier = escrow.verified(aid, said);
    const whole = earlier === undefined ? message : this.#joined(message, earlier);
    const decision = logs.evaluate(whole);
    switch (decision.kind) {
      case 'accept':
        if (earlier !== undefined) this.#waiting.take(earlier);
        return this.#accept(whole, decision);
      case 'duplicate':
        return this.#addSignatures(whole);
      case 'escrow':
        return this.#wait(whole, decision, earlier, since);
      case 'reject':
        if (earlier !== undefined) this.#waiting.take(earlier);
        return this.#reject(whole, decision);
    }
  }

  #accept(message: KeyEventMessage, decision: Extract<Decision, { kind: 'accept' }>): EventVerdict {
    const stored = this.#parts.logs.apply(message, decision, this.#parts.clock.now());
    this.#accepted.push({ state: decision.state, message: stored });
    this.#unreleased.push(message.event);
    return { verdict: 'accepted' };
  }

  #reject(message: KeyEventMessage, { code, reason, contradicts }: Rejection): EventVerdict {
    if (code === 'KEL_DUPLICITOUS' && contradicts !== undefined) {
      const { aid, sn } = message.event;
      this.#keepFork(this.#stored(aid, sn, contradicts), message);
    }
    return this.refuse(code, reason);
  }

  /** Keeps both when they prove that the log has forked here, and not only somewhere before. */
  #keepFork(first: Uint8Array, second: KeyEventMessage): void {
    const { clock, evidence } = this.#parts;
    const decoded = decodeMessage(first);
    if (!('event' in decoded) || !isFork(decoded.event, second.event)) return;
    const encoded = encodeMessage(second.bytes, this.#verified(second));
    if (evidence.add(second, decoded.event.said, [first, encoded], clock.now()))
      this.#mustSync = true;
  }

  /** An accepted event again: its message may bring signatures that the stored one lacks. */
  #addSignatures(message: KeyEventMessage): EventVerdict {
    const { aid, sn, said } = message.event;
    const stored = this.#stored(aid, sn, said);
    if (equalBytes(stored, encodeMessage(message.bytes, message.attachments))) {
      return { verdict: 'duplicate', brought: false };
    }
    return { verdict: 'duplicate', brought: this.#addTo(stored, this.#verified(message)) };
  }

  /** @returns true when `more` holds something new, which is then written */
  #addTo(stored: Uint8Array, more: StoredAttachments): boolean {
    const message = decodeMessage(stored);
    if (!('event' in message)) throw new TypeError('a receipt stands where an event belongs');
    const { event, bytes, attachments } = message;
    const joined = encodeMessage(bytes, joinAttachments(attachments, more));
    if (equalBytes(joined, stored)) return false;
    this.#parts.table.put(eventKey(event.aid, event.sn, event.said), joined);
    this.#mustSync = true;
    return true;
  }

  #settleReceipt(message: ReceiptMessage, since: number): EventVerdict {
    const { logs, escrow, verifySignature } = this.#parts;
    const { aid, sn, said } = message.receipt;
    const accepted = logs.saidAt(aid, sn);
    if (accepted === said) {
      const stored = this.#stored(aid, sn, said);
      const witnesses = logs.stateAt(aid, sn)?.witnesses ?? [];
      const body = bodyOf(stored);
      const valid = verifyWitnessSignatures(verifySignature, witnesses, body, message.attachments);
      if (valid.length === 0) {
        return this.refuse(
          'KEL_BAD_SIGNATURE',
          `receipt of event ${sn} of ${aid}: no witness has signed it`,
        );
      }
      const isNew = this.#addTo(stored, { ...emptyAttachments(), witnessSignatures: valid });
      return isNew ? { verdict: 'accepted' } : { verdict: 'duplicate', brought: false };
    }
    const waiting = escrow.verified(aid, said);
    // A rotation may wait for its receipts at a place where the interaction stands that it supersedes.
    if (waiting === undefined && accepted !== undefined) {
      return this.refuse(
        'KEL_CONFLICT_UNVERIFIED',
        `receipt of event ${sn} of ${aid}: accepted is ${accepted}, receipted ${said}`,
      );
    }
    if (waiting === undefined) {
      const reason = `event ${sn} of ${aid}, which is receipted, has not arrived`;
      return this.#waitUnverified(message, { aid, sn, said }, reason, since);
    }
    return this.#settleAwaited(waiting, message.attachments, since);
  }

  /** A receipt is verified alone before the event that waits for it is judged again: noise costs no more than itself. */
  #settleAwaited(waiting: EscrowedMessage, receipts: Attachments, since: number): EventVerdict {
    const { logs, verifySignature } = this.#parts;
    const { aid, sn, code } = waiting;
    const { event, bytes, attachments } = this.#decoded(waiting);
    const witnesses = witnessesAfter(logs.stateBefore(aid, sn), event);
    const valid = verifyWitnessSignatures(verifySignature, witnesses, bytes, receipts);
    if (valid.length === 0) {
      return this.refuse(
        'KEL_BAD_SIGNATURE',
        `receipt of event ${sn} of ${aid}: no witness has signed it`,
      );
    }
    const held = new Set(attachments.witnessSignatures.map(({ index }) => index));
    if (valid.every(({ index }) => held.has(index)))
      return { verdict: 'waiting', code, reason: `event ${sn} of ${aid}: the receipt is known` };
    const witnessSignatures = [...valid];
    const more = { ...emptyAttachments(), witnessSignatures };
    return this.#settleEvent({ event, bytes, attachments: more }, since);
  }

  /** Decoded once for as long as it waits. */
  #decoded(waiting: EscrowedMessage): KeyEventMessage {
    const known = this.#decodedWaiting.get(waiting);
    if (known !== undefined) return known;
    const decoded = decodeMessage(waiting.message) as KeyEventMessage;
    this.#decodedWaiting.set(waiting, decoded);
    return decoded;
  }

  #wait(
    message: KeyEventMessage,
    { code, reason }: Escrowing,
    earlier: EscrowedMessage | undefined,
    since: number,
  ): EventVerdict {
    const { aid, sn, said } = message.event;
    if (code === 'KEL_AWAITS_PRIOR') {
      return this.#isSelfSigned(message)
        ? this.#waitUnverified(message, { aid, sn, said }, reason, since)
        : this.refuse(
            'KEL_BAD_SIGNATURE',
            `event ${sn} of ${aid}: no signature verifies under the keys that it names itself`,
          );
    }
    const encoded = encodeMessage(message.bytes, this.#verified(message));
    if (earlier === undefined || !equalBytes(encoded, earlier.message)) {
      if (encoded.length > MAX_WAITING_BYTES) return this.#tooLarge(encoded);
      if (earlier !== undefined) this.#waiting.take(earlier);
      this.#waiting.put({ code, aid, sn, said, since: earlier?.since ?? since, message: encoded });
      if (code === 'KEL_AWAITS_WITNESSES') this.#compareWaiting(message);
      for (const copy of this.#parts.escrow.unverified(aid, said)) this.#reconsider(copy);
    }
    return { verdict: 'waiting', code, reason };
  }

  /** An interaction names no keys: nothing of it can be verified before the events that it follows are known. */
  #isSelfSigned({ event, bytes, attachments }: KeyEventMessage): boolean {
    const { verifySignature } = this.#parts;
    return (
      event.type === 'ixn' ||
      validSignatures(verifySignature, event.keys, bytes, attachments.signatures).length > 0
    );
  }

  /** Two events that lack nothing but receipts are proof already, though neither is accepted. */
  #compareWaiting(message: KeyEventMessage): void {
    const { aid, sn, said } = message.event;
    for (const other of this.#parts.escrow.verifiedAt(aid, sn)) {
      if (other.said !== said && other.code === 'KEL_AWAITS_WITNESSES')
        this.#keepFork(other.message, message);
    }
  }

  #waitUnverified(
    { bytes, attachments }: StoreMessage,
    event: { readonly aid: Aid; readonly sn: number; readonly said: Said },
    reason: string,
    since: number,
  ): EventVerdict {
    const code = 'KEL_AWAITS_PRIOR';
    const encoded = encodeMessage(bytes, attachments);
    if (encoded.length > MAX_WAITING_BYTES) return this.#tooLarge(encoded);
    const copies = this.#parts.escrow.unverified(event.aid, event.said);
    if (!copies.some(({ message }) => equalBytes(message, encoded))) {
      if (copies.length >= MAX_COPIES) this.#waiting.drop(copies[0] as EscrowedMessage);
      this.#waiting.put({ code, ...event, since, message: encoded });
    }
    return { verdict: 'waiting', code, reason };
  }

  #tooLarge({ length }: Uint8Array): EventVerdict {
    return this.refuse(
      'KEL_LIMIT',
      `a message of ${length} bytes cannot wait, the bound is ${MAX_WAITING_BYTES}: send what comes before it first`,
    );
  }

  /** Looks again at what waited for `event`. */
  #release(event: KeyEvent): void {
    for (const entry of freedBy(event, this.#parts.escrow)) this.#reconsider(entry);
  }

  #reconsider(entry: EscrowedMessage): void {
    if (!this.#parts.escrow.has(entry)) return;
    this.#waiting.take(entry);
    try {
      const { verdict } = this.#settle(decodeMessage(entry.message), entry.since);
      if (verdict === 'accepted') this.#counts.accepted += 1;
    } catch (error) {
      // The fault of the message that waited must not become that of the one which released it.
      if (!(error instanceof KelError)) throw error;
      this.refuse(error.code, error.message);
    }
  }

  /** The new copy of a waiting event with what is verified of both. */
  #joined(message: KeyEventMessage, earlier: EscrowedMessage): KeyEventMessage {
    const { attachments } = this.#decoded(earlier);
    const joined = joinAttachments(attachments, this.#verified(message));
    return { ...message, attachments: { ...message.attachments, ...joined } };
  }

  #verified(message: KeyEventMessage): StoredAttachments {
    const { logs, verifySignature } = this.#parts;
    const { aid, sn } = message.event;
    return verifiedAttachments(verifySignature, logs.stateBefore(aid, sn), message);
  }

  #stored(aid: Aid, sn: number, said: Said): Uint8Array {
    const stored = this.#parts.table.getPending(eventKey(aid, sn, said));
    if (stored !== undefined) return stored;
    throw new StoreError(
      'STORE_CORRUPT',
      `log of ${aid}: expected event ${said} at ${sn}, got nothing`,
      { fields: { aid, sn } },
    );
  }
}

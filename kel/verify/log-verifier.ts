/**
 * Verifies logs of many AIDs, interleaved and in any order, in memory: the engine of `id verify` and of the auditor.
 *
 * The verdict on an event does not depend on how the input is cut. One bad event keeps what stands before it;
 * what depends on it is reported as waiting.
 */
import { type Attachments, emptyAttachments, mergeAttachments } from '#kel/cesr/attachments';
import { type Body, parseBody } from '#kel/cesr/body';
import { verifySaid } from '#kel/cesr/said';
import { type ParsedMessage, type StreamItem, StreamParser } from '#kel/cesr/stream';
import { KelError, type KelErrorCode } from '#kel/errors';
import { Escrow, type Waiting } from '#kel/escrow/escrow';
import { freedBy } from '#kel/escrow/freed';
import type { KeyEvent, KeyEventMessage } from '#kel/event/key-event';
import { keyEventOf, type ReceiptedEvent, receiptedEvent } from '#kel/event/parse';
import type { Aid, Said } from '#kel/identifiers';
import type { EstablishedKeys, SealSource } from '#kel/key-state/established-keys';
import type { KeyState } from '#kel/key-state/key-state';
import { type Decision, reject } from '#kel/state/decision';
import { evaluate } from '#kel/state/evaluate';
import type { EvaluationContext } from '#kel/state/evaluation-context';
import type { VerifySignature } from '#kel/state/key-signatures';
import { verifyWitnessSignatures } from '#kel/state/witness-signatures';
import { MemoryLog, type MemoryLogOptions } from './memory-log.ts';
import { type Dropped, Refusals } from './refusals.ts';
import {
  BatchResults,
  type BatchRunner,
  SerialBatchRunner,
  type SignatureCheck,
} from './signature-batch.ts';
import { SignatureForecast } from './signature-forecast.ts';

/** A message that is not part of any log, and why. */
export interface LeftOut {
  readonly code: KelErrorCode;
  readonly reason: string;
  /** As the message says, where that much of it could be read. */
  readonly said?: string;
  readonly aid?: string;
  readonly sn?: number;
  /** Of the message's first byte in its file. */
  readonly offset: number;
  readonly file?: string;
}

export interface LogResult {
  readonly aids: readonly KeyState[];
  readonly refused: readonly LeftOut[];
  readonly waiting: readonly LeftOut[];
  /** What a bound kept out of this result: anything but zeros means that it does not tell all. */
  readonly dropped: Dropped & { readonly receipts: number };
}

interface Origin {
  readonly offset: number;
  readonly file: string | undefined;
}

/** Read by other parts or by nobody; in a log they are no error, as long as they are what they say they are. */
const OTHER_TYPES: ReadonlySet<unknown> = new Set(
  'qry rpy pro bar exn xip vcp vrt iss rev bis brv'.split(' '),
);

/** Credentials travel in the same streams. */
const OTHER_PROTOCOL = 'ACDC';

const ESCROW_LIMITS = {
  maxMessages: 100_000,
  maxMessagesPerAid: 50_000,
  maxBytes: 128 * 1024 * 1024,
};
const MAX_EARLY_RECEIPTS = 10_000;

/** Messages that are parsed, then verified, then judged together. */
const BLOCK_MESSAGES = 256;

/** A message that is read and not yet judged. */
type Pending = { readonly origin: Origin } & (
  | { readonly event: KeyEventMessage }
  | { readonly receipt: ReceiptedEvent; readonly attachments: Attachments }
  | { readonly refusal: LeftOut }
);

interface Block {
  readonly pending: readonly Pending[];
  readonly checks: readonly SignatureCheck[];
}

export interface LogVerifierOptions extends MemoryLogOptions {
  /** Verifies signatures ahead, on other threads say; default: on this one. */
  readonly batchRunner?: BatchRunner;
  /** AIDs whose logs are held; @default 65 536 */
  readonly maxLogs?: number;
}

/** Each log takes some kilobytes, and an inception some hundred bytes. */
const MAX_LOGS = 65_536;

export class LogVerifier {
  readonly #verifySignature: VerifySignature;
  readonly #options: LogVerifierOptions;
  readonly #maxLogs: number;
  readonly #runner: BatchRunner;
  readonly #forecast = new SignatureForecast((aid) => this.#logs.get(aid)?.state);
  #pending: Pending[] = [];
  #checks: SignatureCheck[] = [];
  /** Its signatures are being verified. */
  #started: Block | undefined;
  #results = new BatchResults([], []);
  readonly #parsers = new Map<string | undefined, StreamParser>();
  readonly #logs = new Map<Aid, MemoryLog>();
  readonly #escrow = new Escrow<Origin>(ESCROW_LIMITS);
  /** Receipts whose event has not arrived, by its SAID. */
  readonly #earlyReceipts = new Map<Said, Attachments>();
  readonly #refusals = new Refusals<LeftOut>();
  #droppedReceipts = 0;

  constructor(verifySignature: VerifySignature, options: LogVerifierOptions = {}) {
    this.#verifySignature = (key, signature, message) =>
      this.#results.find(key, signature, message) ?? verifySignature(key, signature, message);
    this.#options = options;
    this.#maxLogs = options.maxLogs ?? MAX_LOGS;
    this.#runner = options.batchRunner ?? new SerialBatchRunner(verifySignature);
  }

  /** @param bytes the next piece of `file`; pieces of several files may alternate */
  feed(bytes: Uint8Array, { file }: { readonly file?: string } = {}): void {
    const parser = this.#parsers.get(file) ?? new StreamParser();
    this.#parsers.set(file, parser);
    for (const item of parser.push(bytes)) this.#take(item, file);
    this.#settleAll();
  }

  /** Ends every file. */
  finish(): LogResult {
    for (const [file, parser] of this.#parsers)
      for (const item of parser.finish()) this.#take(item, file);
    this.#settleAll();
    this.#parsers.clear();
    return {
      aids: [...this.#logs.values()].map((log) => log.state),
      refused: this.#refusals.all(),
      waiting: [...this.#escrow.all()].map(({ code, reason, message, origin }) =>
        leftOut(code, reason, origin, message.event),
      ),
      dropped: { ...this.#refusals.dropped(), receipts: this.#droppedReceipts },
    };
  }

  state(aid: Aid): KeyState | undefined {
    return this.#logs.get(aid)?.state;
  }

  /** The accepted establishment event with exactly this number and SAID, current, past or superseded. */
  establishment(aid: Aid, sn: number, said: Said): EstablishedKeys | undefined {
    return this.#logs.get(aid)?.establishment(sn, said);
  }

  /** The accepted event of `aid` that seals `said` by `{d}`. */
  sealOf(aid: Aid, said: Said): SealSource | undefined {
    const event = this.#logs.get(aid)?.sealOf(said);
    return event === undefined ? undefined : { aid, event };
  }

  /** Reads what can be judged only in its turn. */
  #take(item: StreamItem, file: string | undefined): void {
    const origin = { offset: item.offset, file };
    if (item.type === 'fault')
      this.#defer({ origin, refusal: leftOut(item.code, item.reason, origin) });
    else this.#read(item, origin);
    if (this.#pending.length >= BLOCK_MESSAGES) this.#turn();
  }

  #read({ body: bytes, version, attachments }: ParsedMessage, origin: Origin): void {
    let body: Body | undefined;
    try {
      const isOther = version.protocol === OTHER_PROTOCOL;
      body = parseBody(bytes, isOther ? OTHER_PROTOCOL : 'KERI', version);
      const type = body.fields.get('t');
      if (isOther || OTHER_TYPES.has(type)) {
        // A changed byte must not turn an event into something that nobody looks at.
        verifySaid(bytes, body.fields, type === 'vcp');
        return;
      }
      if (type === 'rct') {
        this.#defer({ origin, receipt: receiptedEvent(body), attachments });
        return;
      }
      const event = { event: keyEventOf(body, bytes), bytes, attachments };
      if (!this.#isAccepted(event.event)) this.#forecast.add(event, this.#checks);
      this.#defer({ origin, event });
    } catch (error) {
      if (!(error instanceof KelError)) throw error;
      this.#defer({ origin, refusal: leftOut(error.code, error.message, origin, claims(body)) });
    }
  }

  /** Nothing of the event will be looked at again. */
  #isAccepted({ aid, sn, said }: KeyEvent): boolean {
    const log = this.#logs.get(aid);
    return log !== undefined && sn <= log.state.sn && log.saidAt(sn) === said;
  }

  #defer(pending: Pending): void {
    this.#pending.push(pending);
  }

  /** The signatures of this block begin to be verified; the block before is judged meanwhile. */
  #turn(): void {
    const block = { pending: this.#pending, checks: this.#checks };
    this.#pending = [];
    this.#checks = [];
    const before = this.#finished();
    this.#started = block;
    this.#runner.start(block.checks);
    this.#judge(before);
  }

  #settleAll(): void {
    if (this.#pending.length > 0) this.#turn();
    this.#judge(this.#finished());
    this.#forecast.clear();
  }

  /** The block whose signatures are all verified now. */
  #finished(): Block | undefined {
    const block = this.#started;
    if (block === undefined) return undefined;
    this.#started = undefined;
    this.#results = new BatchResults(block.checks, this.#runner.finish());
    return block;
  }

  #judge(block: Block | undefined): void {
    for (const pending of block?.pending ?? []) {
      if ('event' in pending) this.#takeEvent(pending.event, pending.origin);
      else if ('receipt' in pending) this.#takeReceipt(pending.receipt, pending.attachments);
      else this.#refusals.add(pending.refusal);
    }
  }

  #takeEvent(message: KeyEventMessage, origin: Origin): void {
    const { said } = message.event;
    const earlier = this.#escrow.size === 0 ? undefined : this.#escrow.remove(said);
    const receipts = this.#earlyReceipts.size === 0 ? undefined : this.#earlyReceipts.get(said);
    let { attachments } = message;
    if (earlier !== undefined) {
      const witnessSignatures = [...(earlier.receipts?.valid ?? [])];
      const counted = { ...emptyAttachments(), witnessSignatures };
      attachments = mergeAttachments(
        mergeAttachments(counted, earlier.message.attachments),
        attachments,
      );
    }
    if (receipts !== undefined) {
      this.#earlyReceipts.delete(said);
      attachments = mergeAttachments(attachments, receipts);
    }
    this.#settle({ ...message, attachments }, earlier?.origin ?? origin);
  }

  /** Receipts of an accepted event change nothing; of a waiting one they may complete it. */
  #takeReceipt({ aid, sn, said }: ReceiptedEvent, attachments: Attachments): void {
    const waiting = this.#escrow.get(said);
    if (waiting !== undefined) this.#takeAwaited(waiting, attachments);
    else if (this.#logs.get(aid)?.saidAt(sn) !== said) this.#keepReceipt(said, attachments);
  }

  #keepReceipt(said: Said, attachments: Attachments): void {
    const earlier = this.#earlyReceipts.get(said);
    if (earlier !== undefined)
      this.#earlyReceipts.set(said, mergeAttachments(earlier, attachments));
    else if (this.#earlyReceipts.size < MAX_EARLY_RECEIPTS)
      this.#earlyReceipts.set(said, attachments);
    else this.#droppedReceipts += 1;
  }

  /**
   * A receipt is verified alone, and the event judged again when enough are there: once, however many come. A receipt
   * of an event that lacks something else is only kept.
   */
  #takeAwaited({ message, receipts, origin }: Waiting<Origin>, attachments: Attachments): void {
    const { event, bytes } = message;
    if (receipts === undefined) {
      this.#escrow.attach(event.said, attachments);
      return;
    }
    const { witnesses, threshold, valid } = receipts;
    const held = new Set(valid.map(({ index }) => index));
    const more = verifyWitnessSignatures(this.#verifySignature, witnesses, bytes, attachments);
    const all = [...valid, ...more.filter(({ index }) => !held.has(index))];
    if (all.length === valid.length) return;
    if (all.length < threshold) {
      this.#escrow.count(event.said, { ...receipts, valid: all });
      return;
    }
    this.#escrow.remove(event.said);
    const verified = { ...emptyAttachments(), witnessSignatures: all };
    const whole = mergeAttachments(verified, message.attachments);
    this.#settle({ ...message, attachments: whole }, origin);
  }

  #hasRoomFor({ aid }: KeyEvent): boolean {
    return this.#logs.has(aid) || this.#logs.size < this.#maxLogs;
  }

  /** Decides on the message, and on those that waited for it. */
  #settle(message: KeyEventMessage, origin: Origin): void {
    const open: Pick<Waiting<Origin>, 'message' | 'origin'>[] = [{ message, origin }];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const decision = this.#hasRoomFor(next.message.event)
        ? this.#evaluate(next.message)
        : reject('KEL_LIMIT', `more than ${this.#maxLogs} logs`);
      if (decision.kind === 'accept') {
        this.#accept(next.message, decision);
        for (const freed of this.#freedBy(next.message.event).toReversed()) {
          this.#escrow.remove(freed.message.event.said);
          open.push(freed);
        }
      } else if (decision.kind === 'reject') {
        this.#refusals.add(
          leftOut(decision.code, decision.reason, next.origin, next.message.event),
        );
      } else if (decision.kind === 'escrow' && !this.#escrow.add({ ...next, ...decision })) {
        this.#refusals.add(
          leftOut(
            'KEL_LIMIT',
            `too many messages wait; ${decision.reason}`,
            next.origin,
            next.message.event,
          ),
        );
      }
    }
  }

  #evaluate(message: KeyEventMessage): Decision {
    const log = this.#logs.get(message.event.aid);
    const context: EvaluationContext = {
      verifySignature: this.#verifySignature,
      saidAt: (sn) => log?.saidAt(sn),
      stateAt: (sn) => log?.stateAt(sn),
      delegator: (aid) => this.#logs.get(aid),
    };
    return evaluate(log?.state, message, context);
  }

  #accept(
    { event }: KeyEventMessage,
    { state, supersedesFrom }: Extract<Decision, { kind: 'accept' }>,
  ): void {
    const log = this.#logs.get(event.aid);
    if (log === undefined) this.#logs.set(event.aid, new MemoryLog(state, event, this.#options));
    else log.accept(state, event, supersedesFrom);
  }

  #freedBy(event: KeyEvent): readonly Waiting<Origin>[] {
    return this.#escrow.size === 0 ? [] : freedBy(event, this.#escrow);
  }
}

function leftOut(
  code: KelErrorCode,
  reason: string,
  { offset, file }: Origin,
  event: { readonly said?: string; readonly aid?: string; readonly sn?: number } = {},
): LeftOut {
  const { said, aid, sn } = event;
  return {
    code,
    reason,
    ...(said === undefined ? {} : { said }),
    ...(aid === undefined ? {} : { aid }),
    ...(sn === undefined ? {} : { sn }),
    offset,
    ...(file === undefined ? {} : { file }),
  };
}

/** What a refused body says about itself, unproven. */
function claims(body: Body | undefined): { said?: string; aid?: string; sn?: number } {
  const text = (label: string) => {
    const value = body?.fields.get(label);
    return typeof value === 'string' && value.length <= 100 ? value : undefined;
  };
  const [said, aid, sn] = [text('d'), text('i'), text('s')];
  return {
    ...(said === undefined ? {} : { said }),
    ...(aid === undefined ? {} : { aid }),
    ...(sn === undefined || !/^[0-9a-f]{1,13}$/.test(sn) ? {} : { sn: Number.parseInt(sn, 16) }),
  };
}

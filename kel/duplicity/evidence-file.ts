/**
 * Evidence of duplicity as a file: the key event log up to the fork, then both events with their signatures,
 * as one CESR stream that every KERI tool reads. The logs of delegators stand before.
 *
 * ```
 * log of the delegator, if any · events 0 … n-1 · event n as it was seen first · event n as it contradicts it
 * ```
 * The file proves itself: no clock, store or network. Both events count by the signatures of their controller;
 * receipts of witnesses are carried and not asked for, because they were asked for one of the two at most. Each
 * message stands in the form in which this program writes it or with bare groups, and holds nothing that does
 * not verify: a changed byte shows. The one exception is the code of a signature, which no signature covers:
 * as a current-only one (`B` for `A`) it proves the same two events.
 */
import { parseBody } from '#kel/cesr/body';
import { parseStream, type StreamItem } from '#kel/cesr/stream';
import { KelError, type KelErrorCode } from '#kel/errors';
import type { KeyEventMessage } from '#kel/event/key-event';
import { keyEventOf } from '#kel/event/parse';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import {
  encodeBareMessage,
  encodeMessage,
  type StoredAttachments,
} from '#kel/message/stored-message';
import { verifiedAttachments } from '#kel/message/verified-attachments';
import { evaluate } from '#kel/state/evaluate';
import type { EvaluationContext } from '#kel/state/evaluation-context';
import { type VerifySignature, verifyKeySignatures } from '#kel/state/key-signatures';
import { isSignedAfter } from '#kel/state/successor';
import { MemoryLog } from '#kel/verify/memory-log';
import { equalBytes } from '#src/bytes';
import type { DuplicityErrorCode } from './errors.ts';
import { isFork } from './fork.ts';

/** Longest file that is read or written, in bytes: a log of some 40,000 events. */
export const MAX_EVIDENCE_BYTES = 16 << 20;

export interface ForkReference {
  readonly aid: Aid;
  readonly sn: number;
  /** Both events, the one that the holder saw first before the other. */
  readonly saids: readonly [Said, Said];
}

export interface EvidenceProblem {
  readonly code: DuplicityErrorCode | KelErrorCode;
  readonly message: string;
  /** Of the first byte of the message concerned; null for the file as a whole. */
  readonly offset: number | null;
}

export interface EvidenceReport {
  /** `duplicity` only when the file proves it without any problem. */
  readonly verdict: 'duplicity' | 'none';
  /** What the last two events claim, also where they prove nothing. */
  readonly fork: ForkReference | undefined;
  readonly problems: readonly EvidenceProblem[];
}

type Placed = KeyEventMessage & { readonly offset: number };

/** @param bytes of any origin  @returns what the file shows; never throws */
export function verifyEvidence(
  bytes: Uint8Array,
  verifySignature: VerifySignature,
): EvidenceReport {
  const problems: EvidenceProblem[] = [];
  if (bytes.length > MAX_EVIDENCE_BYTES) {
    const message = `${bytes.length} bytes, at most ${MAX_EVIDENCE_BYTES} are read`;
    return {
      verdict: 'none',
      fork: undefined,
      problems: [{ code: 'DUPLICITY_TOO_LARGE', message, offset: null }],
    };
  }
  const messages = [...placed(parseStream(bytes), problems)];
  const pair = lastPair(messages);
  if (pair === undefined) {
    const message = `the last two of ${messages.length} events do not contradict each other`;
    problems.push({ code: 'DUPLICITY_NO_PAIR', message, offset: null });
    return { verdict: 'none', fork: undefined, problems };
  }
  const fork = forkOf(pair);
  if (problems.length === 0) {
    try {
      check(messages.slice(0, -2), pair, bytes, verifySignature);
    } catch (error) {
      if (!(error instanceof Found)) throw error;
      problems.push(error.problem);
    }
  }
  return { verdict: problems.length === 0 ? 'duplicity' : 'none', fork, problems };
}

/**
 * What the file claims to prove, by the form of its last two messages alone; undefined when it cannot be evidence.
 * Nothing before them is read: whether the claim is wanted is asked first. @param bytes of any origin
 */
export function claimedFork(bytes: Uint8Array): ForkReference | undefined {
  if (bytes.length > MAX_EVIDENCE_BYTES) return undefined;
  const ends: StreamItem[] = [];
  for (const item of parseStream(bytes)) {
    ends.push(item);
    if (ends.length > 2) ends.shift();
  }
  const pair = lastPair([...placed(ends, [])]);
  return pair === undefined ? undefined : forkOf(pair);
}

class Found extends Error {
  readonly problem: EvidenceProblem;

  constructor(code: EvidenceProblem['code'], message: string, offset: number | null) {
    super(message);
    this.problem = { code, message, offset };
  }
}

function* placed(items: Iterable<StreamItem>, problems: EvidenceProblem[]): Generator<Placed> {
  for (const item of items) {
    const { offset } = item;
    if (item.type === 'fault') {
      problems.push({ code: item.code, message: item.reason, offset });
      continue;
    }
    try {
      const event = keyEventOf(parseBody(item.body, 'KERI', item.version), item.body);
      yield { event, bytes: item.body, attachments: item.attachments, offset };
    } catch (error) {
      if (!(error instanceof KelError)) throw error;
      problems.push({ code: error.code, message: error.message, offset });
    }
  }
}

type Pair = readonly [Placed, Placed];

function lastPair(messages: readonly Placed[]): Pair | undefined {
  const [first, second] = messages.slice(-2);
  return first !== undefined && second !== undefined && isFork(first.event, second.event)
    ? [first, second]
    : undefined;
}

function forkOf([first, second]: Pair): ForkReference {
  return {
    aid: first.event.aid,
    sn: first.event.sn,
    saids: [first.event.said, second.event.said],
  };
}

/** @throws Found */
function check(
  prefix: readonly Placed[],
  pair: Pair,
  bytes: Uint8Array,
  verifySignature: VerifySignature,
): void {
  const logs = new Map<Aid, MemoryLog>();
  const ends = [...prefix, ...pair].map(({ offset }) => offset).slice(1);
  const expectWhole = (message: Placed, at: number, kept: StoredAttachments) =>
    expectForm(bytes.subarray(message.offset, ends[at] ?? bytes.length), message, kept);
  for (const [at, message] of prefix.entries())
    expectWhole(message, at, acceptInto(logs, message, verifySignature));
  const [{ event, offset }] = pair;
  const first = prefix[0]?.offset ?? offset;
  const before = logs.get(event.aid)?.state;
  if ((before?.sn ?? -1) !== event.sn - 1 || ('prior' in event && event.prior !== before?.said)) {
    throw new Found(
      'DUPLICITY_BAD_PREFIX',
      `the log before event ${event.sn} of ${event.aid} ends at event ${before?.sn ?? 'none'}`,
      offset,
    );
  }
  expectNoOthers(logs, event.aid);
  for (const [at, message] of pair.entries()) {
    expectSigned(before, message, verifySignature);
    const kept = verifiedAttachments(verifySignature, before, message);
    expectWhole(message, prefix.length + at, kept);
  }
  if (first !== 0)
    throw new Found('DUPLICITY_NOT_CANONICAL', `${first} bytes stand before the first event`, 0);
}

/** @throws Found when the message holds more than its valid parts, or they stand in another form */
function expectForm(written: Uint8Array, { bytes, offset }: Placed, kept: StoredAttachments): void {
  const isWhole =
    equalBytes(written, encodeMessage(bytes, kept)) ||
    equalBytes(written, encodeBareMessage(bytes, kept));
  if (!isWhole)
    throw new Found(
      'DUPLICITY_NOT_CANONICAL',
      `the ${written.length} bytes from here are not what their valid parts are written as`,
      offset,
    );
}

/** @returns what verifies of what came with the event */
function acceptInto(
  logs: Map<Aid, MemoryLog>,
  message: Placed,
  verifySignature: VerifySignature,
): StoredAttachments {
  const { event, offset } = message;
  const log = logs.get(event.aid);
  const decision = evaluate(log?.state, message, contextOf(logs, event.aid, verifySignature));
  if (decision.kind !== 'accept') {
    const said = decision.kind === 'duplicate' ? 'it stands there twice' : decision.reason;
    const message = `event ${event.sn} of ${event.aid}: ${said}`;
    throw new Found('code' in decision ? decision.code : 'DUPLICITY_BAD_PREFIX', message, offset);
  }
  if (log === undefined) logs.set(event.aid, new MemoryLog(decision.state, event));
  else log.accept(decision.state, event, decision.supersedesFrom);
  const { signatures, witnessSignatures, approval } = decision;
  return {
    signatures,
    witnessSignatures,
    sealSources: approval === undefined ? [] : [approval],
    receiptCouples: [],
  };
}

/** Only the AID itself and those that delegate to it. @throws Found */
function expectNoOthers(logs: ReadonlyMap<Aid, MemoryLog>, aid: Aid): void {
  const needed = new Set<Aid>();
  for (let at: Aid | undefined = aid; at !== undefined && !needed.has(at); ) {
    needed.add(at);
    at = logs.get(at)?.state.delegator;
  }
  const stray = [...logs.keys()].find((other) => !needed.has(other));
  if (stray !== undefined)
    throw new Found('DUPLICITY_BAD_PREFIX', `the log of ${stray} has nothing to do with it`, null);
}

/** @throws Found */
function expectSigned(
  before: KeyState | undefined,
  message: Placed,
  verifySignature: VerifySignature,
): void {
  const { event, bytes, attachments, offset } = message;
  const isSigned =
    before === undefined
      ? 'keys' in event &&
        verifyKeySignatures(
          verifySignature,
          event.keys,
          event.signingThreshold,
          bytes,
          attachments.signatures,
        ).isSatisfied
      : isSignedAfter(before, message, contextOf(new Map(), event.aid, verifySignature));
  if (!isSigned)
    throw new Found(
      'DUPLICITY_UNSIGNED',
      `event ${event.said} of ${event.aid}: its signatures do not meet the threshold in force`,
      offset,
    );
}

function contextOf(
  logs: ReadonlyMap<Aid, MemoryLog>,
  aid: Aid,
  verifySignature: VerifySignature,
): EvaluationContext {
  const log = logs.get(aid);
  return {
    verifySignature,
    saidAt: (sn) => log?.saidAt(sn),
    stateAt: (sn) => log?.stateAt(sn),
    delegator: (delegator) => logs.get(delegator),
  };
}

/**
 * The accepted events of every AID over a table: what evaluation may ask of them, and how one more is added.
 *
 * Everything here is synchronous and a pure function of the order in which events were accepted: applying
 * the same events in that order to an empty table gives the same entries. Nothing is durable or visible
 * to others before the owner of the table has committed it and called `settle`.
 */
import { isInception, type KeyEvent, type KeyEventMessage } from '#kel/event/key-event';
import { sealedDigest, sealedEvent } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import type { Decision } from '#kel/state/decision';
import { evaluate } from '#kel/state/evaluate';
import type {
  DelegationApproval,
  DelegatorLog,
  EvaluationContext,
} from '#kel/state/evaluation-context';
import type { VerifySignature } from '#kel/state/key-signatures';
import { StoreError } from '#src/store/errors';
import { decodeJson, encodeJson } from '#src/store/json-value';
import { decodeMessage, encodeMessage } from '../message/stored-message.ts';
import {
  approvalKey,
  chainKey,
  eventKey,
  firstSeenKey,
  headKey,
  sealKey,
  stateKey,
} from './keys.ts';

/** Where the entries stand; writes show in `getPending` at once. */
export interface Table {
  getPending(key: string): Uint8Array | undefined;
  put(key: string, value: Uint8Array): void;
  delete(key: string): void;
}

type Accepted = Extract<Decision, { kind: 'accept' }>;

/** One entry of the first-seen log. */
export interface FirstSeenEvent extends EventReference {
  readonly aid: Aid;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

export interface Head {
  readonly state: KeyState;
  /** Events of the AID that were accepted, superseded ones included. */
  readonly events: number;
}

/** What stands at one sequence number. */
interface ChainEntry {
  readonly said: Said;
  readonly eventType: KeyState['eventType'];
  readonly kind: KeyState['kind'];
  /** Sequence number of the establishment event in force. */
  readonly establishment: number;
}

/** Events that carry one seal: an honest log seals a thing once. */
const MAX_SOURCES = 4;

export class AcceptedLogs {
  readonly #table: Table;
  readonly #verifySignature: VerifySignature;
  readonly #heads = new Map<Aid, Head>();
  /** Since the last `settle`. */
  readonly #changed = new Map<Aid, Head>();
  #length = 0;
  #settledLength = 0;

  constructor(table: Table, verifySignature: VerifySignature) {
    this.#table = table;
    this.#verifySignature = verifySignature;
  }

  /** Puts back what an earlier run has settled. */
  restore(heads: Iterable<Head>, length: number): void {
    this.#heads.clear();
    this.#changed.clear();
    for (const head of heads) this.#heads.set(head.state.aid, head);
    this.#length = length;
    this.#settledLength = length;
  }

  /** Length of the first-seen log, settled. */
  get length(): number {
    return this.#settledLength;
  }

  /** Settled state. */
  state(aid: Aid): KeyState | undefined {
    return this.#heads.get(aid)?.state;
  }

  /** Events of `aid` that were accepted, superseded ones included. */
  eventCount(aid: Aid): number {
    return this.#heads.get(aid)?.events ?? 0;
  }

  aids(): readonly Aid[] {
    return [...this.#heads.keys()];
  }

  /** State with what is not settled yet. */
  pendingState(aid: Aid): KeyState | undefined {
    return (this.#changed.get(aid) ?? this.#heads.get(aid))?.state;
  }

  evaluate(message: KeyEventMessage): Decision {
    const { aid } = message.event;
    return evaluate(this.pendingState(aid), message, this.#context(aid));
  }

  /** The decision on an event that stands in the log already, as if it came now. */
  reevaluate(message: KeyEventMessage): Decision {
    const { aid, sn } = message.event;
    return evaluate(this.stateBefore(aid, sn), message, this.#context(aid));
  }

  /** @returns the message as it is stored now */
  apply(message: KeyEventMessage, accepted: Accepted, at: number): Uint8Array {
    const { event } = message;
    const { state, approval, supersedesFrom } = accepted;
    const { aid, sn, said } = state;
    const stored = encodeMessage(message.bytes, {
      signatures: accepted.signatures,
      witnessSignatures: accepted.witnessSignatures,
      sealSources: approval === undefined ? [] : [approval],
      receiptCouples: [],
    });
    if (supersedesFrom !== undefined) this.#supersede(aid, supersedesFrom);
    this.#table.put(eventKey(aid, sn, said), stored);
    this.#table.put(firstSeenKey(this.#length), encodeJson([aid, sn, said, at]));
    this.#putChain(state);
    if (event.type !== 'ixn') this.#table.put(stateKey(aid, sn), encodeJson(state));
    this.#addSeals(event);
    const events = (this.#changed.get(aid) ?? this.#heads.get(aid))?.events ?? 0;
    this.#changed.set(aid, { state, events: events + 1 });
    this.#length += 1;
    return stored;
  }

  /** Writes the heads that changed; the last thing before the table is committed. */
  putHeads(): void {
    for (const [aid, head] of this.#changed) this.#table.put(headKey(aid), encodeJson(head));
  }

  /** The table is committed: what was applied shows from now on. */
  settle(): void {
    for (const [aid, head] of this.#changed) this.#heads.set(aid, head);
    this.#changed.clear();
    this.#settledLength = this.#length;
  }

  saidAt(aid: Aid, sn: number): Said | undefined {
    return this.#chain(aid, sn)?.said;
  }

  /** State after the event that stands at `sn`. */
  stateAt(aid: Aid, sn: number): KeyState | undefined {
    return stateAt((key) => this.#table.getPending(key), aid, sn);
  }

  /** State that an event at `sn` follows, or would follow. */
  stateBefore(aid: Aid, sn: number): KeyState | undefined {
    const state = this.pendingState(aid);
    return state === undefined || state.sn === sn - 1 ? state : this.stateAt(aid, sn - 1);
  }

  firstSeen(at: number): FirstSeenEvent {
    const value = this.#table.getPending(firstSeenKey(at));
    if (value !== undefined) return decodeFirstSeen(value);
    throw new StoreError(
      'STORE_CORRUPT',
      `first-seen log: expected an event at ${at}, got nothing`,
    );
  }

  #context(aid: Aid): EvaluationContext {
    return {
      verifySignature: this.#verifySignature,
      saidAt: (sn) => this.saidAt(aid, sn),
      stateAt: (sn) => this.stateAt(aid, sn),
      delegator: (delegator) => this.#delegatorLog(delegator),
    };
  }

  #delegatorLog(delegator: Aid): DelegatorLog | undefined {
    const state = this.pendingState(delegator);
    if (state === undefined) return undefined;
    return {
      configTraits: state.configTraits,
      approvalOf: ({ aid, sn, said }) =>
        this.#sources<DelegationApproval>(approvalKey(delegator, aid, sn, said))[0],
    };
  }

  /** Takes the events from `from` on out of the log; they stay in the first-seen log. */
  #supersede(aid: Aid, from: number): void {
    for (let sn = from; ; sn++) {
      const said = this.saidAt(aid, sn);
      if (said === undefined) return;
      const stored = this.#table.getPending(eventKey(aid, sn, said));
      const message = stored === undefined ? undefined : decodeMessage(stored);
      if (message !== undefined && 'event' in message) this.#removeSeals(message.event);
      this.#table.delete(chainKey(aid, sn));
      this.#table.delete(stateKey(aid, sn));
    }
  }

  #putChain({ aid, sn, said, eventType, kind, establishment }: KeyState): void {
    const entry: ChainEntry = { said, eventType, kind, establishment: establishment.sn };
    this.#table.put(chainKey(aid, sn), encodeJson(entry));
  }

  #chain(aid: Aid, sn: number): ChainEntry | undefined {
    const value = this.#table.getPending(chainKey(aid, sn));
    return value === undefined ? undefined : decodeChain(value);
  }

  #addSeals(event: KeyEvent): void {
    for (const [key, source] of sealsOf(event)) {
      const sources = this.#sources(key);
      if (sources.length < MAX_SOURCES && !sources.some(({ said }) => said === source.said)) {
        this.#table.put(key, encodeJson([...sources, source]));
      }
    }
  }

  #removeSeals(event: KeyEvent): void {
    for (const [key] of sealsOf(event)) {
      const left = this.#sources(key).filter(({ said }) => said !== event.said);
      if (left.length === 0) this.#table.delete(key);
      else this.#table.put(key, encodeJson(left));
    }
  }

  #sources<T extends EventReference>(key: string): readonly T[] {
    return decodeSources(this.#table.getPending(key));
  }
}

/** State after the event that stands at `sn`, as it is on disk. */
export function settledStateAt(
  table: { get(key: string): Uint8Array | undefined },
  aid: Aid,
  sn: number,
): KeyState | undefined {
  return stateAt((key) => table.get(key), aid, sn);
}

function stateAt(
  get: (key: string) => Uint8Array | undefined,
  aid: Aid,
  sn: number,
): KeyState | undefined {
  const value = sn < 0 ? undefined : get(chainKey(aid, sn));
  if (value === undefined) return undefined;
  const entry = decodeChain(value);
  const established = get(stateKey(aid, entry.establishment));
  if (established === undefined) {
    throw new StoreError(
      'STORE_CORRUPT',
      `log of ${aid}: expected a key state at ${entry.establishment}, got nothing`,
      { fields: { aid, sn: entry.establishment } },
    );
  }
  const { said, eventType, kind } = entry;
  return { ...decodeState(established), sn, said, eventType, kind };
}

export function decodeChain(value: Uint8Array): ChainEntry {
  return decodeJson(value) as ChainEntry;
}

/** Entry of a seal: the events that carry it, earliest first. */
export function decodeSources<T extends EventReference>(
  value: Uint8Array | undefined,
): readonly T[] {
  return value === undefined ? [] : (decodeJson(value) as readonly T[]);
}

/** Entry of a state. JSON leaves out what is undefined, and the type wants it there. */
export function decodeState(value: Uint8Array): KeyState {
  return completed(decodeJson(value) as KeyState);
}

export function decodeHead(value: Uint8Array): Head {
  const { state, events } = decodeJson(value) as Head;
  return { state: completed(state), events };
}

export function decodeFirstSeen(value: Uint8Array): FirstSeenEvent {
  const [aid, sn, said, at] = decodeJson(value) as [Aid, number, Said, number];
  return { aid, sn, said, at };
}

function completed(state: KeyState): KeyState {
  return { ...state, delegator: state.delegator };
}

/** Table keys of the seals that the store can be asked for, each with the event that carries it. */
function sealsOf(event: KeyEvent): readonly (readonly [string, EventReference])[] {
  const { aid, sn, said, anchors } = event;
  const isRotation = !isInception(event) && event.type !== 'ixn';
  const seals: (readonly [string, EventReference | DelegationApproval])[] = [];
  for (const [sealIndex, anchor] of anchors.entries()) {
    const digest = sealedDigest(anchor);
    if (digest !== undefined && isKeyText(digest)) seals.push([sealKey(aid, digest), { sn, said }]);
    const sealed = sealedEvent(anchor);
    if (
      sealed !== undefined &&
      isKeyText(sealed.aid) &&
      isKeyText(sealed.said) &&
      isNumber(sealed.sn)
    ) {
      const key = approvalKey(aid, sealed.aid, sealed.sn, sealed.said);
      seals.push([key, { sn, said, isRotation, sealIndex }]);
    }
  }
  return seals;
}

/** Anchors hold any text; only a qualified one can be a key of the table. */
function isKeyText(text: string): boolean {
  return /^[A-Za-z0-9_-]{24,128}$/.test(text);
}

function isNumber(hex: string): boolean {
  return /^(0|[1-9a-f][0-9a-f]{0,13})$/.test(hex);
}

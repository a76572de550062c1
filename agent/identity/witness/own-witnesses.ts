/**
 * The witnesses of the own log: who serves each of them, asking them for receipts, and how far each has come.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { KelStore } from '#kel/store/kel-store';
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import { failureOf, type Journal } from '#src/journal';
import type { StateTable } from '#src/store/state-table';
import { type Conversation, converse, type Manners } from '../../network/conversation.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import { WitnessError } from './errors.ts';
import { witnessFailure } from './failure.ts';
import {
  decodeAnswer,
  encodeRequest,
  MAX_PAGE,
  type WitnessAnswer,
  type WitnessRequest,
  witnessLimits,
  witnessProtocol,
} from './messages.ts';

/** An own event that wants receipts. */
export interface EventToReceipt {
  readonly sn: number;
  readonly said: Said;
  /** Signed message. */
  readonly message: Uint8Array;
}

export interface WitnessStatus {
  readonly aid: Aid;
  /** Member that serves the witness, undefined when that was never learned here. */
  readonly operator: Aid | undefined;
  readonly connected: boolean;
  /** Latest own event that it has receipted, undefined before the first. */
  readonly sn: number | undefined;
  /** Seconds since the oldest own event that it was asked for and has not receipted; 0 when it is level. */
  readonly lagSeconds: number;
  /** Why it did not receipt when it was asked last. */
  readonly reason: string | undefined;
}

interface Coverage {
  readonly sn?: number;
  /** When the oldest event without its receipt was made; milliseconds since the Unix epoch. */
  readonly since?: number;
}

export interface OwnWitnessesDeps {
  readonly network: Network;
  /** The bound peer of a member. */
  readonly peerOf: (aid: Aid) => PeerKey | undefined;
  readonly kel: KelStore;
  readonly table: StateTable;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly self: Aid;
  /** The agent stops: nobody is waited for who is not connected. */
  readonly signal: AbortSignal;
}

/** A witness that does not answer within this is not waited for any longer; its late receipt is still taken. */
const ANSWER_MS = 10_000;

const manners: Manners = {
  protocol: witnessProtocol,
  limits: witnessLimits,
  messageMs: ANSWER_MS,
  wholeMs: ANSWER_MS,
  failure: witnessFailure,
};

/** So long an own event waits at most for a witness to say what it holds of this log. */
const OPEN_MS = 3_000;
/** From the start on, until connections are there. */
const CONNECT_MS = 10_000;
const POLL_MS = 100;
/** Pages of a log that a witness is sent before one receipt. */
const MAX_PAGES = 64;
/** Own events that a witness which was away is asked for again. */
const MAX_MISSED = 64;

export class OwnWitnesses {
  readonly #deps: OwnWitnessesDeps;
  readonly #reasons = new Map<Aid, string>();
  /** Witnesses that have said since the start what they hold of this log that is not final. */
  readonly #recalled = new Set<Aid>();
  /** Monotonic. */
  readonly #started: number;

  constructor(deps: OwnWitnessesDeps) {
    this.#deps = deps;
    this.#started = deps.clock.monotonic();
  }

  /** Right after a start it waits until `threshold` of `witnesses` are connected. Throws WITNESS_UNREACHABLE. */
  async expectReachable(witnesses: readonly Aid[], threshold: number): Promise<void> {
    const { clock, signal } = this.#deps;
    for (const end = this.#started + CONNECT_MS; ; await clock.sleep(POLL_MS)) {
      const missing = witnesses.filter((witness) => this.#peerOf(witness) === undefined);
      if (witnesses.length - missing.length >= threshold) return;
      if (clock.monotonic() >= end || signal.aborted)
        throw new WitnessError(
          'WITNESS_UNREACHABLE',
          `${witnesses.length - missing.length} of ${witnesses.length} witnesses are connected, ${threshold} must receipt; missing: ${missing.join(', ')}`,
        );
    }
  }

  /**
   * Asks all of `witnesses`. Resolves as soon as `take` says that there are enough receipts, or when all have
   * answered or their time is up; what comes later is given to `take` all the same.
   * @param take is given each `rct` message, unverified
   */
  async collect(
    event: EventToReceipt,
    witnesses: readonly Aid[],
    take: (receipt: Uint8Array) => Promise<boolean>,
  ): Promise<void> {
    await this.#asked(event, witnesses);
    const enough = Promise.withResolvers<void>();
    const asking = witnesses.map(async (witness) => {
      const receipt = await this.#ask(witness, event);
      if (receipt === undefined) return;
      const isEnough = await take(receipt);
      await this.#covered(witness, event.sn);
      if (isEnough) enough.resolve();
    });
    const all = Promise.allSettled(asking).then(() => undefined);
    await withDeadline(
      this.#deps.clock,
      ANSWER_MS,
      Promise.race([enough.promise, all]),
      () => undefined,
    );
  }

  /**
   * Own events that `witnesses` have receipted and that are not final as far as they know; each is asked once. After a state
   * directory was put back, such an event may be missing here, and no other is receipted in its place.
   * @returns signed messages, unverified
   */
  async recall(witnesses: readonly Aid[]): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = [];
    const asking = witnesses.map(async (witness) => {
      const peer = this.#peerOf(witness);
      if (peer === undefined || this.#recalled.has(witness)) return;
      const answer = await this.#within(peer, (stream) => exchange(stream, { kind: 'open' }));
      // A witness of an earlier version refuses the question.
      this.#recalled.add(witness);
      if (answer.kind === 'open' && answer.event.length > 0) found.push(answer.event);
    });
    const all = Promise.allSettled(asking).then(() => undefined);
    await withDeadline(this.#deps.clock, OPEN_MS, all, () => undefined);
    return [...found];
  }

  /** Asks witnesses that have missed own events and are back. @param take as in {@link collect} */
  async catchUp(state: KeyState, take: (receipt: Uint8Array) => Promise<unknown>): Promise<void> {
    const { kel } = this.#deps;
    for (const witness of state.witnesses) {
      const first = Math.max((this.#coverage(witness).sn ?? -1) + 1, state.sn - MAX_MISSED + 1);
      if (first > state.sn || this.#peerOf(witness) === undefined) continue;
      for (let sn = first; sn <= state.sn; sn++) {
        const message = await kel.export(state.aid, sn, 1);
        const receipt = await this.#ask(witness, { sn, said: state.said, message });
        // An event from before it was added: it is asked for what comes after.
        if (receipt === undefined && this.#reasons.get(witness)?.startsWith('WITNESS_NOT_LISTED'))
          continue;
        if (receipt === undefined) break;
        await take(receipt);
        await this.#covered(witness, sn);
      }
    }
  }

  /**
   * The witness that `peer` serves, and whether it serves this organisation. Remembers who serves it.
   * Throws WITNESS_UNREACHABLE, WITNESS_BAD_REQUEST.
   */
  async identify(operator: Aid): Promise<{ readonly aid: Aid; readonly serves: boolean }> {
    const peer = this.#deps.peerOf(operator);
    if (peer === undefined)
      throw new WitnessError('WITNESS_UNREACHABLE', `${operator} is not connected`);
    const answer = await this.#within(peer, (stream) => exchange(stream, { kind: 'who' }));
    if (answer.kind !== 'witness')
      throw new WitnessError('WITNESS_BAD_REQUEST', `expected a witness, got ${answer.kind}`);
    await this.#deps.table.put({ [`operator.${answer.aid}`]: operator });
    return answer;
  }

  status(state: KeyState): readonly WitnessStatus[] {
    const now = this.#deps.clock.now();
    return state.witnesses.map((aid) => {
      const { sn, since } = this.#coverage(aid);
      return {
        aid,
        operator: this.#operatorOf(aid),
        connected: this.#peerOf(aid) !== undefined,
        sn,
        lagSeconds: since === undefined ? 0 : Math.max(0, Math.round((now - since) / 1_000)),
        reason: this.#reasons.get(aid),
      };
    });
  }

  #operatorOf(witness: Aid): Aid | undefined {
    return this.#deps.table.get<Aid>(`operator.${witness}`);
  }

  #peerOf(witness: Aid): PeerKey | undefined {
    const operator = this.#operatorOf(witness);
    return operator === undefined ? undefined : this.#deps.peerOf(operator);
  }

  #coverage(witness: Aid): Coverage {
    return this.#deps.table.get<Coverage>(`coverage.${witness}`) ?? {};
  }

  async #asked(event: EventToReceipt, witnesses: readonly Aid[]): Promise<void> {
    const changes: Record<string, Coverage> = {};
    for (const witness of witnesses) {
      const coverage = this.#coverage(witness);
      if (coverage.since === undefined && (coverage.sn ?? -1) < event.sn)
        changes[`coverage.${witness}`] = { ...coverage, since: this.#deps.clock.now() };
    }
    if (Object.keys(changes).length > 0) await this.#deps.table.put(changes);
  }

  async #covered(witness: Aid, sn: number): Promise<void> {
    this.#reasons.delete(witness);
    const { since, sn: before = -1 } = this.#coverage(witness);
    const isLevel = sn >= (this.#deps.kel.state(this.#deps.self)?.sn ?? 0);
    const coverage: Coverage = {
      sn: Math.max(sn, before),
      ...(isLevel || since === undefined ? {} : { since }),
    };
    await this.#deps.table.put({ [`coverage.${witness}`]: coverage });
  }

  /** @returns the `rct` message, unverified; undefined when there is none, and then the reason is kept */
  async #ask(witness: Aid, event: EventToReceipt): Promise<Uint8Array | undefined> {
    const { journal } = this.#deps;
    try {
      const peer = this.#peerOf(witness);
      if (peer === undefined)
        throw new WitnessError('WITNESS_UNREACHABLE', `${witness} is not connected`);
      return await this.#within(peer, (conversation) => this.#receipt(conversation, event));
    } catch (error) {
      const { code, message } = failureOf(error);
      this.#reasons.set(witness, `${code}: ${message}`.slice(0, 512));
      journal.failed('witness.no-receipt', error, { witness, sn: event.sn }, 'debug');
      return undefined;
    }
  }

  async #receipt(conversation: Conversation, { message }: EventToReceipt): Promise<Uint8Array> {
    const { kel, self } = this.#deps;
    for (let pages = 0; pages < MAX_PAGES; pages++) {
      const answer = await exchange(conversation, { kind: 'receipt', event: message });
      if (answer.kind === 'receipted') return answer.receipt;
      if (answer.kind === 'refused') throw new RefusedReceipt(answer.code, answer.reason);
      if (answer.kind !== 'behind' || !this.#ownChain(self).includes(answer.aid)) break;
      const page = await kel.export(answer.aid, answer.from, MAX_PAGE);
      if (page.length === 0) break;
      await conversation.send(encodeRequest({ kind: 'log', stream: page }));
    }
    throw new WitnessError('WITNESS_BAD_REQUEST', 'the witness did not come to an answer');
  }

  /** The own AID and its delegators. */
  #ownChain(aid: Aid): readonly Aid[] {
    const chain: Aid[] = [];
    let at: Aid | undefined = aid;
    while (at !== undefined && !chain.includes(at)) {
      chain.push(at);
      at = this.#deps.kel.state(at)?.delegator;
    }
    return chain;
  }

  #within<T>(peer: PeerKey, talk: (conversation: Conversation) => Promise<T>): Promise<T> {
    return converse(this.#deps, manners, peer, talk);
  }
}

/** What the witness said: its code and words. */
class RefusedReceipt extends Error {
  readonly code: string;

  constructor(code: string, reason: string) {
    super(reason);
    this.code = code;
  }
}

async function exchange(
  conversation: Conversation,
  request: WitnessRequest,
): Promise<WitnessAnswer> {
  await conversation.send(encodeRequest(request));
  return decodeAnswer(await conversation.receive());
}

/**
 * The agreement over a stream: greeting, three messages, acknowledgement, all within one deadline.
 *
 * The responder makes its agreement durable before it acknowledges, the initiator activates its own after the
 * acknowledgement: when message 3 is lost neither end changes its key. When only the acknowledgement is lost, the
 * responder is ahead until the initiator's next run; established WireGuard sessions go on meanwhile.
 *
 * Caution: answering a message 1 costs milliseconds of CPU and a signature by the token. Whoever provides
 * `view` first checks that the stream's peer is bound to the AID in the greeting.
 */
import type { Clock } from '#src/clock';
import { epochAt } from '../../mesh/membership/epoch.ts';
import { failuresAs, hold } from '../../network/conversation.ts';
import type { MessageStream, PeerKey, ProtocolId, ProtocolLimits } from '../../network/network.ts';
import type { Agreement, AgreementDeps, AgreementEnds } from './agreement.ts';
import { AgreementError } from './errors.ts';
import {
  type AgreementRefusal,
  acknowledgement,
  decodeGreeting,
  decodeRefusal,
  encodeGreeting,
  encodeRefusal,
  isRefusal,
  isRefusalCode,
} from './frames.ts';
import { type Initiator, Responder } from './machine.ts';
import { MAX_FRAME_BYTES } from './messages.ts';
import type { PairPolicy } from './policy.ts';
import { isSameEnd, type PairTerms, pairOf } from './terms.ts';

export const agreementProtocol = '/kelmesh/1/pair' as ProtocolId;

export const agreementLimits: ProtocolLimits = { maxMessage: MAX_FRAME_BYTES, maxStreams: 2 };

/** Long enough for the slowest token to sign. */
const DEFAULT_TIMEOUT_MS = 30_000;

/** By how many epochs the base epoch of a greeting may differ from the own clock's: the boundary may lie between. */
const MAX_EPOCH_SKEW = 1;

const agreementFailure = failuresAs(
  {
    unreachable: 'AGREEMENT_TIMEOUT',
    silent: 'AGREEMENT_TIMEOUT',
    ended: 'AGREEMENT_BAD_MESSAGE',
    refused: 'AGREEMENT_POLICY',
    malformed: 'AGREEMENT_BAD_MESSAGE',
  },
  (...failure) => new AgreementError(...failure),
);

export interface RunOptions {
  /** Milliseconds for the whole run. @default 30_000 */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export type RunOutcome =
  | { readonly kind: 'agreed'; readonly agreement: Agreement }
  | { readonly kind: 'refused'; readonly refusal: AgreementRefusal };

export interface ResponderDeps extends AgreementDeps {
  readonly clock: Clock;
  /** The time that epochs follow, in milliseconds since the Unix epoch. */
  now(): number;
  /** The own view of the pair in the greeting, undefined when `peer` is not that AID or the AID is not one to agree with. */
  view(
    terms: PairTerms,
    peer: PeerKey,
  ): Promise<{ readonly view: AgreementEnds; readonly policy: PairPolicy } | undefined>;
  /** Makes the agreement durable; it is acknowledged afterwards. Disposes of its chain when it resolves. */
  accept(agreement: Agreement): Promise<void>;
}

/**
 * Runs `initiator` and closes the stream. With `agreed` both ends hold the agreement, and the chain is the caller's.
 * @throws AGREEMENT_TIMEOUT, AGREEMENT_NOT_ACKNOWLEDGED, all of `Initiator`, the stream's errors
 */
export function runInitiator(
  stream: MessageStream,
  initiator: Initiator,
  clock: Clock,
  options: RunOptions = {},
): Promise<RunOutcome> {
  return run(stream, clock, options, initiator, async () => {
    await stream.send(encodeGreeting(initiator.terms));
    await stream.send(initiator.start());
    const answer = await receive(stream, options);
    if (isRefusal(answer)) {
      const refusal = decodeRefusal(answer);
      await stream.close();
      return { kind: 'refused', refusal };
    }
    const { message3, agreement } = await initiator.receive2(answer);
    try {
      await stream.send(message3);
      await expectAcknowledgement(stream, options);
      await stream.close();
      return { kind: 'agreed', agreement };
    } catch (error) {
      agreement.chain[Symbol.dispose]();
      throw error;
    }
  });
}

/**
 * Answers one run. With `agreed` the agreement went through `accept`.
 * @throws AGREEMENT_TIMEOUT, all of `Responder`, the stream's errors, what `accept` and `view` throw
 */
export async function runResponder(
  stream: MessageStream,
  deps: ResponderDeps,
  options: RunOptions = {},
): Promise<RunOutcome> {
  const secrets = new DisposableStack();
  return run(stream, deps.clock, options, secrets, async () => {
    const prepared = await prepare(stream, deps, await receive(stream, options));
    if (!(prepared instanceof Responder)) {
      await stream.send(encodeRefusal(prepared));
      await stream.close();
      return { kind: 'refused', refusal: prepared };
    }
    const responder = secrets.use(prepared);
    await stream.send(await responder.receive1(await receive(stream, options)));
    const agreement = await responder.receive3(await receive(stream, options));
    try {
      await deps.accept(agreement);
    } catch (error) {
      agreement.chain[Symbol.dispose]();
      throw error;
    }
    await stream.send(acknowledgement);
    await stream.close();
    return { kind: 'agreed', agreement };
  });
}

async function run(
  stream: MessageStream,
  clock: Clock,
  { timeoutMs = DEFAULT_TIMEOUT_MS }: RunOptions,
  secrets: Disposable,
  task: () => Promise<RunOutcome>,
): Promise<RunOutcome> {
  const manners = { messageMs: timeoutMs, wholeMs: timeoutMs, failure: agreementFailure };
  try {
    return await hold(stream, { clock }, manners, task);
  } finally {
    secrets[Symbol.dispose]();
  }
}

/** The machine for a greeting, or why there is none. */
async function prepare(
  stream: MessageStream,
  deps: ResponderDeps,
  greeting: Uint8Array,
): Promise<Responder | AgreementRefusal> {
  try {
    const terms = decodeGreeting(greeting);
    const held = await deps.view(terms, stream.peer);
    if (held === undefined) return { code: 'AGREEMENT_UNKNOWN_PEER' };
    const refusal = refusalOf(terms, held.view, held.policy, deps.now());
    return refusal ?? new Responder(deps, held.view, terms.policy);
  } catch (error) {
    if (error instanceof AgreementError && isRefusalCode(error.code)) return { code: error.code };
    throw error;
  }
}

function refusalOf(
  terms: PairTerms,
  view: AgreementEnds,
  policy: PairPolicy,
  nowMs: number,
): AgreementRefusal | undefined {
  const { mesh, initiator, responder } = pairOf(view.mesh, view.peer, view.local);
  if (
    mesh !== terms.mesh ||
    initiator.aid !== terms.initiator.aid ||
    responder.aid !== terms.responder.aid
  ) {
    return { code: 'AGREEMENT_UNKNOWN_PEER' };
  }
  if (!isSameEnd(initiator, terms.initiator) || !isSameEnd(responder, terms.responder)) {
    return { code: 'AGREEMENT_STALE_VIEW', held: { initiator, responder } };
  }
  if (
    policy.epochSeconds !== terms.policy.epochSeconds ||
    policy.contributions.join() !== terms.policy.contributions.join()
  ) {
    return { code: 'AGREEMENT_POLICY' };
  }
  const skew = Math.abs(terms.policy.baseEpoch - epochAt(nowMs, policy.epochSeconds));
  return skew > MAX_EPOCH_SKEW ? { code: 'AGREEMENT_CLOCK_SKEW' } : undefined;
}

async function expectAcknowledgement(stream: MessageStream, options: RunOptions): Promise<void> {
  const bytes = await stream.receive(options.signal);
  if (bytes?.length !== 1 || bytes[0] !== acknowledgement[0]) {
    throw new AgreementError(
      'AGREEMENT_NOT_ACKNOWLEDGED',
      `expected an acknowledgement from ${stream.peer}, got ${bytes === undefined ? 'the end of the stream' : `${bytes.length} bytes`}`,
    );
  }
}

async function receive(stream: MessageStream, options: RunOptions): Promise<Uint8Array> {
  const bytes = await stream.receive(options.signal);
  if (bytes === undefined)
    throw new AgreementError('AGREEMENT_BAD_MESSAGE', `${stream.peer} ended the stream early`);
  return bytes;
}

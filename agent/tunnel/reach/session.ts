/** Two ends look for a way between their devices, over a stream between their agents; see `messages.ts`. */
import type { Aid, Said } from '#kel/identifiers';
import type { Conversation, Manners } from '../../network/conversation.ts';
import type { ProtocolId } from '../../network/network.ts';
import { mayBeTried } from './candidate.ts';
import { ReachError, reachFailure } from './errors.ts';
import {
  decodeReach,
  encodeReach,
  MAX_REACH_MESSAGE,
  type OfferedCandidate,
  type ReachMessage,
} from './messages.ts';
import type { Sighting } from './way.ts';

export const reachManners: Manners = {
  protocol: '/kelmesh/1/reach' as ProtocolId,
  limits: { maxMessage: MAX_REACH_MESSAGE, maxStreams: 4 },
  // An end may ask two members how they see it, and then try every pair of addresses.
  messageMs: 12_000,
  wholeMs: 40_000,
  failure: reachFailure,
};

/** What one end says of itself at first. */
export interface ReachCall {
  /** SAIDs of the `tun` records, named from the side of the sender. */
  readonly own: Said;
  readonly peer: Said;
  readonly canProbe: boolean;
  readonly candidates: readonly OfferedCandidate[];
}

/** Where both ends meet when no way was found. */
export interface OfferedRelay {
  readonly relay: Aid;
  /** UDP port for the end that is told. */
  readonly port: number;
  readonly hosts: readonly string[];
}

export interface SessionSteps {
  /** Sends probes where that is possible, and waits. @returns what came */
  probe(peer: ReachCall): Promise<readonly Sighting[]>;
  /** Both ends have seen what they could, and each knows it of the other. @returns whether there is a way now */
  settle(peer: ReachCall, own: readonly Sighting[], other: readonly Sighting[]): Promise<boolean>;
}

export interface OpeningSteps extends SessionSteps {
  /** @returns undefined where nobody relays; else what the other end is told */
  lend(): Promise<{ readonly told: OfferedRelay; take(): Promise<void> } | undefined>;
}

export interface AnsweringSteps extends SessionSteps {
  /** @throws REACH_REFUSED, REACH_BUSY */
  answer(peer: ReachCall): Promise<ReachCall>;
  relayed(offer: OfferedRelay): Promise<void>;
}

/** @returns whether there is a way now */
export async function runOpening(
  conversation: Conversation,
  own: ReachCall,
  steps: OpeningSteps,
): Promise<boolean> {
  await say(conversation, { kind: 'call', ...own });
  const peer = tried(await hear(conversation, 'call'));
  if (peer.own !== own.peer || peer.peer !== own.own)
    throw new ReachError('REACH_BAD_MESSAGE', 'the answer is about another tunnel');
  const seen = await steps.probe(peer);
  await say(conversation, { kind: 'seen', seen });
  const { seen: other } = await hear(conversation, 'seen');
  if (await steps.settle(peer, seen, other)) return true;
  const lent = await steps.lend();
  if (lent === undefined) {
    await say(conversation, { kind: 'none' });
    return false;
  }
  await say(conversation, { kind: 'relay', ...lent.told });
  await hear(conversation, 'taken');
  await lent.take();
  return true;
}

export async function runAnswering(
  conversation: Conversation,
  first: ReachCall,
  steps: AnsweringSteps,
): Promise<void> {
  const peer = tried(first);
  const own = await steps.answer(peer);
  await say(conversation, { kind: 'call', ...own });
  const seen = await steps.probe(peer);
  const { seen: other } = await hear(conversation, 'seen');
  await say(conversation, { kind: 'seen', seen });
  if (await steps.settle(peer, seen, other)) return;
  const offer = await next(conversation);
  if (offer?.kind !== 'relay') return;
  await steps.relayed(offer);
  await say(conversation, { kind: 'taken' });
}

/** Without what nobody sends to because another says so; the places of the others stay as they are. */
function tried(call: ReachCall): ReachCall {
  if (call.candidates.every(({ endpoint }) => mayBeTried(endpoint))) return call;
  throw new ReachError('REACH_BAD_MESSAGE', 'expected addresses to which a packet can go');
}

export async function say(conversation: Conversation, message: ReachMessage): Promise<void> {
  await conversation.send(encodeReach(message));
}

/** @throws REACH_REFUSED, REACH_BAD_MESSAGE */
export async function hear<Kind extends ReachMessage['kind']>(
  conversation: Conversation,
  kind: Kind,
): Promise<Extract<ReachMessage, { readonly kind: Kind }>> {
  const message = decodeReach(await conversation.receive());
  if (message.kind === kind) return message as Extract<ReachMessage, { readonly kind: Kind }>;
  if (message.kind === 'refused')
    throw new ReachError('REACH_REFUSED', `the peer refused: ${message.code}`);
  throw new ReachError('REACH_BAD_MESSAGE', `expected ${kind}, got ${message.kind}`);
}

/** Undefined after the other end has closed. */
async function next(conversation: Conversation): Promise<ReachMessage | undefined> {
  const bytes = await conversation.next();
  return bytes && decodeReach(bytes);
}

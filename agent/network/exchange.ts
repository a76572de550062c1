/** One request and one answer on a stream of its own, each a CBOR list; the answer may be `['refused', code]`. */
import type { Aid } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import {
  type ConversationDeps,
  converse,
  type Failure,
  type Manners,
  serveConversations,
} from './conversation.ts';
import type { PeerKey } from './network.ts';

export interface ExchangeDeps extends ConversationDeps {
  /** Who is bound to which connection. */
  readonly directory: {
    peerOf(aid: Aid): PeerKey | undefined;
    aidOf(peer: PeerKey): Aid | undefined;
  };
}

/** @returns the answer  @throws what `failure` makes, and what the network throws */
export async function askPeer(
  deps: ExchangeDeps,
  manners: Manners,
  aid: Aid,
  request: Uint8Array,
): Promise<readonly CborValue[]> {
  const { failure } = manners;
  const peer = deps.directory.peerOf(aid);
  if (peer === undefined) throw failure('unreachable', `${aid} is not connected`);
  const bytes = await converse(
    deps,
    manners,
    peer,
    async (conversation) => {
      await conversation.send(request);
      return conversation.receive();
    },
    aid,
  );
  const answer = decodeList(bytes, failure);
  const [word, code] = answer;
  if (word === 'refused' && typeof code === 'string' && answer.length === 2)
    throw failure('refused', `${aid} refused: ${code.slice(0, 64)}`);
  return answer;
}

/** Serves `manners`. @param answer of a request, attacker-controlled: rejecting ends the stream without an answer */
export function serveExchange(
  deps: ConversationDeps,
  manners: Manners,
  answer: (request: Uint8Array, peer: PeerKey) => Promise<CborValue>,
): void {
  serveConversations(deps, manners, async (conversation) => {
    const request = await conversation.receive();
    await conversation.send(encodeCbor(await answer(request, conversation.stream.peer)));
  });
}

/** The answer for work that has failed. @param otherwise the code of what has none */
export function refusal(error: unknown, otherwise: string): CborValue {
  return ['refused', (error as { code?: string }).code ?? otherwise];
}

/** @param bytes attacker-controlled  @throws `malformed` */
export function decodeList(bytes: Uint8Array, failure: Failure): readonly CborValue[] {
  const value = reading(() => decodeCbor(bytes), failure);
  if (!Array.isArray(value)) throw failure('malformed', 'expected a list');
  return value;
}

/** Throws `malformed` for whatever `read` throws. */
export function reading<T>(read: () => T, failure: Failure): T {
  try {
    return read();
  } catch (cause) {
    throw failure('malformed', 'the message is not well formed', { cause });
  }
}

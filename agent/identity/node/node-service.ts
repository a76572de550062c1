/** `/kelmesh/1/node` at both ends: an organisation hears requests, a node brings its own. */

import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import { MeshError } from '#src/errors';
import { converse, type Manners, serveConversations } from '../../network/conversation.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import { NodeError } from './errors.ts';
import { nodeFailure } from './failure.ts';
import {
  decodeNodeAnswer,
  decodeNodeRequest,
  encodeNodeAnswer,
  encodeNodeRequest,
  MAX_APPROVAL,
  type NodeAnswer,
  nodeLimits,
  nodeProtocol,
  nodeRequestLimits,
} from './messages.ts';
import type { NodeDesk } from './node-desk.ts';

const ANSWER_MS = 10_000;

const manners: Manners = {
  protocol: nodeProtocol,
  limits: nodeLimits,
  messageMs: ANSWER_MS,
  wholeMs: ANSWER_MS,
  failure: nodeFailure,
};
/** At the organisation: the disk lies between the request and its answer. */
const served: Manners = { ...manners, limits: nodeRequestLimits, wholeMs: 6 * ANSWER_MS };
/** Requests of one peer: a node asks every five seconds. */
const REQUESTS = { burst: 16, perSecond: 1 / 2 };

export function serveNodes(network: Network, desk: NodeDesk, clock: Clock): void {
  const allowance = new Allowance(clock, REQUESTS);
  serveConversations({ network, clock }, served, async (conversation) => {
    const bytes = await conversation.receive();
    const { peer } = conversation.stream;
    const isServed = allowance.take(peer);
    await conversation.send(encodeNodeAnswer(isServed ? await answer(desk, bytes, peer) : BUSY));
  });
}

const BUSY: NodeAnswer = {
  kind: 'refused',
  code: 'NODE_BUSY',
  reason: `more than ${REQUESTS.burst} requests at once, or one in ${1 / REQUESTS.perSecond} s`,
};

async function answer(desk: NodeDesk, bytes: Uint8Array, from: PeerKey): Promise<NodeAnswer> {
  try {
    const { name, stream } = decodeNodeRequest(bytes);
    const approval = await desk.receive(name, stream, from);
    if (approval === undefined) return { kind: 'waiting' };
    if (approval.stream.length > MAX_APPROVAL)
      throw new NodeError('NODE_TOO_LARGE', `the logs have ${approval.stream.length} bytes`);
    return { kind: 'approved', stream: approval.stream };
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    return { kind: 'refused', code: error.code, reason: error.message };
  }
}

/** Brings a request to a connected peer. Throws NETWORK_…, NODE_BAD_REQUEST. */
export function bringRequest(
  network: Network,
  clock: Clock,
  peer: PeerKey,
  name: string,
  request: Uint8Array,
): Promise<NodeAnswer> {
  return converse({ network, clock }, manners, peer, async (conversation) => {
    await conversation.send(encodeNodeRequest(name, request));
    return decodeNodeAnswer(await conversation.receive());
  });
}

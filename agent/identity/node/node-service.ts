/** `/kelmesh/1/node` at both ends: an organisation hears requests, a node brings its own. */

import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import { MeshError } from '#src/errors';
import type { MessageStream, Network, PeerKey } from '../../network/network.ts';
import { NodeError } from './errors.ts';
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
/** Requests of one peer: a node asks every five seconds. */
const REQUESTS = { burst: 16, perSecond: 1 / 2 };

export function serveNodes(network: Network, desk: NodeDesk, clock: Clock): void {
  const allowance = new Allowance(clock, REQUESTS);
  network.handle(nodeProtocol, nodeRequestLimits, async (stream) => {
    const bytes = await withDeadline(clock, ANSWER_MS, stream.receive(), () => undefined);
    if (bytes !== undefined) {
      const isServed = allowance.take(stream.peer);
      await stream.send(encodeNodeAnswer(isServed ? await answer(desk, bytes, stream.peer) : BUSY));
    }
    await stream.close();
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
export async function bringRequest(
  network: Network,
  clock: Clock,
  peer: PeerKey,
  name: string,
  request: Uint8Array,
): Promise<NodeAnswer> {
  const stream = await network.open(peer, nodeProtocol, nodeLimits);
  try {
    return await withDeadline(clock, ANSWER_MS, exchange(stream, name, request), () => {
      throw new NodeError('NODE_BAD_ANSWER', `no answer of ${peer} within ${ANSWER_MS} ms`);
    });
  } catch (error) {
    stream.abort(error as Error);
    throw error;
  }
}

async function exchange(
  stream: MessageStream,
  name: string,
  request: Uint8Array,
): Promise<NodeAnswer> {
  await stream.send(encodeNodeRequest(name, request));
  const bytes = await stream.receive();
  if (bytes === undefined)
    throw new NodeError('NODE_BAD_ANSWER', 'the organisation ended the stream early');
  await stream.close();
  return decodeNodeAnswer(bytes);
}

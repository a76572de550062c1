/**
 * The request of a node to its organisation: one line that travels in a file, by paste or over libp2p.
 *
 * `kelmesh-node:1:NAME:STREAM`, STREAM being CESR in Base64url: the signed `dip`; or the node's log since its last
 * establishment event, which the organisation has, and behind it the signed `drt`. It holds no secret.
 */
import { parseStream } from '#kel/cesr/stream';
import { isInception, type KeyEvent } from '#kel/event/key-event';
import { parseKeyEvent } from '#kel/event/parse';
import type { KelStore } from '#kel/store/kel-store';
import { concatBytes } from '#src/bytes';
import type { PendingEvent } from '../own/local-keys.ts';
import { NodeError } from './errors.ts';

export interface NodeRequest {
  readonly name: string;
  /** What is to be approved, signed. */
  readonly message: Uint8Array;
  /** What comes before it in the log, then the message. */
  readonly stream: Uint8Array;
  readonly event: Extract<KeyEvent, { type: 'icp' | 'dip' | 'rot' | 'drt' }>;
}

/** Bytes of a stream: some 1,000 interactions between two rotations. */
export const MAX_REQUEST = 768 * 1024;
const MAX_LINE = 1 << 20;
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function isNodeName(name: string): boolean {
  return NAME.test(name);
}

export function formatNodeRequest(name: string, stream: Uint8Array): string {
  return `kelmesh-node:1:${name}:${Buffer.from(stream).toString('base64url')}`;
}

/** Throws NODE_BAD_REQUEST. @param line attacker-controlled */
export function parseNodeRequest(line: string): NodeRequest {
  const text = line.trim();
  const match =
    text.length <= MAX_LINE ? /^kelmesh-node:1:([^:]{1,63}):([A-Za-z0-9_-]+)$/.exec(text) : null;
  const [, name = '', encoded = ''] = match ?? [];
  const stream = Buffer.from(encoded, 'base64url');
  if (match === null || stream.toString('base64url') !== encoded)
    throw new NodeError(
      'NODE_BAD_REQUEST',
      'the request is not a line of the form kelmesh-node:1:NAME:EVENT',
    );
  return nodeRequest(name, stream);
}

/** The stream of a request. @param pending the event that waits */
export async function requestStream(kel: KelStore, pending: PendingEvent): Promise<Uint8Array> {
  const message = Buffer.from(pending.message, 'base64');
  const state = kel.state(pending.aid);
  if (state === undefined) return message;
  return concatBytes(await kel.export(pending.aid, state.establishment.sn), message);
}

/** Throws NODE_BAD_REQUEST. @param stream attacker-controlled */
export function nodeRequest(name: string, stream: Uint8Array): NodeRequest {
  if (!isNodeName(name))
    throw new NodeError('NODE_BAD_REQUEST', `${JSON.stringify(name.slice(0, 64))} is not a name`);
  if (stream.length > MAX_REQUEST)
    throw new NodeError(
      'NODE_BAD_REQUEST',
      `the request has ${stream.length} bytes, at most ${MAX_REQUEST} are read`,
    );
  const items = [...parseStream(stream)];
  const last = items.at(-1);
  if (last?.type !== 'message' || items.some(({ type }) => type === 'fault'))
    throw new NodeError('NODE_BAD_REQUEST', 'the request does not hold whole events');
  const event = eventOf(last.body);
  if (event.type !== 'drt' && !(isInception(event) && event.delegator !== undefined))
    throw new NodeError('NODE_BAD_REQUEST', `expected dip or drt, got ${event.type}`);
  if (event.type !== 'drt' && items.length > 1)
    throw new NodeError('NODE_BAD_REQUEST', `${items.length - 1} events before an inception`);
  return { name, message: stream.subarray(last.offset), stream, event };
}

function eventOf(body: Uint8Array): KeyEvent {
  try {
    return parseKeyEvent(body);
  } catch (cause) {
    throw new NodeError(
      'NODE_BAD_REQUEST',
      `the event cannot be read: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Nodes of the organisation: requests, approvals, and the node's own side while its agent runs. */

import { isAbsolute } from 'node:path';
import { readRegularFile } from '#src/files/regular-file';
import { takeApproval } from '../identity/node/approval.ts';
import { NodeError } from '../identity/node/errors.ts';
import type { NodeDesk, NodeEntry } from '../identity/node/node-desk.ts';
import {
  formatNodeRequest,
  MAX_REQUEST,
  type NodeRequest,
  parseNodeRequest,
  requestStream,
} from '../identity/node/request.ts';
import { ControlError } from './errors.ts';
import type { Json } from './protocol.ts';
import { optionalText, text, type Verb, type VerbContext } from './verb.ts';

/** Bytes of an approval file. */
const MAX_FILE = 64 << 20;

export const nodeVerbs: Readonly<Record<string, Verb>> = {
  'node.list': async ({ organisation }) => ({
    schema: 'kelmesh.nodes/1',
    nodes: (await organisation.desk.list()).map(nodeJson),
    requestsDropped: organisation.desk.dropped,
  }),
  'node.approve': async ({ organisation, args }) => {
    const { desk, identity } = organisation;
    const request = requested(desk, args);
    const { name, aid, event, sealSource, stream } = await desk.approve(request);
    return {
      schema: 'kelmesh.node-approval/1',
      name,
      aid,
      sn: event.sn,
      said: event.said,
      type: request.event.type,
      keys: request.event.keys,
      delegator: identity.aid,
      sealSource: { sn: sealSource.sn, said: sealSource.said },
      cesr: Buffer.from(stream).toString('base64'),
    };
  },
  'node.request': async ({ organisation, name }) => {
    const { pending, state } = organisation.identity;
    if (pending?.type !== 'drt')
      throw new NodeError('NODE_NOTHING_WAITS', `no event of ${state.aid} waits for approval`);
    return {
      schema: 'kelmesh.node-request/1',
      name,
      aid: pending.aid,
      sn: pending.sn,
      said: pending.said,
      delegator: state.delegator ?? null,
      line: formatNodeRequest(name, await requestStream(organisation.kel, pending)),
    };
  },
  'node.accept': accept,
};

/** A file of the caller, a line, or what has arrived. */
function requested(desk: NodeDesk, args: VerbContext['args']): NodeRequest {
  const file = optionalText(args['file']);
  const line = optionalText(args['line']);
  if (file !== undefined) return parseNodeRequest(readRequest(file));
  return line === undefined ? desk.find(text(args, 'who')) : parseNodeRequest(line);
}

function readRequest(file: string): string {
  if (!isAbsolute(file))
    throw new ControlError('CONTROL_BAD_REQUEST', `expected an absolute path, got ${file}`);
  try {
    return readRegularFile(file, 2 * MAX_REQUEST).toString('utf8');
  } catch (cause) {
    const message = `cannot read ${file}: ${(cause as Error).message}`;
    throw new NodeError('NODE_BAD_REQUEST', message, { cause });
  }
}

async function accept({ organisation, args }: VerbContext): Promise<Json> {
  const { identity, kel } = organisation;
  const file = text(args, 'file');
  if (!isAbsolute(file))
    throw new ControlError('CONTROL_BAD_REQUEST', `expected an absolute path, got ${file}`);
  const { pending } = identity;
  if (pending?.type !== 'drt')
    throw new NodeError('NODE_NOTHING_WAITS', `no event of ${identity.aid} waits for approval`);
  await takeApproval(kel, pending, readApproval(file));
  await identity.resume();
  return acceptedJson(organisation);
}

/** What the organisation has answered. Throws NODE_BAD_ANSWER. */
export function readApproval(file: string): Uint8Array {
  try {
    return readRegularFile(file, MAX_FILE);
  } catch (cause) {
    const message = `cannot read ${file}: ${(cause as Error).message}`;
    throw new NodeError('NODE_BAD_ANSWER', message, { cause });
  }
}

export function acceptedJson({
  identity: { state },
}: Pick<VerbContext['organisation'], 'identity'>): { readonly [key: string]: Json } {
  return {
    schema: 'kelmesh.node/1',
    aid: state.aid,
    sn: state.sn,
    said: state.said,
    delegator: state.delegator ?? null,
  };
}

function nodeJson({ aid, name, state, delegator, sealSource, request }: NodeEntry): Json {
  return {
    aid,
    name,
    sn: state?.sn ?? request?.sn ?? null,
    said: state?.said ?? request?.said ?? null,
    delegator,
    approved: state !== undefined,
    sealSource: sealSource === undefined ? null : { sn: sealSource.sn, said: sealSource.said },
    request:
      request === undefined
        ? null
        : { sn: request.sn, said: request.said, at: new Date(request.at).toISOString() },
  };
}

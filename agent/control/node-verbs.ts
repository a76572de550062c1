/** Nodes of the organisation: requests, approvals, and the node's own side while its agent runs. */

import type { Aid } from '#kel/identifiers';
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
import type { PendingEvent } from '../identity/own/local-keys.ts';
import type { Organisation } from '../organisation/organisation.ts';
import { absolutePath, line, optional, text } from './arguments.ts';
import { verbsOf } from './verb.ts';

/** Bytes of an approval file. */
const MAX_FILE = 64 << 20;

const { needsAgent, needsState } = verbsOf({ organisation: ['desk', 'identity', 'kel'] });

export const nodeVerbs = {
  'node.list': needsState({
    args: {},
    reads: true,
    run: async ({ organisation: { desk } }) => ({
      schema: 'kelmesh.nodes/1',
      nodes: (await desk.list()).map(nodeJson),
      requestsDropped: desk.dropped,
    }),
  }),
  'node.approve': needsState({
    /** A file, a line, or the name or AID of a request that has arrived. */
    args: { file: optional(absolutePath), line: optional(line), who: optional(text) },
    /** Requests that have arrived are in the memory of a running agent alone. */
    atRest({ file, line: given, who }) {
      if (file === undefined && given === undefined)
        throw new NodeError(
          'NODE_UNKNOWN',
          `the agent does not run, so no request of ${text.take('who', who).slice(0, 64)} waits here`,
        );
    },
    async run({ organisation: { desk, identity } }, args) {
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
  }),
  /** At rest a node that is not approved yet has no organisation to open: `pendingAtRest`. */
  'node.request': needsAgent({
    args: {},
    async run({ organisation, name }) {
      const { pending, state } = organisation.identity;
      if (pending?.type !== 'drt')
        throw new NodeError('NODE_NOTHING_WAITS', `no event of ${state.aid} waits for approval`);
      return requestJson(
        name,
        pending,
        await requestStream(organisation.kel, pending),
        state.delegator ?? null,
      );
    },
  }),
  /** At rest: {@link readApproval}. */
  'node.accept': needsAgent({
    args: { file: absolutePath },
    async run({ organisation: { identity, kel } }, { file }) {
      const { pending } = identity;
      if (pending?.type !== 'drt')
        throw new NodeError('NODE_NOTHING_WAITS', `no event of ${identity.aid} waits for approval`);
      await takeApproval(kel, pending, readApproval(file));
      await identity.resume();
      return acceptedJson({ identity });
    },
  }),
};

/** A file of the caller, a line, or what has arrived. */
function requested(
  desk: NodeDesk,
  { file, line: given, who }: Partial<Record<'file' | 'line' | 'who', string | undefined>>,
): NodeRequest {
  if (file !== undefined) return parseNodeRequest(readRequest(file));
  return given === undefined ? desk.find(text.take('who', who)) : parseNodeRequest(given);
}

function readRequest(file: string): string {
  try {
    return readRegularFile(file, 2 * MAX_REQUEST).toString('utf8');
  } catch (cause) {
    const message = `cannot read ${file}: ${(cause as Error).message}`;
    throw new NodeError('NODE_BAD_REQUEST', message, { cause });
  }
}

/** @param delegator left out where it is not known: the log at rest is of the node alone */
export function requestJson(
  name: string,
  { aid, sn, said }: Pick<PendingEvent, 'aid' | 'sn' | 'said'>,
  request: Uint8Array,
  delegator?: Aid | null,
) {
  return {
    schema: 'kelmesh.node-request/1',
    name,
    aid,
    sn,
    said,
    ...(delegator === undefined ? {} : { delegator }),
    line: formatNodeRequest(name, request),
  };
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

export function acceptedJson({ identity: { state } }: Pick<Organisation, 'identity'>) {
  return {
    schema: 'kelmesh.node/1',
    aid: state.aid,
    sn: state.sn,
    said: state.said,
    delegator: state.delegator ?? null,
  };
}

function nodeJson({ aid, name, state, delegator, sealSource, request }: NodeEntry) {
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

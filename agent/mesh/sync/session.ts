/**
 * One sync session: two agents prove who they are and exchange what the other lacks.
 *
 * What a hello says of its sender (AID, clock, what it holds) is a claim. Nothing is told to the context of it but what the
 * answer needs, until `bind` has found the sender to be a member: then, under the AID that it has proven.
 *
 * Pure of policy: what may be seen, what is accepted and who is a member is asked of {@link SyncContext}.
 */

import { parseStream } from '#kel/cesr/stream';
import type { Aid, Said } from '#kel/identifiers';
import type { MessageStream, PeerKey } from '../../network/network.ts';
import { SyncError } from './errors.ts';
import {
  decodeSyncMessage,
  encodeSyncMessage,
  GIVE_BYTES,
  type Give,
  type Have,
  type LogHead,
  MAX_HEADS,
  MAX_RECORDS,
  type Prove,
  type SyncMessage,
} from './messages.ts';

/** What a session asks of the agent. */
export interface SyncContext {
  ownHead(): LogHead;
  mesh(): string;
  now(): number;
  /** First sequence number of the log of `head` that is not held; 0 when nothing is, and for a peer that has not shown to be that AID. */
  want(peer: PeerKey, head: LogHead): number;
  ownLog(from: number): Promise<Uint8Array>;
  /** The own signed `end` record. */
  ownEndpoints(): Promise<Uint8Array>;
  /**
   * Verifies the peer's log and its `end` record, and that the record names the stream's peer.
   * @returns whether the AID is a member; throws SYNC_NOT_BOUND
   */
  bind(
    stream: MessageStream,
    head: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ): Promise<boolean>;
  /** For an AID that was removed: the sealed revocation and the governor's log from where it may lack it. */
  revocationOf(aid: Aid): Promise<{ revocation: Uint8Array; log: Uint8Array }>;
  /** The other end, which says to be `by`, says that we are out; `revocation` and `log` are unverified, and prove themselves or nothing. */
  refused(
    peer: PeerKey,
    by: Aid,
    code: string,
    revocation: Uint8Array,
    log: Uint8Array,
  ): Promise<void>;
  /** What `aid` may have: nothing any more once it is not a member. */
  heads(aid: Aid): readonly LogHead[];
  records(aid: Aid): readonly Said[];
  /** A page of the log from sequence number `from`: whole events, at least one when there is one. */
  log(aid: Aid, from: number): Promise<Uint8Array>;
  record(said: Said): Promise<Uint8Array | undefined>;
  /** Whether the log that is held has another event than `head` at its number, and that is not known as a fork yet. */
  contradicts?(head: LogHead): boolean;
  receiveLogs(from: Aid, logs: readonly Uint8Array[]): Promise<void>;
  receiveRecords(from: Aid, records: readonly Uint8Array[]): Promise<void>;
  /** The clock of the member `aid`, which is bound, was ahead by this many milliseconds as it says. */
  clockSeen(aid: Aid, skewMs: number): void;
  /** The member `aid`, which is bound, says that it lacks the own log from sequence number `from` on; 0: it says nothing. */
  lacks?(aid: Aid, from: number): void;
  /** Both ends have given each other what they held. */
  exchanged?(aid: Aid): void;
  /** More is held than one message lists: `to` will send some of it again. */
  cut?(to: Aid, held: { readonly heads: number; readonly records: number }): void;
}

/** Payload that one end takes in one session, in bytes; a giver stops well before, and the rest comes with the next. */
const MAX_SESSION_BYTES = 64 << 20;
const MAX_GIVEN_BYTES = MAX_SESSION_BYTES / 2;

export async function openSession(stream: MessageStream, context: SyncContext): Promise<void> {
  const sent = context.now();
  await send(stream, {
    kind: 'hello',
    head: context.ownHead(),
    mesh: context.mesh(),
    clock: sent,
    want: 0,
  });
  const hello = await expect(stream, 'hello');
  const skewMs = hello.clock - sent;
  await send(stream, {
    kind: 'prove',
    log: await context.ownLog(hello.want),
    endpoints: await context.ownEndpoints(),
    want: context.want(stream.peer, hello.head),
  });
  const prove = await expectOrRefusal(stream, context, hello.head.aid, 'prove');
  if (prove === undefined) return;
  if (!(await context.bind(stream, hello.head, prove.log, prove.endpoints))) {
    await refuse(stream, context, hello.head.aid);
    return;
  }
  context.clockSeen(hello.head.aid, skewMs);
  context.lacks?.(hello.head.aid, hello.want);
  await send(stream, haveOf(context, hello.head.aid));
  const have = await expectOrRefusal(stream, context, hello.head.aid, 'have');
  if (have === undefined) return;
  await give(stream, context, hello.head.aid, have);
  if (await take(stream, context, hello.head.aid)) context.exchanged?.(hello.head.aid);
  await stream.close();
}

export async function answerSession(stream: MessageStream, context: SyncContext): Promise<void> {
  const received = context.now();
  const hello = await expect(stream, 'hello');
  const skewMs = hello.clock - received;
  const { head } = hello;
  await send(stream, {
    kind: 'hello',
    head: context.ownHead(),
    mesh: context.mesh(),
    clock: context.now(),
    want: context.want(stream.peer, head),
  });
  const prove = await expect(stream, 'prove');
  if (!(await context.bind(stream, head, prove.log, prove.endpoints))) {
    // The stranger still learns who refused it: the governor's log and endpoints are what a joiner needs to check the invite.
    await send(stream, await ownProof(context, prove.want));
    await refuse(stream, context, head.aid);
    return;
  }
  context.clockSeen(head.aid, skewMs);
  context.lacks?.(head.aid, prove.want);
  await send(stream, await ownProof(context, prove.want));
  const have = await expectOrRefusal(stream, context, head.aid, 'have');
  if (have === undefined) return;
  await send(stream, haveOf(context, head.aid));
  const isTaken = await take(stream, context, head.aid);
  await give(stream, context, head.aid, have);
  if (isTaken) context.exchanged?.(head.aid);
  await stream.close();
}

async function ownProof(context: SyncContext, from: number): Promise<Prove> {
  return {
    kind: 'prove',
    log: await context.ownLog(from),
    endpoints: await context.ownEndpoints(),
    want: 0,
  };
}

function haveOf(context: SyncContext, to: Aid): Have {
  const [heads, records] = [context.heads(to), context.records(to)];
  if (heads.length > MAX_HEADS || records.length > MAX_RECORDS)
    context.cut?.(to, { heads: heads.length, records: records.length });
  return {
    kind: 'have',
    heads: heads.slice(0, MAX_HEADS),
    records: records.slice(0, MAX_RECORDS),
  };
}

async function refuse(stream: MessageStream, context: SyncContext, aid: Aid): Promise<void> {
  await send(stream, {
    kind: 'refuse',
    code: 'SYNC_NOT_A_MEMBER',
    ...(await context.revocationOf(aid)),
  });
  await stream.close();
}

/** Sends every log and record that the other end lacks, in frames of at most {@link GIVE_BYTES}. */
async function give(
  stream: MessageStream,
  context: SyncContext,
  to: Aid,
  have: Have,
): Promise<void> {
  const held = new Map(have.heads.map((head) => [head.aid, head]));
  const known = new Set(have.records);
  let frame = new Frame();
  let given = 0;
  const add = async (kind: 'logs' | 'records', bytes: Uint8Array) => {
    given += bytes.length;
    frame = await frame.add(stream, kind, bytes);
  };
  for (const head of context.heads(to)) {
    const theirs = held.get(head.aid);
    // Who holds another event at its head lacks the place where the two logs part: it gets all, and sees it.
    const parts = theirs !== undefined && context.contradicts?.(theirs) === true;
    let from = theirs === undefined || parts ? 0 : theirs.sn + 1;
    while (from <= head.sn && given < MAX_GIVEN_BYTES) {
      const page = await context.log(head.aid, from);
      if (page.length === 0) break;
      await add('logs', page);
      from += eventsIn(page);
    }
  }
  for (const said of context.records(to)) {
    if (known.has(said) || given >= MAX_GIVEN_BYTES) continue;
    const record = await context.record(said);
    if (record !== undefined) await add('records', record);
  }
  await frame.flush(stream, false);
}

/** Infinity for a page in which there is none, so that the loop over pages ends. */
function eventsIn(page: Uint8Array): number {
  let events = 0;
  for (const item of parseStream(page)) if (item.type === 'message') events += 1;
  return events === 0 ? Number.POSITIVE_INFINITY : events;
}

class Frame {
  readonly #content = { logs: [] as Uint8Array[], records: [] as Uint8Array[] };
  #size = 0;

  /** @returns the frame to go on with */
  async add(stream: MessageStream, kind: 'logs' | 'records', bytes: Uint8Array): Promise<Frame> {
    let target: Frame = this;
    if (this.#size > 0 && this.#size + bytes.length > GIVE_BYTES) {
      await this.flush(stream, true);
      target = new Frame();
    }
    target.#content[kind].push(bytes);
    target.#size += bytes.length;
    return target;
  }

  async flush(stream: MessageStream, more: boolean): Promise<void> {
    await send(stream, { kind: 'give', ...this.#content, more });
  }
}

/** @returns false when the other end refused */
async function take(stream: MessageStream, context: SyncContext, from: Aid): Promise<boolean> {
  let total = 0;
  let message: Give | undefined;
  do {
    message = await expectOrRefusal(stream, context, from, 'give');
    if (message === undefined) return false;
    const size = [...message.logs, ...message.records].reduce(
      (sum, bytes) => sum + bytes.length,
      0,
    );
    if (size === 0 && message.more)
      throw new SyncError('SYNC_BAD_MESSAGE', 'a give of nothing that announces more');
    total += size;
    if (total > MAX_SESSION_BYTES)
      throw new SyncError(
        'SYNC_BAD_MESSAGE',
        `more than ${MAX_SESSION_BYTES} bytes in one session`,
      );
    await context.receiveLogs(from, message.logs);
    await context.receiveRecords(from, message.records);
  } while (message.more);
  return true;
}

async function send(stream: MessageStream, message: SyncMessage): Promise<void> {
  await stream.send(encodeSyncMessage(message));
}

type Of<K extends SyncMessage['kind']> = Extract<SyncMessage, { kind: K }>;

async function expect<K extends SyncMessage['kind']>(
  stream: MessageStream,
  kind: K,
): Promise<Of<K>> {
  const message = await next(stream);
  if (message.kind !== kind)
    throw new SyncError('SYNC_BAD_MESSAGE', `expected ${kind}, got ${message.kind}`);
  return message as Of<K>;
}

/** The message, or undefined after a refusal was handed to the context. */
async function expectOrRefusal<K extends SyncMessage['kind']>(
  stream: MessageStream,
  context: SyncContext,
  from: Aid,
  kind: K,
): Promise<Of<K> | undefined> {
  const message = await next(stream);
  if (message.kind === 'refuse') {
    const { code, revocation, log } = message;
    await context.refused(stream.peer, from, code, revocation, log);
    await stream.close();
    return undefined;
  }
  if (message.kind !== kind)
    throw new SyncError('SYNC_BAD_MESSAGE', `expected ${kind}, got ${message.kind}`);
  return message as Of<K>;
}

async function next(stream: MessageStream): Promise<SyncMessage> {
  const bytes = await stream.receive();
  if (bytes === undefined)
    throw new SyncError('SYNC_BAD_MESSAGE', 'the peer ended the session early');
  return decodeSyncMessage(bytes);
}

/**
 * One sync session: two agents prove who they are and exchange what the other lacks.
 *
 * Pure of policy: what may be seen, what is accepted and who is a member is asked of {@link SyncContext}.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { MessageStream } from '../network/network.ts';
import { SyncError } from './errors.ts';
import {
  decodeSyncMessage,
  encodeSyncMessage,
  type Give,
  GIVE_BYTES,
  type Have,
  type Hello,
  type LogHead,
  type Prove,
  type SyncMessage,
} from './messages.ts';

/** What a session asks of the agent. */
export interface SyncContext {
  ownHead(): LogHead;
  mesh(): string;
  now(): number;
  /** First sequence number of `aid`'s log that is not held; 0 when nothing is. */
  want(head: LogHead): number;
  ownLog(from: number): Promise<Uint8Array>;
  /** The own signed `end` record. */
  ownEndpoints(): Promise<Uint8Array>;
  /**
   * Verifies the peer's log and its `end` record, and that the record names the stream's peer.
   * @returns whether the AID is a member; throws SYNC_NOT_BOUND
   */
  bind(stream: MessageStream, head: LogHead, log: Uint8Array, endpoints: Uint8Array): Promise<boolean>;
  /** For an AID that was removed: the sealed revocation and the governor's log from where it may lack it. */
  revocationOf(aid: Aid): Promise<{ revocation: Uint8Array; log: Uint8Array }>;
  /** The other end says that we are out; `revocation` and `log` are unverified. */
  refused(by: Aid, code: string, revocation: Uint8Array, log: Uint8Array): Promise<void>;
  heads(): readonly LogHead[];
  records(): readonly Said[];
  log(aid: Aid, from: number): Promise<Uint8Array>;
  record(said: Said): Promise<Uint8Array | undefined>;
  receiveLogs(from: Aid, logs: readonly Uint8Array[]): Promise<void>;
  receiveRecords(from: Aid, records: readonly Uint8Array[]): Promise<void>;
  clockSeen(aid: Aid, skewMs: number): void;
}

/** Payload that one end takes in one session, in bytes; the rest comes with the next. */
const MAX_SESSION_BYTES = 64 << 20;

export async function openSession(stream: MessageStream, context: SyncContext): Promise<void> {
  const sent = context.now();
  await send(stream, { kind: 'hello', head: context.ownHead(), mesh: context.mesh(), clock: sent, want: 0 });
  const hello = await expect(stream, 'hello');
  noteClock(context, hello, sent);
  await send(stream, {
    kind: 'prove',
    log: await context.ownLog(hello.want),
    endpoints: await context.ownEndpoints(),
    want: context.want(hello.head),
  });
  const prove = await expectOrRefusal(stream, context, hello.head.aid, 'prove');
  if (prove === undefined) return;
  if (!(await context.bind(stream, hello.head, prove.log, prove.endpoints))) {
    await refuse(stream, context, hello.head.aid);
    return;
  }
  await send(stream, haveOf(context));
  const have = await expectOrRefusal(stream, context, hello.head.aid, 'have');
  if (have === undefined) return;
  await give(stream, context, have);
  await take(stream, context, hello.head.aid);
  await stream.close();
}

export async function answerSession(stream: MessageStream, context: SyncContext): Promise<void> {
  const received = context.now();
  const hello = await expect(stream, 'hello');
  noteClock(context, hello, received);
  const { head } = hello;
  await send(stream, { kind: 'hello', head: context.ownHead(), mesh: context.mesh(), clock: context.now(), want: context.want(head) });
  const prove = await expect(stream, 'prove');
  if (!(await context.bind(stream, head, prove.log, prove.endpoints))) {
    // The stranger still learns who refused it: the governor's log and endpoints are what a joiner needs to check the invite.
    await send(stream, await ownProof(context, prove.want));
    await refuse(stream, context, head.aid);
    return;
  }
  await send(stream, await ownProof(context, prove.want));
  const have = await expectOrRefusal(stream, context, head.aid, 'have');
  if (have === undefined) return;
  await send(stream, haveOf(context));
  await take(stream, context, head.aid);
  await give(stream, context, have);
  await stream.close();
}

async function ownProof(context: SyncContext, from: number): Promise<Prove> {
  return { kind: 'prove', log: await context.ownLog(from), endpoints: await context.ownEndpoints(), want: 0 };
}

function haveOf(context: SyncContext): Have {
  return { kind: 'have', heads: context.heads(), records: context.records() };
}

function noteClock(context: SyncContext, hello: Hello, at: number): void {
  context.clockSeen(hello.head.aid, hello.clock - at);
}

async function refuse(stream: MessageStream, context: SyncContext, aid: Aid): Promise<void> {
  await send(stream, { kind: 'refuse', code: 'SYNC_NOT_A_MEMBER', ...(await context.revocationOf(aid)) });
  await stream.close();
}

/** Sends every log and record that the other end lacks, in frames of at most {@link GIVE_BYTES}. */
async function give(stream: MessageStream, context: SyncContext, have: Have): Promise<void> {
  const held = new Map(have.heads.map((head) => [head.aid, head.sn]));
  const known = new Set(have.records);
  let frame = new Frame();
  for (const head of context.heads()) {
    const sn = held.get(head.aid) ?? -1;
    if (sn < head.sn) frame = await frame.add(stream, 'logs', await context.log(head.aid, sn + 1));
  }
  for (const said of context.records()) {
    if (known.has(said)) continue;
    const record = await context.record(said);
    if (record !== undefined) frame = await frame.add(stream, 'records', record);
  }
  await frame.flush(stream, false);
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

async function take(stream: MessageStream, context: SyncContext, from: Aid): Promise<void> {
  let total = 0;
  let message: Give | undefined;
  do {
    message = await expectOrRefusal(stream, context, from, 'give');
    if (message === undefined) return;
    total += [...message.logs, ...message.records].reduce((sum, bytes) => sum + bytes.length, 0);
    if (total > MAX_SESSION_BYTES) throw new SyncError('SYNC_BAD_MESSAGE', `more than ${MAX_SESSION_BYTES} bytes in one session`);
    await context.receiveLogs(from, message.logs);
    await context.receiveRecords(from, message.records);
  } while (message.more);
}

async function send(stream: MessageStream, message: SyncMessage): Promise<void> {
  await stream.send(encodeSyncMessage(message));
}

type Of<K extends SyncMessage['kind']> = Extract<SyncMessage, { kind: K }>;

async function expect<K extends SyncMessage['kind']>(stream: MessageStream, kind: K): Promise<Of<K>> {
  const message = await next(stream);
  if (message.kind !== kind) throw new SyncError('SYNC_BAD_MESSAGE', `expected ${kind}, got ${message.kind}`);
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
    await context.refused(from, message.code, message.revocation, message.log);
    await stream.close();
    return undefined;
  }
  if (message.kind !== kind) throw new SyncError('SYNC_BAD_MESSAGE', `expected ${kind}, got ${message.kind}`);
  return message as Of<K>;
}

async function next(stream: MessageStream): Promise<SyncMessage> {
  const bytes = await stream.receive();
  if (bytes === undefined) throw new SyncError('SYNC_BAD_MESSAGE', 'the peer ended the session early');
  return decodeSyncMessage(bytes);
}

/**
 * `/kelmesh/1/log`: a member asks another for the log of an AID.
 *
 * ```
 * asks     (AID, first sequence number)  →
 *                                        ←  page  (CESR, at least one event; empty: that is all)
 * ```
 * repeated on one stream. Only members ask, and only logs of the mesh and watched ones are given.
 */
import { parseStream } from '#kel/cesr/stream';
import { type Aid, parseAid } from '#kel/identifiers';
import type { KelStore } from '#kel/store/kel-store';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { Clock } from '#src/clock';
import { Conversation, type Manners, serveConversations } from '../../network/conversation.ts';
import type { Network, PeerKey, ProtocolId, ProtocolLimits } from '../../network/network.ts';
import { SyncError } from '../sync/errors.ts';
import { syncFailure } from '../sync/failure.ts';

const protocol = '/kelmesh/1/log' as ProtocolId;
const limits: ProtocolLimits = { maxMessage: 512 * 1024, maxStreams: 2 };
/** At the end that is asked. */
const requestLimits: ProtocolLimits = { ...limits, maxReceived: 1_024 };

const PAGE_BYTES = 256 * 1024;
/** Pages of one stream. */
const MAX_PAGES = 64;
const PAGE_MS = 10_000;

const manners: Manners = {
  protocol,
  limits,
  messageMs: PAGE_MS,
  wholeMs: MAX_PAGES * PAGE_MS,
  failure: syncFailure,
};

export interface LogServiceDeps {
  readonly network: Network;
  readonly kel: Pick<KelStore, 'export'>;
  readonly clock: Clock;
  /** Whether `peer` may have the log of `aid`. */
  readonly mayHave: (peer: PeerKey, aid: Aid) => boolean;
}

/** Answers members. */
export function serveLogs({ network, kel, clock, mayHave }: LogServiceDeps): void {
  const asked = { ...manners, limits: requestLimits };
  serveConversations({ network, clock }, asked, async (conversation) => {
    for (let pages = 0; pages < MAX_PAGES; pages++) {
      const bytes = await conversation.next();
      if (bytes === undefined) break;
      const { aid, from } = decodeRequest(bytes);
      const page = mayHave(conversation.stream.peer, aid)
        ? await kel.export(aid, from, PAGE_BYTES)
        : new Uint8Array(0);
      await conversation.send(page.length > limits.maxMessage ? new Uint8Array(0) : page);
    }
  });
}

/**
 * @returns the log from `from` as far as `peer` gives it, in pages; whoever stops to read them ends the stream
 * @throws SYNC_BAD_MESSAGE, SYNC_TIMEOUT, NETWORK_…
 */
export async function* askLog(
  { network, clock }: Pick<LogServiceDeps, 'network' | 'clock'>,
  peer: PeerKey,
  aid: Aid,
  from: number,
): AsyncGenerator<Uint8Array> {
  const stream = await network.open(peer, protocol, limits);
  const conversation = new Conversation(stream, clock, manners, peer);
  let failure = new SyncError('SYNC_BAD_MESSAGE', 'nobody reads the log any more');
  let isWhole = false;
  try {
    for (let pages = 0, sn = from; pages < MAX_PAGES; pages++) {
      await conversation.send(encodeCbor([aid, sn]));
      const page = await conversation.next();
      if (page === undefined || page.length === 0) break;
      yield page;
      sn += eventsIn(page);
    }
    await stream.close();
    isWhole = true;
  } catch (error) {
    failure = error as SyncError;
    throw error;
  } finally {
    // A consumer that breaks off or throws comes here, and into no `catch`.
    if (!isWhole) stream.abort(failure);
  }
}

function eventsIn(page: Uint8Array): number {
  let events = 0;
  for (const item of parseStream(page)) if (item.type === 'message') events += 1;
  if (events === 0) throw new SyncError('SYNC_BAD_MESSAGE', 'a page without an event');
  return events;
}

function decodeRequest(bytes: Uint8Array): { aid: Aid; from: number } {
  try {
    const value: CborValue = decodeCbor(bytes);
    const [aid, from, ...others] = Array.isArray(value) ? value : [];
    if (others.length === 0 && typeof from === 'number' && Number.isSafeInteger(from) && from >= 0)
      return { aid: parseAid(aid), from };
  } catch (cause) {
    throw new SyncError('SYNC_BAD_MESSAGE', 'the request is not well formed', { cause });
  }
  throw new SyncError('SYNC_BAD_MESSAGE', 'expected an AID and a sequence number');
}

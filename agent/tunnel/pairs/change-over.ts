/**
 * One tunnel moves from one view to the next without losing a packet (DESIGN section 6, static key epoch).
 *
 * ```
 * leading end (its key is new)             following end
 * stages the view on a device where it
 * has nothing else of the pair
 * prepare(view, agreement, UDP port)   →   stages it likewise
 *                                      ←   prepared(UDP port)
 * one of the two starts the handshake, as both have said
 * sees it, routes to the new device        sees it, routes to the new device
 * flipped                              →
 *                                      ←   flipped
 * the former device drains                 the former device drains
 * ```
 * Both devices take packets all the time, so it does not matter which end flips first, or how much later the other one does:
 * no packet waits, and an end that is killed at any point leaves two generations that both work. What is said here tells the
 * ends where the other's device is, and when the former one has no use any more; packets need none of it.
 */
import { parseSaid, type Said } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import type { Clock } from '#src/clock';
import { type Conversation, failuresAs, hold } from '../../network/conversation.ts';
import { decodeList, reading } from '../../network/exchange.ts';
import type { MessageStream, ProtocolId, ProtocolLimits } from '../../network/network.ts';
import { TunnelError } from './errors.ts';

export const changeOverProtocol = '/kelmesh/1/tunnel' as ProtocolId;
export const changeOverLimits: ProtocolLimits = { maxMessage: 1_024, maxStreams: 2 };

/** Each answer of the other end. */
const ANSWER_MS = 10_000;
/** A first handshake and two retries (REKEY_TIMEOUT is 5 s). */
export const HANDSHAKE_MS = 16_000;
const MAX_PORT = 65_535;

/** Longer than all that each end does between two messages. */
const WHOLE_MS = 120_000;

const tunnelFailure = failuresAs(
  {
    unreachable: 'TUNNEL_REFUSED',
    silent: 'TUNNEL_REFUSED',
    ended: 'TUNNEL_REFUSED',
    refused: 'TUNNEL_REFUSED',
    malformed: 'TUNNEL_BAD_MESSAGE',
  },
  (...failure) => new TunnelError(...failure),
);

const manners = { messageMs: ANSWER_MS, wholeMs: WHOLE_MS, failure: tunnelFailure };

/** Named from the leading end's side. */
export interface Prepare {
  readonly leading: Said;
  readonly following: Said;
  /** Agreement id, 32 bytes: both ends must mean the same one. */
  readonly th: Uint8Array;
  /** UDP port of the leading end's device. */
  readonly port: number;
  /** The leading end starts the handshake; else the other one does. */
  readonly begins: boolean;
}

interface Steps {
  /** Resolves when the own device has shaken hands on the view and the route points to it. Throws TUNNEL_NO_HANDSHAKE. */
  flip(): Promise<void>;
  /** The other end has flipped too. */
  confirmed(): Promise<void>;
}

/** Where the following end has staged the view. */
export interface Prepared {
  /** UDP port of its device. */
  readonly port: number;
  /** It starts the handshake: as the leading end wants, unless it flipped to this view before, with a role that stays. */
  readonly begins: boolean;
}

export interface LeadingSteps extends Steps {
  prepared(prepared: Prepared): Promise<void>;
}

export interface FollowingSteps extends Steps {
  /** Throws TUNNEL_REFUSED when view or agreement is not the own one, TUNNEL_BUSY. */
  stage(prepare: Prepare): Promise<Prepared>;
}

/** Ends the stream in either case. */
export function runLeading(
  stream: MessageStream,
  clock: Clock,
  { leading, following, th, port, begins }: Prepare,
  steps: LeadingSteps,
): Promise<void> {
  return hold(stream, { clock }, manners, async (conversation) => {
    await conversation.send(encodeCbor(['prepare', leading, following, th, port, begins]));
    const [, otherPort, otherBegins] = await expect(conversation, 'prepared', 3);
    await steps.prepared({ port: portOf(otherPort), begins: booleanOf(otherBegins) });
    await steps.flip();
    await conversation.send(encodeCbor(['flipped']));
    await expect(conversation, 'flipped', 1, HANDSHAKE_MS + ANSWER_MS);
    await steps.confirmed();
  });
}

/** Ends the stream in either case. */
export function runFollowing(
  stream: MessageStream,
  clock: Clock,
  steps: FollowingSteps,
): Promise<void> {
  return hold(stream, { clock }, manners, async (conversation) => {
    const prepare = prepareOf(await expect(conversation, 'prepare', 6));
    let prepared: Prepared;
    try {
      prepared = await steps.stage(prepare);
    } catch (error) {
      const { code = 'TUNNEL_REFUSED' } = error as { code?: string };
      await conversation.send(encodeCbor(['refused', code]));
      await stream.close();
      throw error;
    }
    await conversation.send(encodeCbor(['prepared', prepared.port, prepared.begins]));
    await steps.flip();
    await expect(conversation, 'flipped', 1, HANDSHAKE_MS + ANSWER_MS);
    await steps.confirmed();
    await conversation.send(encodeCbor(['flipped']));
  });
}

function prepareOf([, leading, following, th, port, begins]: readonly CborValue[]): Prepare {
  if (
    typeof leading !== 'string' ||
    typeof following !== 'string' ||
    !(th instanceof Uint8Array) ||
    th.length !== 32
  ) {
    throw new TunnelError(
      'TUNNEL_BAD_MESSAGE',
      'expected prepare with two records and an agreement id',
    );
  }
  return {
    ...reading(
      () => ({ leading: parseSaid(leading), following: parseSaid(following) }),
      tunnelFailure,
    ),
    th,
    port: portOf(port),
    begins: booleanOf(begins),
  };
}

function portOf(value: CborValue | undefined): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_PORT)
    return value;
  throw new TunnelError('TUNNEL_BAD_MESSAGE', `expected a UDP port, 1 to ${MAX_PORT}`);
}

function booleanOf(value: CborValue | undefined): boolean {
  if (typeof value === 'boolean') return value;
  throw new TunnelError('TUNNEL_BAD_MESSAGE', 'expected whether the sender begins');
}

/** A message of `count` fields, `kind` the first. */
async function expect(
  conversation: Conversation,
  kind: string,
  count: number,
  withinMs?: number,
): Promise<readonly CborValue[]> {
  const fields = decodeList(await conversation.receive(withinMs), tunnelFailure);
  if (fields[0] === 'refused' && fields.length === 2 && typeof fields[1] === 'string')
    throw new TunnelError('TUNNEL_REFUSED', `the peer refused: ${fields[1].slice(0, 64)}`, {
      fields: { refusal: /^[A-Z_]{1,64}$/.exec(fields[1])?.[0] },
    });
  if (fields[0] === kind && fields.length === count) return fields;
  throw new TunnelError(
    'TUNNEL_BAD_MESSAGE',
    `expected ${kind}, got ${String(fields[0]).slice(0, 16)}`,
  );
}

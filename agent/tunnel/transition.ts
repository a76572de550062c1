/**
 * One tunnel moves from one view to the next without losing a packet (DESIGN section 6, hold and flip).
 *
 * ```
 * parking end (its key is new)            moving end
 * prepare(view, agreement)           →    stages the new key, without the prefix
 *                                    ←    prepared
 * ping, four times                   →
 *                                    ←    pong
 * routes the peer to its new device,
 * where packets wait for a session
 * parked, or knocking                →    moves the prefix to the new key and starts the handshake
 *                                    ←    moved
 * sees the handshake
 * confirmed                          →    retires the former key
 *                                    ←    done
 * ```
 * Only one end starts the handshake: two that start at once cost five seconds. The moving end does where the way is short.
 * Packets wait two round trips then, which is too long where the way is long: there the parking end `knocks`, it starts the
 * handshake as it parks, and the prefix has moved by the time that the first packet arrives. What goes wrong before `parked`
 * changes nothing; without a handshake the parking end routes back to the former device.
 */
import { parseSaid, type Said } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import type { MessageStream, ProtocolId, ProtocolLimits } from '../network/network.ts';
import { TunnelError } from './errors.ts';

export const transitionProtocol = '/kelmesh/1/tunnel' as ProtocolId;
export const transitionLimits: ProtocolLimits = { maxMessage: 1_024, maxStreams: 2 };

/** Each answer of the other end, and the handshake. */
const ANSWER_MS = 10_000;
export const HANDSHAKE_MS = 15_000;
/**
 * Time that packets sent on the former device just before `parked` have to arrive before the prefix moves. Short:
 * the message took the same path, and packets wait meanwhile.
 */
const SETTLE_MS = 15;

/** A handshake that was begun before the other end went silent arrives within this. */
const GRACE_MS = 250;

/**
 * From this round-trip time on the parking end starts the handshake: its packets arrive no earlier than a round trip after
 * `knocking`, and the other end needs about half of this to move the prefix.
 */
const LONG_WAY_MS = 40;
const MIN_TRAFFIC_MS = 100;
const PINGS = 4;
const MAX_SPREAD = 1.5;

/** Named from the parking end's side. */
export interface Prepare {
  readonly parking: Said;
  readonly moving: Said;
  /** Agreement id, 32 bytes: both ends must mean the same one. */
  readonly th: Uint8Array;
}

export interface ParkingSteps {
  /** Whether this end may start the handshake. */
  readonly mayKnock: boolean;
  park(knocks: boolean): Promise<void>;
  /**
   * The other end does not speak any more after this one has knocked: resolves when packets from it on the new key show that
   * it has moved, rejects with TUNNEL_NO_HANDSHAKE when there are none by `withinMs`.
   */
  traffic(withinMs: number): Promise<void>;
  /**
   * Resolves when the new device has seen a handshake; rejects with TUNNEL_NO_HANDSHAKE, soon when `isOver`: the other end
   * does not speak any more, and has moved by now or not at all.
   */
  handshake(isOver: () => boolean): Promise<void>;
  activate(): Promise<void>;
  unpark(): Promise<void>;
}

export interface MovingSteps {
  /** Throws TUNNEL_REFUSED when view or agreement is not the own one. */
  stage(prepare: Prepare): Promise<void>;
  /** Moves the prefix when `arrived` has resolved, and as fast as it can then: packets wait. */
  move(arrived: Promise<void>, knocks: boolean): Promise<void>;
  settle(): Promise<void>;
}

export async function runParking(
  stream: MessageStream,
  clock: Clock,
  prepare: Prepare,
  steps: ParkingSteps,
): Promise<void> {
  await stream.send(encodeCbor(['prepare', prepare.parking, prepare.moving, prepare.th]));
  await expect(stream, clock, 'prepared');
  const roundTripMs = await measure(stream, clock);
  const knocks = steps.mayKnock && roundTripMs >= LONG_WAY_MS;
  try {
    await steps.park(knocks);
    await stream.send(encodeCbor([knocks ? 'knocking' : 'parked']));
    if (knocks)
      await expect(stream, clock, 'moved').catch(() =>
        steps.traffic(Math.max(MIN_TRAFFIC_MS, 1.5 * roundTripMs)),
      );
    // The other end's word is not needed: the handshake itself says that it moved.
    const other = { isGone: false };
    const moved = knocks
      ? undefined
      : expect(stream, clock, 'moved').catch(async () => {
          await clock.sleep(GRACE_MS);
          other.isGone = true;
        });
    await steps.handshake(() => other.isGone);
    await moved;
  } catch (error) {
    await steps.unpark();
    throw error;
  }
  await steps.activate();
  await stream.send(encodeCbor(['confirmed']));
  await expect(stream, clock, 'done');
  await stream.close();
}

export async function runMoving(
  stream: MessageStream,
  clock: Clock,
  steps: MovingSteps,
): Promise<void> {
  const prepare = decodePrepare(await receive(stream, clock));
  try {
    await steps.stage(prepare);
  } catch (error) {
    await stream.send(
      encodeCbor(['refused', (error as { code?: string }).code ?? 'TUNNEL_REFUSED']),
    );
    await stream.close();
    throw error;
  }
  await stream.send(encodeCbor(['prepared']));
  for (let i = 0; i < PINGS; i++) {
    await expect(stream, clock, 'ping');
    await stream.send(encodeCbor(['pong']));
  }
  const parked = await expect(stream, clock, 'parked', ANSWER_MS, 'knocking');
  await steps.move(clock.sleep(SETTLE_MS), parked === 'knocking');
  await stream.send(encodeCbor(['moved']));
  await expect(stream, clock, 'confirmed', HANDSHAKE_MS + ANSWER_MS);
  await steps.settle();
  await stream.send(encodeCbor(['done']));
  await stream.close();
}

/** The way of the packets in ms; 0 when the times differ so much that they say more of the machines than of the way. */
async function measure(stream: MessageStream, clock: Clock): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < PINGS; i++) {
    const asked = clock.now();
    await stream.send(encodeCbor(['ping']));
    await expect(stream, clock, 'pong');
    times.push(clock.now() - asked);
  }
  const shortest = Math.min(...times);
  return Math.max(...times) <= MAX_SPREAD * shortest ? shortest : 0;
}

function decodePrepare(fields: readonly CborValue[]): Prepare {
  const [kind, parking, moving, th] = fields;
  if (
    kind !== 'prepare' ||
    fields.length !== 4 ||
    typeof parking !== 'string' ||
    typeof moving !== 'string' ||
    !(th instanceof Uint8Array) ||
    th.length !== 32
  ) {
    throw new TunnelError(
      'TUNNEL_BAD_MESSAGE',
      'expected prepare with two records and an agreement id',
    );
  }
  return readOrRefuse(() => ({ parking: parseSaid(parking), moving: parseSaid(moving), th }));
}

function readOrRefuse<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new TunnelError('TUNNEL_BAD_MESSAGE', 'the message is not well formed', { cause });
  }
}

async function expect(
  stream: MessageStream,
  clock: Clock,
  kind: string,
  withinMs = ANSWER_MS,
  alternative = kind,
): Promise<string> {
  const fields = await receive(stream, clock, withinMs);
  if (fields[0] === 'refused' && fields.length === 2 && typeof fields[1] === 'string')
    throw new TunnelError('TUNNEL_REFUSED', `the peer refused: ${fields[1].slice(0, 64)}`);
  const [word] = fields;
  if ((word === kind || word === alternative) && fields.length === 1) return word;
  throw new TunnelError('TUNNEL_BAD_MESSAGE', `expected ${kind}, got ${String(word).slice(0, 16)}`);
}

async function receive(
  stream: MessageStream,
  clock: Clock,
  withinMs = ANSWER_MS,
): Promise<readonly CborValue[]> {
  const bytes = await withDeadline(clock, withinMs, stream.receive(), () => {
    throw new TunnelError('TUNNEL_REFUSED', `no answer within ${withinMs} ms`);
  });
  if (bytes === undefined) throw new TunnelError('TUNNEL_REFUSED', 'the peer ended the exchange');
  const value = readOrRefuse(() => decodeCbor(bytes));
  if (!Array.isArray(value)) throw new TunnelError('TUNNEL_BAD_MESSAGE', 'expected a list');
  return value;
}

/**
 * The messages of `/kelmesh/1/sync`: CBOR maps, bounded, strict, one form per content.
 *
 * ```
 * opener                       responder
 * hello  (AID, log head)   →
 *                          ←   hello  (AID, log head, from which sn it wants the opener's log)
 * prove  (log, end record) →
 *                          ←   prove  (log, end record)            or refuse
 * have   (heads, records)  →                                       or refuse
 *                          ←   have   (heads, records)
 * give*  (logs, records)   →
 *                          ←   give*  (logs, records)
 * ```
 * `prove` binds the stream's libp2p peer to the AID: the `end` record names the peer and is signed with
 * the keys of the log. Nothing that only members may see is sent before both ends are members.
 */
import { type Aid, parseAid, parseSaid, type Said } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { ProtocolId, ProtocolLimits } from '../../network/network.ts';
import { SyncError } from './errors.ts';

export const syncProtocol = '/kelmesh/1/sync' as ProtocolId;
export const syncLimits: ProtocolLimits = {
  maxMessage: 1 << 20,
  // A newcomer's log and those of its delegators, in the first page of each.
  maxFromStranger: 528 * 1024,
  maxStreams: 4,
};

/**
 * Entries of a `have`: together they stay below the frame limit. What a sender leaves out is given to it once
 * more, which costs bytes and changes nothing.
 */
export const MAX_HEADS = 4_608;
export const MAX_RECORDS = 10_240;
/** Payload of one `give`, in bytes, well below the frame limit. */
export const GIVE_BYTES = 512 * 1024;

export interface LogHead {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
}

export interface Hello {
  readonly kind: 'hello';
  readonly head: LogHead;
  /** Mesh that the sender follows, empty when it has none yet. */
  readonly mesh: string;
  /** Milliseconds since the Unix epoch on the sender's clock: shown, never trusted. */
  readonly clock: number;
  /** First sequence number of the other's log that the sender lacks; 0 in the opener's hello. */
  readonly want: number;
}

export interface Prove {
  readonly kind: 'prove';
  readonly log: Uint8Array;
  readonly endpoints: Uint8Array;
  readonly want: number;
}

export interface Have {
  readonly kind: 'have';
  readonly heads: readonly LogHead[];
  readonly records: readonly Said[];
}

export interface Give {
  readonly kind: 'give';
  readonly logs: readonly Uint8Array[];
  readonly records: readonly Uint8Array[];
  readonly more: boolean;
}

export interface Refuse {
  readonly kind: 'refuse';
  readonly code: string;
  /** The sealed `rvk` record that removed the other end, when there is one: it may see why. */
  readonly revocation: Uint8Array;
  /** The log that seals the revocation, from the sequence number that the other end lacks. */
  readonly log: Uint8Array;
}

export type SyncMessage = Hello | Prove | Have | Give | Refuse;

export function encodeSyncMessage(message: SyncMessage): Uint8Array {
  switch (message.kind) {
    case 'hello':
      return encodeCbor([
        'hello',
        headFields(message.head),
        message.mesh,
        message.clock,
        message.want,
      ]);
    case 'prove':
      return encodeCbor(['prove', message.log, message.endpoints, message.want]);
    case 'have':
      return encodeCbor(['have', message.heads.map(headFields), [...message.records]]);
    case 'give':
      return encodeCbor(['give', [...message.logs], [...message.records], message.more]);
    case 'refuse':
      return encodeCbor(['refuse', message.code, message.revocation, message.log]);
  }
}

const headFields = (head: LogHead): CborValue => [head.aid, head.sn, head.said];

/** Throws SYNC_BAD_MESSAGE. */
export function decodeSyncMessage(bytes: Uint8Array): SyncMessage {
  try {
    return decode(decodeCbor(bytes));
  } catch (error) {
    if (error instanceof SyncError) throw error;
    throw new SyncError('SYNC_BAD_MESSAGE', 'the message is not well formed', { cause: error });
  }
}

function decode(value: CborValue): SyncMessage {
  const fields = list(value, 5);
  const kind = fields[0];
  switch (kind) {
    case 'hello':
      exactly(fields, 5);
      return {
        kind,
        head: decodeHead(fields[1]),
        mesh: text(fields[2], 44),
        clock: integer(fields[3]),
        want: integer(fields[4]),
      };
    case 'prove':
      exactly(fields, 4);
      return {
        kind,
        log: bytesOf(fields[1]),
        endpoints: bytesOf(fields[2]),
        want: integer(fields[3]),
      };
    case 'have':
      exactly(fields, 3);
      return {
        kind,
        heads: list(fields[1], MAX_HEADS).map(decodeHead),
        records: list(fields[2], MAX_RECORDS).map((said) => parseSaid(text(said, 44))),
      };
    case 'give':
      exactly(fields, 4);
      return {
        kind,
        logs: list(fields[1], MAX_HEADS).map(bytesOf),
        records: list(fields[2], MAX_RECORDS).map(bytesOf),
        more: boolean(fields[3]),
      };
    case 'refuse':
      exactly(fields, 4);
      return {
        kind,
        code: text(fields[1], 64),
        revocation: bytesOf(fields[2]),
        log: bytesOf(fields[3]),
      };
    default:
      throw new SyncError(
        'SYNC_BAD_MESSAGE',
        `unknown message ${typeof kind === 'string' ? kind.slice(0, 16) : typeof kind}`,
      );
  }
}

function decodeHead(value: CborValue | undefined): LogHead {
  const fields = list(value, 3);
  exactly(fields, 3);
  return {
    aid: parseAid(text(fields[0], 48)),
    sn: integer(fields[1]),
    said: parseSaid(text(fields[2], 44)),
  };
}

function exactly(fields: readonly CborValue[], count: number): void {
  if (fields.length !== count)
    throw new SyncError('SYNC_BAD_MESSAGE', `expected ${count} fields, got ${fields.length}`);
}

function list(value: CborValue | undefined, max: number): readonly CborValue[] {
  if (!Array.isArray(value) || value.length > max)
    throw new SyncError('SYNC_BAD_MESSAGE', `expected a list of at most ${max}`);
  return value;
}

function text(value: CborValue | undefined, max: number): string {
  if (typeof value !== 'string' || value.length > max)
    throw new SyncError('SYNC_BAD_MESSAGE', `expected a text of at most ${max}`);
  return value;
}

function integer(value: CborValue | undefined): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new SyncError('SYNC_BAD_MESSAGE', 'expected a whole number');
  return value;
}

function boolean(value: CborValue | undefined): boolean {
  if (typeof value !== 'boolean') throw new SyncError('SYNC_BAD_MESSAGE', 'expected true or false');
  return value;
}

function bytesOf(value: CborValue | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new SyncError('SYNC_BAD_MESSAGE', 'expected bytes');
  return value;
}

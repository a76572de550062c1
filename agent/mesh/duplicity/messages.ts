/**
 * The messages of `/kelmesh/1/evidence`: CBOR lists, bounded, strict.
 *
 * ```
 * opener                          responder
 * have  (forks it knows)      →
 *                             ←   have  (forks it knows)
 * give* (evidence files)      →
 *                             ←   give* (evidence files)
 * ```
 * Members that have proven their AIDs to each other exchange; an opener that is none here gives, and gets nothing. A file proves
 * itself and names its AID.
 */
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { ProtocolId, ProtocolLimits } from '../../network/network.ts';
import { SyncError } from '../sync/errors.ts';

export const evidenceProtocol = '/kelmesh/1/evidence' as ProtocolId;
/** Bytes of a file that is taken from one that is no member here: it proves itself, so it is heard. */
export const MAX_OUTSIDER_FILE = 256 * 1024;

export const evidenceLimits: ProtocolLimits = {
  maxMessage: 1 << 20,
  maxFromStranger: MAX_OUTSIDER_FILE + 1_024,
  maxStreams: 2,
};

/** Forks named in a `have`. */
export const MAX_FORKS = 4_096;
/** Bytes of a file that is sent. */
export const MAX_GIVEN_BYTES = 512 * 1024;
/** AID, sequence number and two SAIDs. */
const MAX_FORK_ID = 160;

export type EvidenceMessage =
  | { readonly kind: 'have'; readonly forks: readonly string[] }
  /** Empty: there is no more. */
  | { readonly kind: 'give'; readonly file: Uint8Array };

export function encodeEvidenceMessage(message: EvidenceMessage): Uint8Array {
  return encodeCbor(
    message.kind === 'have' ? ['have', [...message.forks]] : ['give', message.file],
  );
}

/** @throws SYNC_BAD_MESSAGE */
export function decodeEvidenceMessage(bytes: Uint8Array): EvidenceMessage {
  const [kind, content, ...others] = listOf(bytes);
  if (others.length === 0 && kind === 'have' && isForks(content)) return { kind, forks: content };
  if (others.length === 0 && kind === 'give' && content instanceof Uint8Array)
    return { kind, file: content };
  throw new SyncError('SYNC_BAD_MESSAGE', 'expected have or give of evidence');
}

function listOf(bytes: Uint8Array): readonly CborValue[] {
  try {
    const value = decodeCbor(bytes);
    if (Array.isArray(value)) return value;
  } catch (cause) {
    throw new SyncError('SYNC_BAD_MESSAGE', 'the message is not well formed', { cause });
  }
  throw new SyncError('SYNC_BAD_MESSAGE', 'expected a list');
}

function isForks(value: CborValue | undefined): value is readonly string[] {
  return (
    Array.isArray(value) &&
    value.length <= MAX_FORKS &&
    value.every((item) => typeof item === 'string' && item.length <= MAX_FORK_ID)
  );
}

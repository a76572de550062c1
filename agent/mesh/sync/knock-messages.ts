/**
 * The messages of `/kelmesh/1/knock`: CBOR lists, bounded, strict.
 *
 * ```
 * newcomer → whoever refused it as a stranger     name  (what it would like to be called)
 * member   → governor                             pass  (name, the stranger's log and end record)
 *                                             ←   heard (whether it governs, whether it passed the knock on)
 * ```
 * A peer of version 0.1 does not know the protocol: it keeps the knock without a name.
 */
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { ProtocolId, ProtocolLimits } from '../../network/network.ts';
import { SyncError } from './errors.ts';
import { MAX_STRANGER_LOG } from './knocks.ts';

export const knockProtocol = '/kelmesh/1/knock' as ProtocolId;
/** Of an `end` record, in bytes. */
const MAX_ENDPOINTS = 64 * 1024;
const MAX_NAME = 63;
export const knockLimits: ProtocolLimits = {
  maxMessage: MAX_STRANGER_LOG + MAX_ENDPOINTS + 1_024,
  maxStreams: 2,
};

export type KnockMessage =
  /** Empty: the newcomer proposes none. */
  | { readonly kind: 'name'; readonly name: string }
  | {
      readonly kind: 'pass';
      readonly name: string;
      readonly log: Uint8Array;
      readonly endpoints: Uint8Array;
    }
  | { readonly kind: 'heard'; readonly governs: boolean; readonly isPassedOn: boolean };

export function encodeKnockMessage(message: KnockMessage): Uint8Array {
  switch (message.kind) {
    case 'name':
      return encodeCbor(['name', message.name]);
    case 'pass':
      return encodeCbor(['pass', message.name, message.log, message.endpoints]);
    case 'heard':
      return encodeCbor(['heard', message.governs, message.isPassedOn]);
  }
}

/** Throws SYNC_BAD_MESSAGE. @param bytes attacker-controlled */
export function decodeKnockMessage(bytes: Uint8Array): KnockMessage {
  let fields: CborValue;
  try {
    fields = decodeCbor(bytes);
  } catch (cause) {
    throw new SyncError('SYNC_BAD_MESSAGE', 'the message is not well formed', { cause });
  }
  const [kind, first, second, third, ...more] = Array.isArray(fields) ? fields : [];
  if (more.length === 0) {
    if (kind === 'name' && isNameOrNone(first) && second === undefined)
      return { kind, name: first };
    if (
      kind === 'pass' &&
      isNameOrNone(first) &&
      second instanceof Uint8Array &&
      second.length <= MAX_STRANGER_LOG &&
      third instanceof Uint8Array &&
      third.length <= MAX_ENDPOINTS
    )
      return { kind, name: first, log: second, endpoints: third };
    if (
      kind === 'heard' &&
      typeof first === 'boolean' &&
      typeof second === 'boolean' &&
      third === undefined
    )
      return { kind, governs: first, isPassedOn: second };
  }
  throw new SyncError('SYNC_BAD_MESSAGE', 'expected name, pass or heard with its fields');
}

/** As the charter takes names: nothing in it that a terminal would obey. */
export function isNameOrNone(value: CborValue | undefined): value is string {
  if (value === '') return true;
  return (
    typeof value === 'string' &&
    value.length <= MAX_NAME &&
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(value)
  );
}

/**
 * What a proposal encloses so that its signers can read what they seal: a delegated event that a seal `{i, s, d}`
 * approves, or the body of a record that a seal `{d}` commits to. Found by digest, so it cannot be another.
 */
import { parseBody } from '#kel/cesr/body';
import { verifySaid } from '#kel/cesr/said';
import { parseStream } from '#kel/cesr/stream';
import { sniffVersion } from '#kel/cesr/version';
import { KelError } from '#kel/errors';
import type { InceptionEvent, KeyEvent, RotationEvent } from '#kel/event/key-event';
import { keyEventOf } from '#kel/event/parse';
import { RECORD_PROTOCOL } from '#kel/record/build';
import { decodeRecordBody } from '#kel/record/cbor';
import { RecordError } from '#kel/record/errors';
import type { AnyRecord } from '#kel/record/record';
import {
  isRecordType,
  maxRecordBytes,
  type RecordVersion,
  recordSchemas,
} from '#kel/record/schemas';
import { MeshError } from '#src/errors';
import { malformed } from './fields.ts';

export type Enclosure =
  | { readonly kind: 'event'; readonly event: InceptionEvent | RotationEvent }
  | { readonly kind: 'record'; readonly record: AnyRecord };

/** @param bytes one body, nothing behind it; of any origin. Throws CUSTODY_MALFORMED */
export function parseEnclosure(bytes: Uint8Array): Enclosure {
  try {
    const { protocol, major, kind, size } = sniffVersion(bytes);
    if (size !== bytes.length)
      throw malformed(`enclosure: expected ${size} bytes, got ${bytes.length}`);
    if (protocol !== RECORD_PROTOCOL)
      return { kind: 'event', event: delegated(keyEventOf(parseBody(bytes, 'KERI'), bytes)) };
    if (kind !== 'CBOR') throw malformed(`enclosure: a record in ${kind}`);
    return { kind: 'record', record: recordOf(bytes, major) };
  } catch (cause) {
    if (!(cause instanceof KelError || cause instanceof RecordError)) throw cause;
    throw malformed(`enclosure: ${cause.message}`);
  }
}

/** The body of the one message in `message`, without its attachments. Throws CUSTODY_MALFORMED */
export function bodyOf(message: Uint8Array): Uint8Array {
  try {
    const { protocol, size } = sniffVersion(message);
    if (protocol === RECORD_PROTOCOL) return new Uint8Array(message.subarray(0, size));
  } catch (cause) {
    if (cause instanceof MeshError) throw malformed(`enclosure: ${cause.message}`);
    throw cause;
  }
  const items = [...parseStream(message)];
  const [item] = items;
  if (items.length !== 1 || item?.type !== 'message')
    throw malformed('enclosure: expected one message');
  return new Uint8Array(item.body);
}

function recordOf(bytes: Uint8Array, version: RecordVersion): AnyRecord {
  const fields = decodeRecordBody(bytes);
  const type = fields.get('t');
  if (!isRecordType(type) || bytes.length > maxRecordBytes(type))
    throw malformed(`enclosure: no record of a known type and size: ${String(type).slice(0, 16)}`);
  const record: AnyRecord = recordSchemas[version][type].parse(fields, '');
  verifySaid(bytes, fields as Parameters<typeof verifySaid>[1]);
  return record;
}

function delegated(event: KeyEvent): InceptionEvent | RotationEvent {
  if (event.type === 'dip' || event.type === 'drt') return event;
  throw malformed(`enclosure: expected a delegated event or a record, got ${event.type}`);
}

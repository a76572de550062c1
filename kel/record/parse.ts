/** Reads record messages: strict, bounded, untrusted until `verifyRecord` has seen them. */
import { verifySaid } from '#kel/cesr/said';
import { sniffVersion, type Version } from '#kel/cesr/version';
import { KelError } from '#kel/errors';
import { parseSignatureGroups, type SignatureGroup } from './attachment.ts';
import { RECORD_PROTOCOL } from './build.ts';
import { decodeRecordBody } from './cbor.ts';
import { isOfLaterVersion, RecordError, type recordErrors } from './errors.ts';
import type { AnyRecord } from './record.ts';
import type { WireMap } from './schema.ts';
import {
  isRecordType,
  MAX_CHARTER_BYTES,
  maxRecordBytes,
  type RecordVersion,
  recordSchemas,
} from './schemas.ts';

/** A record message that is well formed and has the digest it claims; nobody has vouched for it yet. */
export interface ParsedRecord<T extends AnyRecord = AnyRecord> {
  readonly record: T;
  /** The body: what the signatures are over. */
  readonly bytes: Uint8Array;
  /** One group; of a `tup` that of `a.i`, then that of `b.i`. */
  readonly signers: readonly [SignatureGroup, ...SignatureGroup[]];
}

/**
 * Body and attachments of exactly one record.
 * @param message attacker-controlled
 * @throws RECORD_TOO_LARGE, RECORD_MALFORMED, RECORD_UNKNOWN_TYPE, RECORD_BAD_FIELD, RECORD_UNKNOWN_EXTENSION, RECORD_WRONG_SAID, RECORD_BAD_ATTACHMENT
 */
export function parseRecord(message: Uint8Array): ParsedRecord {
  expectAtMost(MAX_CHARTER_BYTES, message.length);
  const { major, size } = versionOf(message);
  const bytes = new Uint8Array(message.subarray(0, size));
  const fields = rethrown('RECORD_MALFORMED', () => decodeRecordBody(bytes));
  const record = recordOf(major, fields, bytes, message.length);
  rethrown('RECORD_WRONG_SAID', () => verifySaid(bytes, fields as SaidFields));
  return { record, bytes, signers: signersOf(record, message.subarray(bytes.length)) };
}

function recordOf(
  version: RecordVersion,
  fields: WireMap,
  bytes: Uint8Array,
  length: number,
): AnyRecord {
  try {
    const type = fields.get('t');
    if (!isRecordType(type)) {
      throw new RecordError(
        'RECORD_UNKNOWN_TYPE',
        `record type: expected nod, tun, end, chr, log, rvk, ack or tup, got ${String(type).slice(0, 16)}`,
      );
    }
    expectAtMost(maxRecordBytes(type), length);
    return recordSchemas[version][type].parse(fields, '');
  } catch (error) {
    if (!isOfLaterVersion(error)) throw error;
    // Whoever wants to know it again gets the digest of these bytes, and not what they claim to be.
    const said = rethrown('RECORD_WRONG_SAID', () => verifySaid(bytes, fields as SaidFields));
    const { code, message, fields: named } = error as RecordError;
    throw new RecordError(code, message, { fields: { ...named, said } });
  }
}

/** `verifySaid` looks at field `d` alone, and the schema has made sure that this one is text. */
type SaidFields = Parameters<typeof verifySaid>[1];

function versionOf(message: Uint8Array): Version {
  const version: Version = rethrown('RECORD_MALFORMED', () => sniffVersion(message));
  if (version.protocol !== RECORD_PROTOCOL || version.kind !== 'CBOR') {
    throw new RecordError(
      'RECORD_MALFORMED',
      `record: expected protocol ${RECORD_PROTOCOL} and kind CBOR, got ${version.protocol} and ${version.kind}`,
    );
  }
  if (version.size > message.length) {
    throw new RecordError(
      'RECORD_MALFORMED',
      `record: expected ${version.size} bytes as its version string says, got ${message.length}`,
    );
  }
  return version;
}

function signersOf(record: AnyRecord, attachment: Uint8Array): ParsedRecord['signers'] {
  const groups = parseSignatureGroups(attachment);
  const expected = record.t === 'tup' ? 2 : 1;
  const [first, ...others] = groups;
  if (first === undefined || groups.length !== expected) {
    throw new RecordError(
      'RECORD_BAD_ATTACHMENT',
      `record ${record.t}: expected ${expected} signature groups, got ${groups.length}`,
    );
  }
  return [first, ...others];
}

function expectAtMost(max: number, length: number): void {
  if (length > max) {
    throw new RecordError(
      'RECORD_TOO_LARGE',
      `record: expected at most ${max} bytes, got ${length}`,
    );
  }
}

/** The codec below speaks of key events; here it is a record that is wrong. */
function rethrown<T>(code: keyof typeof recordErrors, task: () => T): T {
  try {
    return task();
  } catch (cause) {
    if (!(cause instanceof KelError)) throw cause;
    throw new RecordError(code, `record: ${cause.message}`, { cause });
  }
}

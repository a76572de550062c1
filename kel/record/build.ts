/** Makes records: the body with its SAID, and the message with its signature groups. */
import { blake3Digest } from '#kel/cesr/digest';
import type { IndexedSignatureInput } from '#kel/cesr/indexer';
import { encodeMatter } from '#kel/cesr/matter';
import { SALT_OR_ORDINAL } from '#kel/cesr/matter-codes';
import { formatVersion } from '#kel/cesr/version';
import type { Aid, Said } from '#kel/identifiers';
import { concatBytes, utf8 } from '#src/bytes';
import { encodeSignatureGroups, type SignatureGroup } from './attachment.ts';
import { encodeRecordBody } from './cbor.ts';
import { RecordError } from './errors.ts';
import type { Extensions, RecordExtensions } from './extension.ts';
import { type PossessionProver, prove, withRoomForProofs } from './possession.ts';
import type { RecordFields, RecordOf, RecordType } from './record.ts';
import type { FieldSchema, WireMap } from './schema.ts';
import { maxRecordBytes, type RecordVersion, recordSchemas } from './schemas.ts';

/** Protocol code of records in version strings. */
export const RECORD_PROTOCOL = 'KMSH';

/** What makes it a record of version 2. */
export interface Grown<T extends RecordType> {
  readonly extensions?: Extensions<RecordExtensions[T]>;
  /** Of a `tun` record of version 2: its proofs of possession, which then need not stand in `extensions`. */
  readonly prover?: PossessionProver;
}

export interface RecordInput<T extends RecordType> extends Grown<T> {
  /** Whose statement it is; for `tup` the lower AID of the two. */
  readonly aid: Aid;
  /** 16 fresh random bytes. */
  readonly salt: Uint8Array;
  /** Now, in the form of `formatDateTime`. */
  readonly dt: string;
  readonly fields: RecordFields[T];
}

/** @throws RECORD_BAD_FIELD, RECORD_TOO_LARGE */
export function buildRecord<T extends RecordType>(
  type: T,
  { aid, salt, dt, fields, extensions, prover }: RecordInput<T>,
): { readonly bytes: Uint8Array; readonly said: Said } {
  const version: RecordVersion = extensions === undefined ? 1 : 2;
  const schema = recordSchemas[version][type] as FieldSchema<RecordOf<T>>;
  const u = encodeMatter(SALT_OR_ORDINAL, salt);
  const d = '#'.repeat(44) as Said;
  const v = versionOf(version, 0);
  const draft = { v, t: type, d, u, i: aid, dt, ...fields, ...extensions } as RecordOf<T>;
  const whole = schema.wire(draft) as WireMap;
  const roomy = prover === undefined ? whole : withRoomForProofs(whole);
  const size = encodeRecordBody(roomy).length;
  const sized = new Map([...roomy, ['v', versionOf(version, size)]]);
  const wire = new Map(prover === undefined ? sized : prove(sized, prover));
  const said = blake3Digest(encodeRecordBody(wire)) as Said;
  wire.set('d', said);
  schema.parse(wire, '');
  const bytes = encodeRecordBody(wire);
  if (bytes.length > maxRecordBytes(type)) {
    throw new RecordError(
      'RECORD_TOO_LARGE',
      `record ${type}: expected at most ${maxRecordBytes(type)} bytes, got ${bytes.length}`,
    );
  }
  return { bytes, said };
}

/**
 * The record as it goes to a peer.
 * @param bytes of `buildRecord`
 * @param groups one; for `tup` two: that of `a.i`, then that of `b.i`. The signatures are over `bytes`
 */
export function encodeSignedRecord(
  bytes: Uint8Array,
  groups: readonly SignatureGroup<IndexedSignatureInput>[],
): Uint8Array {
  return concatBytes(bytes, utf8(encodeSignatureGroups(groups)));
}

function versionOf(major: RecordVersion, size: number): string {
  return formatVersion({ protocol: RECORD_PROTOCOL, major, kind: 'CBOR', size });
}

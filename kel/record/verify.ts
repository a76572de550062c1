/** From a parsed record to a verified one: the right party has signed, with enough of its keys. */
import type { Aid, Said } from '#kel/identifiers';
import type { EstablishedKeys } from '#kel/key-state/established-keys';
import { type VerifySignature, verifyKeySignatures } from '#kel/state/key-signatures';
import type { KelStore } from '#kel/store/kel-store';
import type { SignatureGroup, Signer } from './attachment.ts';
import { RecordError } from './errors.ts';
import type { ParsedRecord } from './parse.ts';
import { expectPossession } from './possession.ts';
import type { AnyRecord, Verified } from './record.ts';

export interface RecordVerification {
  /** As `KelStore.establishment`: accepted establishment events, current or past. */
  establishment(aid: Aid, sn: number, said: Said): Promise<EstablishedKeys | undefined>;
  readonly verifySignature: VerifySignature;
}

/**
 * Checks that `i` has signed, and for a tunnel proof both ends, under the establishment events that the
 * record names, each to its threshold, each key counted once; and that whoever names a WireGuard key in version 2 holds it. Says
 * nothing about a seal or about time.
 * @throws RECORD_WRONG_SIGNER, RECORD_UNKNOWN_ESTABLISHMENT, RECORD_THRESHOLD_NOT_MET, RECORD_NOT_POSSESSED
 */
export async function verifyRecord<T extends AnyRecord>(
  parsed: ParsedRecord<T>,
  verification: RecordVerification,
): Promise<Verified<T>> {
  for (const [at, group] of parsed.signers.entries()) {
    expectSigner(parsed.record, at, group);
    await expectThreshold(parsed, group, verification);
  }
  // Last: nobody but its issuer makes others compute this.
  if (parsed.record.t === 'tun') expectPossession(parsed.record, parsed.bytes);
  return parsed.record as Verified<T>;
}

/** True when an accepted event of `i` carries the seal `{d}` of the record. */
export async function isSealed(
  kel: Pick<KelStore, 'sealOf'>,
  record: Pick<AnyRecord, 'i' | 'd'>,
): Promise<boolean> {
  return (await kel.sealOf(record.i, record.d)) !== undefined;
}

function expectSigner(record: AnyRecord, at: number, got: Signer): void {
  if (record.t !== 'tup') {
    if (got.aid !== record.i) throw wrongSigner(record, record.i, got.aid);
    return;
  }
  const { i, s, d } = at === 0 ? record.a : record.b;
  if (got.aid !== i || got.sn !== s || got.said !== d) {
    throw wrongSigner(record, `${i} ${s} ${d}`, `${got.aid} ${got.sn} ${got.said}`);
  }
}

async function expectThreshold(
  { record, bytes }: ParsedRecord,
  { aid, sn, said, signatures }: SignatureGroup,
  verification: RecordVerification,
): Promise<void> {
  const established = await verification.establishment(aid, sn, said);
  if (established === undefined) {
    throw new RecordError(
      'RECORD_UNKNOWN_ESTABLISHMENT',
      `record ${record.d}: expected an accepted establishment event of ${aid}, got sn ${sn}, SAID ${said}`,
      { fields: { aid, sn, said } },
    );
  }
  const { keys, signingThreshold } = established;
  const { valid, isSatisfied } = verifyKeySignatures(
    verification.verifySignature,
    keys,
    signingThreshold,
    bytes,
    signatures,
  );
  if (!isSatisfied) {
    throw new RecordError(
      'RECORD_THRESHOLD_NOT_MET',
      `record ${record.d}: expected threshold ${JSON.stringify(signingThreshold)} of ${aid}, got ${valid.length} valid of ${signatures.length} signatures`,
      { fields: { aid, valid: valid.length } },
    );
  }
}

function wrongSigner(record: AnyRecord, expected: string, got: string): RecordError {
  return new RecordError(
    'RECORD_WRONG_SIGNER',
    `record ${record.d}: expected the signature of ${expected}, got that of ${got}`,
    { fields: { expected, got } },
  );
}

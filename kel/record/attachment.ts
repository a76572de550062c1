/**
 * What follows the body of a record: one `-V` frame with one `-F` counter and its signature groups, each
 * AID, sequence number and SAID of the signer's establishment event, and `-A` indexed signatures.
 */
import { BadFrame, Incomplete, readGroup } from '#kel/cesr/attachment-reader';
import { emptyAttachments, type TransferableSignatures } from '#kel/cesr/attachments';
import { encodeCounter } from '#kel/cesr/counter';
import {
  encodeIndexedSignature,
  type IndexedSignature,
  type IndexedSignatureInput,
} from '#kel/cesr/indexer';
import { encodeOrdinal } from '#kel/cesr/number';
import { KelError } from '#kel/errors';
import type { Aid, Said } from '#kel/identifiers';
import { RecordError } from './errors.ts';
import { isAid, isSaid } from './qualified.ts';

/** The establishment event under which a party signs. */
export interface Signer {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
}

export interface SignatureGroup<S = IndexedSignature> extends Signer {
  /** Over the body of the record. */
  readonly signatures: readonly S[];
}

/** Signatures of one group. */
const MAX_SIGNATURES = 64;

/**
 * @param groups in the order of the parties
 * @throws RangeError for a group without signatures or with more than 64
 */
export function encodeSignatureGroups(
  groups: readonly SignatureGroup<IndexedSignatureInput>[],
): string {
  const content = encodeCounter('F', groups.length) + groups.map(encodeGroup).join('');
  return encodeCounter('V', content.length / 4) + content;
}

/**
 * @param bytes attacker-controlled
 * @throws RECORD_BAD_ATTACHMENT unless `bytes` is exactly what {@link encodeSignatureGroups} writes
 */
export function parseSignatureGroups(bytes: Uint8Array): readonly SignatureGroup[] {
  const buffer = Buffer.from(bytes);
  const lists = emptyAttachments();
  try {
    readGroup(buffer, 0, lists);
  } catch (cause) {
    if (cause instanceof Incomplete) throw refused(`at least ${cause.needed} bytes`, bytes.length);
    if (cause instanceof BadFrame || cause instanceof KelError) {
      throw refused('groups that can be read', cause.message, cause);
    }
    throw cause;
  }
  const groups = lists.transferableSignatures.map(toGroup);
  if (encodeSignatureGroups(groups.map(toInput)) !== buffer.toString('latin1')) {
    throw refused('one frame of -F groups in their shortest form', 'another form');
  }
  return groups;
}

function encodeGroup({ aid, sn, said, signatures }: SignatureGroup<IndexedSignatureInput>): string {
  if (signatures.length < 1 || signatures.length > MAX_SIGNATURES) {
    throw new RangeError(`a group has 1 to ${MAX_SIGNATURES} signatures, got ${signatures.length}`);
  }
  const head = aid + encodeOrdinal(sn) + said + encodeCounter('A', signatures.length);
  return head + signatures.map(encodeIndexedSignature).join('');
}

function toGroup({ prefix, sn, said, signatures }: TransferableSignatures): SignatureGroup {
  if (!isAid(prefix)) throw refused('the AID of a signer', prefix);
  if (!isSaid(said)) throw refused('the SAID of an establishment event', said);
  if (signatures.length < 1 || signatures.length > MAX_SIGNATURES) {
    throw refused(`1 to ${MAX_SIGNATURES} signatures`, signatures.length);
  }
  return { aid: prefix, sn, said, signatures };
}

function toInput(group: SignatureGroup): SignatureGroup<IndexedSignatureInput> {
  const signatures = group.signatures.map(({ ondex, ...signature }) =>
    ondex === undefined ? signature : { ...signature, ondex },
  );
  return { ...group, signatures };
}

function refused(expected: string, got: string | number, cause?: unknown): RecordError {
  const message = `signature groups: expected ${expected}, got ${got}`;
  return new RecordError('RECORD_BAD_ATTACHMENT', message, cause === undefined ? {} : { cause });
}

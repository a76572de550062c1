/** Who asks: the query with its signatures, verified under the last establishment event of the signer. */
import { emptyAttachments } from '#kel/cesr/attachments';
import { parseStream } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import { type Aid, isNonTransferable, parseAid } from '#kel/identifiers';
import { type VerifySignature, verifyKeySignatures } from '#kel/state/key-signatures';
import { verifyWitnessSignatures } from '#kel/state/witness-signatures';
import type { KelStore } from '#kel/store/kel-store';
import { parseQuery, type Query } from './query.ts';

export interface SignedQuery {
  readonly query: Query;
  readonly signer: Aid;
}

export interface QueryVerification {
  readonly kel: Pick<KelStore, 'state'>;
  readonly verifySignature: VerifySignature;
}

/**
 * @param message attacker-controlled: one `qry` with one signature group `-H` or one couple `-C`
 * @throws KelError; KEL_BAD_SIGNATURE for a query that nobody or somebody else has signed, KEL_AWAITS_PRIOR without the log of the signer
 */
export function verifyQuery(
  message: Uint8Array,
  { kel, verifySignature }: QueryVerification,
): SignedQuery {
  const [item, ...more] = parseStream(message);
  if (item?.type !== 'message' || more.length > 0) {
    if (item?.type === 'fault') throw new KelError(item.code, item.reason);
    throw new KelError('KEL_BAD_STREAM', 'expected exactly one query');
  }
  const query = parseQuery(item.body);
  const [last] = item.attachments.lastSignatures;
  if (last !== undefined) {
    const signer = parseAid(last.prefix);
    const state = kel.state(signer);
    if (state === undefined)
      throw new KelError('KEL_AWAITS_PRIOR', `the log of ${signer}, who asks, is not held`);
    const { isSatisfied } = verifyKeySignatures(
      verifySignature,
      state.keys,
      state.signingThreshold,
      item.body,
      last.signatures,
    );
    if (!isSatisfied) throw unsigned(`the keys in force of ${signer} have not signed it`);
    return { query, signer };
  }
  const [couple] = item.attachments.receiptCouples;
  if (couple === undefined) throw unsigned('nobody has signed it');
  const signer = parseAid(couple.prefix);
  const attachments = { ...emptyAttachments(), receiptCouples: [couple] };
  if (
    !isNonTransferable(signer) ||
    verifyWitnessSignatures(verifySignature, [signer], item.body, attachments).length === 0
  )
    throw unsigned(`the key of ${signer} has not signed it`);
  return { query, signer };
}

function unsigned(why: string): KelError {
  return new KelError('KEL_BAD_SIGNATURE', `the query counts for nothing: ${why}`);
}

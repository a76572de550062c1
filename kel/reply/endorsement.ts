/** Who has signed a reply: couples of non-transferable AIDs (`-C`), or groups under an establishment event (`-F`). */
import type { Attachments } from '#kel/cesr/attachments';
import { COUNTER_MAX_SMALL, encodeCounter } from '#kel/cesr/counter';
import {
  encodeIndexedSignature,
  type IndexedSignature,
  type IndexedSignatureInput,
} from '#kel/cesr/indexer';
import { encodeMatter, type Matter } from '#kel/cesr/matter';
import { encodeOrdinal } from '#kel/cesr/number';
import { KelError } from '#kel/errors';
import { type Aid, isNonTransferable, parseAid, parseSaid, type Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import { concatBytes, utf8 } from '#src/bytes';

export type Endorsement<S = IndexedSignature> =
  | { readonly aid: Aid; readonly signature: Pick<Matter, 'code' | 'raw'> }
  | {
      readonly aid: Aid;
      readonly establishment: EventReference;
      readonly signatures: readonly S[];
    };

/** Endorsements of one message, and signatures of one endorsement. */
const MAX_ENDORSEMENTS = 64;

/** @throws KEL_BAD_IDENTIFIER, KEL_LIMIT */
export function endorsementsOf({
  receiptCouples,
  transferableSignatures,
}: Attachments): readonly Endorsement[] {
  const all: Endorsement[] = [];
  for (const { prefix, signature } of receiptCouples) {
    const aid = parseAid(prefix);
    if (isNonTransferable(aid)) all.push({ aid, signature });
  }
  for (const { prefix, sn, said, signatures } of transferableSignatures) {
    const aid = parseAid(prefix);
    const establishment = { sn, said: parseSaid(said) as Said };
    if (!isNonTransferable(aid)) all.push({ aid, establishment, signatures });
  }
  const most = all.reduce(
    (most, one) => Math.max(most, 'signatures' in one ? one.signatures.length : 1),
    all.length,
  );
  if (most > MAX_ENDORSEMENTS)
    throw new KelError('KEL_LIMIT', `${most} signatures are above ${MAX_ENDORSEMENTS}`);
  return all;
}

/** The reply as it goes to others: body, and the endorsement in a `-V` frame. */
export function encodeEndorsed(
  body: Uint8Array,
  endorsement: Endorsement<IndexedSignature | IndexedSignatureInput>,
): Uint8Array {
  const group = encodeGroup(endorsement);
  const quadlets = group.length / 4;
  const frame = quadlets > COUNTER_MAX_SMALL ? '' : encodeCounter('V', quadlets);
  return concatBytes(body, utf8(frame + group));
}

function encodeGroup(endorsement: Endorsement<IndexedSignature | IndexedSignatureInput>): string {
  if ('signature' in endorsement) {
    const { code, raw } = endorsement.signature;
    return encodeCounter('C', 1) + endorsement.aid + encodeMatter(code, raw);
  }
  const { aid, establishment, signatures } = endorsement;
  return (
    encodeCounter('F', 1) +
    aid +
    encodeOrdinal(establishment.sn) +
    establishment.said +
    encodeCounter('A', signatures.length) +
    signatures.map(encodeSignature).join('')
  );
}

function encodeSignature({
  ondex,
  ...signature
}: IndexedSignature | IndexedSignatureInput): string {
  return encodeIndexedSignature(ondex === undefined ? signature : { ...signature, ondex });
}

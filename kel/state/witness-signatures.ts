/** Witness receipts of an event: indexed signatures, and couples of prefix and signature turned into such. */
import type { Attachments, ReceiptCouple } from '#kel/cesr/attachments';
import type { IndexedSignature } from '#kel/cesr/indexer';
import { ED25519_SIGNATURE, P256_SIGNATURE } from '#kel/cesr/matter-codes';
import type { Aid, VerificationKey } from '#kel/identifiers';
import { algorithmOfKey, type VerifySignature, validSignatures } from './key-signatures.ts';

/** One valid signature per witness, in the order of the list. A non-transferable AID is its own key. */
export function verifyWitnessSignatures(
  verifySignature: VerifySignature,
  witnesses: readonly Aid[],
  bytes: Uint8Array,
  { witnessSignatures, receiptCouples }: Attachments,
): readonly IndexedSignature[] {
  if (witnesses.length === 0) return [];
  const places = new Map(witnesses.map((witness, index) => [witness as string, index]));
  const converted = receiptCouples.flatMap((couple) => indexedByWitness(places, couple));
  const keys = witnesses as readonly string[] as readonly VerificationKey[];
  const byIndex = new Map<number, IndexedSignature>();
  for (const signature of validSignatures(verifySignature, keys, bytes, [
    ...witnessSignatures,
    ...converted,
  ])) {
    if (!byIndex.has(signature.index)) byIndex.set(signature.index, signature);
  }
  return [...byIndex.values()].sort((a, b) => a.index - b.index);
}

function indexedByWitness(
  places: ReadonlyMap<string, number>,
  { prefix, signature }: ReceiptCouple,
): readonly IndexedSignature[] {
  const index = places.get(prefix);
  const algorithm = algorithmOfKey(prefix);
  if (index === undefined || algorithm === undefined) return [];
  if (signature.code !== (algorithm === 'p256' ? P256_SIGNATURE : ED25519_SIGNATURE)) return [];
  const code = algorithm === 'p256' ? (index < 64 ? 'E' : '2E') : index < 64 ? 'A' : '2A';
  return [{ code, algorithm, index, ondex: index, raw: signature.raw }];
}

/**
 * Signatures that are worth keeping with an event. An event that waits keeps no others: noise under the
 * index of a key would stand in the way of that key's signature.
 */
import type { IndexedSignature } from '#kel/cesr/indexer';
import type { KeyEvent, KeyEventMessage } from '#kel/event/key-event';
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { type VerifySignature, validSignatures } from '#kel/state/key-signatures';
import { witnessesAfter as listAfter } from '#kel/state/witness-list';
import { verifyWitnessSignatures } from '#kel/state/witness-signatures';
import type { StoredAttachments } from './stored-message.ts';

/** @param before state that the event follows; undefined for an inception */
export function verifiedAttachments(
  verifySignature: VerifySignature,
  before: KeyState | undefined,
  { event, bytes, attachments }: KeyEventMessage,
): StoredAttachments {
  const keys = event.type === 'ixn' ? (before?.keys ?? []) : event.keys;
  const witnesses = witnessesAfter(before, event);
  return {
    signatures: validSignatures(verifySignature, keys, bytes, attachments.signatures),
    witnessSignatures: verifyWitnessSignatures(verifySignature, witnesses, bytes, attachments),
    receiptCouples: [],
    sealSources: attachments.sealSources.slice(0, 1),
  };
}

/** Both, each signature once per place; the first stays where both have one. */
export function joinAttachments(
  first: StoredAttachments,
  second: StoredAttachments,
): StoredAttachments {
  return {
    signatures: distinct(first.signatures, second.signatures),
    witnessSignatures: distinct(first.witnessSignatures, second.witnessSignatures),
    receiptCouples: [],
    sealSources: [...first.sealSources, ...second.sealSources].slice(0, 1),
  };
}

function distinct(
  first: readonly IndexedSignature[],
  second: readonly IndexedSignature[],
): readonly IndexedSignature[] {
  const places = new Map(first.map((signature) => [placeOf(signature), signature]));
  for (const signature of second) {
    if (!places.has(placeOf(signature))) places.set(placeOf(signature), signature);
  }
  return [...places.values()];
}

function placeOf({ index, ondex }: IndexedSignature): string {
  return `${index} ${ondex}`;
}

/** The witness list that counts for `event`. @param before state that it follows */
export function witnessesAfter(before: KeyState | undefined, event: KeyEvent): readonly Aid[] {
  if ('witnesses' in event) return event.witnesses;
  const witnesses = before?.witnesses ?? [];
  if (event.type === 'ixn') return witnesses;
  return listAfter(witnesses, event);
}

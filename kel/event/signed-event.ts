/** A message as it goes to peers and to disk: body, then all attachments in one `-V` frame. */
import { COUNTER_MAX_SMALL, type CounterCode, encodeCounter } from '#kel/cesr/counter';
import { encodeIndexedSignature, type IndexedSignatureInput } from '#kel/cesr/indexer';
import { encodeOrdinal } from '#kel/cesr/number';
import type { EventReference } from '#kel/key-state/key-state';
import { concatBytes, utf8 } from '#src/bytes';

export interface SignedEventOptions {
  /** Indexed by the witness list of the event's resulting state. */
  readonly witnessSignatures?: readonly IndexedSignatureInput[];
  /** Event of the delegator that seals this one. */
  readonly sealSource?: EventReference;
}

/**
 * @param signatures over `bytes`, 64 bytes each
 * @returns the event followed by its attachments; without the frame when they are too many for one
 */
export function encodeSignedEvent(
  bytes: Uint8Array,
  signatures: readonly IndexedSignatureInput[],
  { witnessSignatures = [], sealSource }: SignedEventOptions = {},
): Uint8Array {
  const groups =
    group('A', signatures.map(encodeIndexedSignature)) +
    group('B', witnessSignatures.map(encodeIndexedSignature)) +
    group('G', sealSource === undefined ? [] : [encodeOrdinal(sealSource.sn) + sealSource.said]);
  return concatBytes(bytes, utf8(frame(groups)));
}

function group(code: CounterCode, items: readonly string[]): string {
  return items.length === 0 ? '' : encodeCounter(code, items.length) + items.join('');
}

/** Other implementations do not read the big frame, so beyond 4,095 quadlets the groups stand bare. */
function frame(groups: string): string {
  const quadlets = groups.length / 4;
  return quadlets > COUNTER_MAX_SMALL ? groups : encodeCounter('V', quadlets) + groups;
}

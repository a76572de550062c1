/** Messages as the store keeps them: the received bytes of the body, and attachments in one order and form. */
import type { Attachments } from '#kel/cesr/attachments';
import { type Body, parseBody } from '#kel/cesr/body';
import { COUNTER_MAX_SMALL, type CounterCode, encodeCounter } from '#kel/cesr/counter';
import { encodeDateTime } from '#kel/cesr/date-time';
import { encodeIndexedSignature, type IndexedSignature } from '#kel/cesr/indexer';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeOrdinal } from '#kel/cesr/number';
import { parseStream } from '#kel/cesr/stream';
import { sniffVersion } from '#kel/cesr/version';
import { KelError } from '#kel/errors';
import type { KeyEventMessage } from '#kel/event/key-event';
import { keyEventOf, type ReceiptedEvent, receiptedEvent } from '#kel/event/parse';
import { concatBytes, utf8 } from '#src/bytes';

/** The attachments that decide over an event; others are left behind. */
export type StoredAttachments = Pick<
  Attachments,
  'signatures' | 'witnessSignatures' | 'receiptCouples' | 'sealSources'
>;

export interface ReceiptMessage {
  readonly receipt: ReceiptedEvent;
  readonly bytes: Uint8Array;
  readonly attachments: Attachments;
}

export type StoreMessage = KeyEventMessage | ReceiptMessage;

/** @throws KelError */
export function toMessage(bytes: Uint8Array, attachments: Attachments): StoreMessage {
  return messageOf(parseBody(bytes, 'KERI'), bytes, attachments);
}

/** As {@link toMessage}, for a body that is parsed already. @throws KelError */
export function messageOf(body: Body, bytes: Uint8Array, attachments: Attachments): StoreMessage {
  return body.fields.get('t') === 'rct'
    ? { receipt: receiptedEvent(body), bytes, attachments }
    : { event: keyEventOf(body, bytes), bytes, attachments };
}

/** Reads what {@link encodeMessage} wrote. @throws KelError when the bytes are not one whole message */
export function decodeMessage(bytes: Uint8Array): StoreMessage {
  const [item, ...others] = parseStream(bytes);
  if (item?.type !== 'message' || others.length > 0) {
    throw new KelError(
      'KEL_BAD_STREAM',
      `expected one message, got ${item?.type === 'fault' ? item.reason : `${others.length + 1}`}`,
    );
  }
  return toMessage(item.body, item.attachments);
}

/** The body of what {@link encodeMessage} wrote: its length stands in its first field. */
export function bodyOf(stored: Uint8Array): Uint8Array {
  return stored.subarray(0, sniffVersion(stored).size);
}

/**
 * Body, then one `-V` frame; bare groups where they do not fit in one, because other implementations do not
 * read the big frame. Signatures stand in the order of index and ondex, so equal sets give equal bytes.
 * @param firstSeen of a replay stream; the store itself keeps such facts beside the message
 */
export function encodeMessage(
  body: Uint8Array,
  attachments: StoredAttachments,
  firstSeen: Attachments['firstSeen'] = [],
): Uint8Array {
  const groups = groupsOf(attachments, firstSeen);
  const quadlets = groups.length / 4;
  const frame = quadlets > COUNTER_MAX_SMALL ? '' : encodeCounter('V', quadlets);
  return concatBytes(body, utf8(frame + groups));
}

/** The same with bare groups, as other software sends an event. */
export function encodeBareMessage(body: Uint8Array, attachments: StoredAttachments): Uint8Array {
  return concatBytes(body, utf8(groupsOf(attachments, [])));
}

function groupsOf(
  { signatures, witnessSignatures, receiptCouples, sealSources }: StoredAttachments,
  firstSeen: Attachments['firstSeen'],
): string {
  return (
    group('A', signaturesInOrder(signatures)) +
    group('B', signaturesInOrder(witnessSignatures)) +
    group(
      'G',
      sealSources.map(({ sn, said }) => encodeOrdinal(sn) + said),
    ) +
    group(
      'C',
      receiptCouples.map(
        ({ prefix, signature: { code, raw } }) => prefix + encodeMatter(code, raw),
      ),
    ) +
    group(
      'E',
      firstSeen.map(({ ordinal, dateTime }) => encodeOrdinal(ordinal) + encodeDateTime(dateTime)),
    )
  );
}

function group(code: CounterCode, items: readonly string[]): string {
  return items.length === 0 ? '' : encodeCounter(code, items.length) + items.join('');
}

function signaturesInOrder(signatures: readonly IndexedSignature[]): readonly string[] {
  return signatures
    .toSorted((a, b) => a.index - b.index || (a.ondex ?? -1) - (b.ondex ?? -1))
    .map(({ ondex, ...signature }) =>
      encodeIndexedSignature(ondex === undefined ? signature : { ...signature, ondex }),
    );
}

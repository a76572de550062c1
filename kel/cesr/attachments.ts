/** Attachments of one message, each group by its meaning. Identifiers are decoded, not yet judged. */
import type { IndexedSignature } from './indexer.ts';
import type { Matter } from './matter.ts';

/** Signature of a non-transferable identifier, which is its own key (`-C`). */
export interface ReceiptCouple {
  readonly prefix: string;
  readonly signature: Matter;
}

/** An event named by its log position (`-G`). */
export interface SealSourceCouple {
  readonly sn: number;
  readonly said: string;
}

/** The same with its AID (`-I`). */
export interface SealSourceTriple extends SealSourceCouple {
  readonly prefix: string;
}

/** Signature under one key of an establishment event (`-D`). */
export interface TransferableReceipt extends SealSourceTriple {
  readonly signature: IndexedSignature;
}

/** Signatures under the keys of an establishment event (`-F`): AID, sequence number and SAID of that event. */
export interface TransferableSignatures extends SealSourceTriple {
  readonly signatures: readonly IndexedSignature[];
}

/** Signatures under the last establishment event of an AID (`-H`). */
export interface LastSignatures {
  readonly prefix: string;
  readonly signatures: readonly IndexedSignature[];
}

/** Where the sender saw an event first (`-E`): a local fact of the sender. */
export interface FirstSeen {
  readonly ordinal: number;
  /** `YYYY-MM-DDTHH:MM:SS.ffffff+00:00` */
  readonly dateTime: string;
}

export interface Attachments {
  /** `-A` */
  readonly signatures: readonly IndexedSignature[];
  /** `-B`: index into the witness list of the event's resulting state. */
  readonly witnessSignatures: readonly IndexedSignature[];
  /** `-C` */
  readonly receiptCouples: readonly ReceiptCouple[];
  /** `-D` */
  readonly transferableReceipts: readonly TransferableReceipt[];
  /** `-E` */
  readonly firstSeen: readonly FirstSeen[];
  /** `-F` */
  readonly transferableSignatures: readonly TransferableSignatures[];
  /** `-G` */
  readonly sealSources: readonly SealSourceCouple[];
  /** `-H` */
  readonly lastSignatures: readonly LastSignatures[];
  /** `-I` */
  readonly sealSourceTriples: readonly SealSourceTriple[];
}

/** Mutable twin of {@link Attachments}, filled by the reader. */
export type AttachmentLists = { -readonly [Key in keyof Attachments]: Attachments[Key][number][] };

export function emptyAttachments(): AttachmentLists {
  return {
    signatures: [],
    witnessSignatures: [],
    receiptCouples: [],
    transferableReceipts: [],
    firstSeen: [],
    transferableSignatures: [],
    sealSources: [],
    lastSignatures: [],
    sealSourceTriples: [],
  };
}

export function appendAttachments(into: AttachmentLists, more: Attachments): void {
  into.signatures.push(...more.signatures);
  into.witnessSignatures.push(...more.witnessSignatures);
  into.receiptCouples.push(...more.receiptCouples);
  into.transferableReceipts.push(...more.transferableReceipts);
  into.firstSeen.push(...more.firstSeen);
  into.transferableSignatures.push(...more.transferableSignatures);
  into.sealSources.push(...more.sealSources);
  into.lastSignatures.push(...more.lastSignatures);
  into.sealSourceTriples.push(...more.sealSourceTriples);
}

/** Entries per list that merged attachments keep; the newest stay. */
const MAX_MERGED = 4096;

/** What came with two copies of one message. */
export function mergeAttachments(first: Attachments, second: Attachments): Attachments {
  const merged = emptyAttachments();
  appendAttachments(merged, first);
  appendAttachments(merged, second);
  for (const list of Object.values(merged) as unknown[][]) {
    if (list.length > MAX_MERGED) list.splice(0, list.length - MAX_MERGED);
  }
  return merged;
}

/** What is known about a message that waits, and what is told about it. */
import type { KeyEventMessage } from '#kel/event/key-event';
import type { ReceiptedEvent } from '#kel/event/parse';
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';

export interface WaitingEvent extends Pick<KeyEventMessage, 'event' | 'attachments'> {
  /** State that the event follows or would follow; undefined for an inception and in an unknown log. */
  readonly before: KeyState | undefined;
  /** After the last accepted event of the AID; undefined while none is. */
  readonly head: KeyState | undefined;
  /** State of the delegator, for the log of a delegated AID. */
  delegator(aid: Aid): KeyState | undefined;
}

export interface WaitingReceipt {
  readonly receipt: ReceiptedEvent;
}

/** For people; `from` holds identifiers. */
export interface Explanation {
  readonly waitsFor: string;
  /** Who can supply what is missing: AIDs, keys, or digests of keys. */
  readonly from: readonly string[];
  readonly releasedBy: string;
}

export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

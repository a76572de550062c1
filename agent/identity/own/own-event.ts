/**
 * An own event, signed, on its way into the own log: at once, or kept on disk until others have confirmed it.
 *
 * What others must confirm is on disk before anybody sees it: whoever has seen it holds it for the one event at its
 * place, so it is finished and never replaced by another.
 */
import { isBodyMap } from '#kel/cesr/body-value';
import { parseStream } from '#kel/cesr/stream';
import type { BuiltEvent } from '#kel/event/built-event';
import type { KeyEvent } from '#kel/event/key-event';
import { parseKeyEvent } from '#kel/event/parse';
import type { Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Aid, Said } from '#kel/identifiers';
import type { MessageOutcome } from '#kel/store/kel-store';
import { IdentityError } from './errors.ts';
import { type OwnKeysDeps, settle } from './key-succession.ts';
import {
  type KeySet,
  PENDING,
  type PendingEvent,
  readLocalKeys,
  readPending,
} from './local-keys.ts';
import { signWith } from './own-signature.ts';

export interface EventToConfirm extends BuiltEvent {
  readonly type: KeyEvent['type'];
  readonly witnesses: readonly Aid[];
  readonly threshold: number;
}

/** Signs the event and puts it through the same door as a stranger's. */
export async function submit(
  deps: OwnKeysDeps,
  keys: KeySet,
  event: { bytes: Uint8Array; said: Said },
): Promise<void> {
  const signatures = await signWith(deps.keyStore, keys, event.bytes);
  const [outcome] = await deps.kel.process(encodeSignedEvent(event.bytes, signatures));
  if (outcome?.verdict !== 'accepted' && outcome?.verdict !== 'duplicate') {
    throw new IdentityError(
      'IDENTITY_EVENT_REFUSED',
      `event ${event.said}: ${outcome?.code} ${outcome?.reason}`,
    );
  }
}

/** Signs the event and puts it on disk: from now on it is the one event at its place. */
export async function makePending(
  deps: OwnKeysDeps,
  keys: KeySet,
  { aid, sn, said, type, bytes, witnesses, threshold }: EventToConfirm,
): Promise<PendingEvent> {
  const message = encodeSignedEvent(bytes, await signWith(deps.keyStore, keys, bytes));
  const pending: PendingEvent = {
    aid,
    sn,
    said,
    type,
    witnesses,
    threshold,
    message: Buffer.from(message).toString('base64'),
  };
  await deps.table.put({ [PENDING]: pending });
  return pending;
}

/**
 * Puts the event that waits through the door of the own log. @returns what it waits for; undefined when none waits
 * any more. Throws IDENTITY_EVENT_REFUSED when it can never be accepted; it is given up then.
 */
export async function offerPending(deps: OwnKeysDeps): Promise<MessageOutcome | undefined> {
  const pending = readPending(deps.table);
  if (pending === undefined) return undefined;
  const [outcome] = await deps.kel.process(Buffer.from(pending.message, 'base64'));
  if (outcome?.verdict === 'waiting') return outcome;
  if (outcome?.verdict === 'refused') {
    await deps.table.put({ [PENDING]: undefined });
    // The own rotation took its place, and what it seals.
    if (outcome.code === 'KEL_SUPERSEDED') return undefined;
    throw new IdentityError(
      'IDENTITY_EVENT_REFUSED',
      `event ${pending.said}: ${outcome.code} ${outcome.reason}`,
    );
  }
  // The keys first: a crash in between finds the event in the log and settles again.
  await settle(deps, readLocalKeys(deps.table));
  await deps.table.put({ [PENDING]: undefined });
  return undefined;
}

/** What the event that waits seals. */
export function anchorsOf(pending: PendingEvent | undefined): readonly Seal[] {
  if (pending === undefined) return [];
  const [item] = parseStream(Buffer.from(pending.message, 'base64'));
  if (item?.type !== 'message') return [];
  return parseKeyEvent(item.body).anchors.filter(isBodyMap);
}

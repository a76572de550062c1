/**
 * An own event that a witness has receipted and this state directory does not know: one that was put back is older than the
 * log. The witness receipts no other in its place, so a rotation is taken up again, with the keys that it names; it was
 * signed with the next keys, which nobody else has. An interaction may be a thief's: only a rotation follows it.
 */
import { parseStream } from '#kel/cesr/stream';
import { keyDigest } from '#kel/event/key-digest';
import { isInception, isRotation, type KeyEvent, type RotationEvent } from '#kel/event/key-event';
import { parseKeyEvent } from '#kel/event/parse';
import type { Aid } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import { witnessesAfter } from '#kel/state/witness-list';
import { IdentityError } from './errors.ts';
import { rememberMade } from './foreign-events.ts';
import { keysWithDigests } from './key-salvage.ts';
import type { OwnKeysDeps } from './key-succession.ts';
import { INTENT, type Intent, type LocalKeys, PENDING, type PendingEvent } from './local-keys.ts';
import { noteBegun } from './own-head.ts';

export type RecalledEvent =
  /** On disk as the event that waits. */
  | { readonly kind: 'rotation'; readonly pending: PendingEvent }
  | { readonly kind: 'interaction'; readonly event: EventReference }
  /** Known here, or not what the own keys have signed. */
  | { readonly kind: 'nothing' };

/** @param message of a witness, attacker-controlled. Throws IDENTITY_NEXT_KEYS_LOST */
export async function takeRecalled(
  deps: OwnKeysDeps,
  local: LocalKeys,
  message: Uint8Array,
): Promise<RecalledEvent> {
  const event = oneEvent(message);
  if (event === undefined || isInception(event) || event.aid !== local.aid)
    return { kind: 'nothing' };
  const [outcome] = await deps.kel.process(message, { accepts: (aid) => aid === local.aid });
  const isSigned =
    outcome?.verdict === 'waiting' &&
    (outcome.code === 'KEL_AWAITS_WITNESSES' || outcome.code === 'KEL_AWAITS_DELEGATOR');
  const before = deps.kel.stateBefore(local.aid, event.sn);
  if (!isSigned || before === undefined) return { kind: 'nothing' };
  const { sn, said } = event;
  if (!isRotation(event)) return { kind: 'interaction', event: { sn, said } };
  const intent = await intentOf(deps, local, event);
  const pending = pendingOf(event, before, message);
  const after = { sn: sn - 1, said: event.prior };
  await rememberMade(deps.table, event, after);
  await noteBegun(deps, event.aid, event, after);
  await deps.table.put({ [INTENT]: intent, [PENDING]: pending });
  return { kind: 'rotation', pending };
}

async function intentOf(
  { keyStore }: OwnKeysDeps,
  local: LocalKeys,
  { aid, sn, said, keys, nextDigests }: RotationEvent,
): Promise<Intent> {
  const held = (await keyStore.list()).filter(({ kind }) => kind === 'signing');
  const ids = held.map(({ id }) => id);
  const current = await keysWithDigests(keyStore, ids, keys.map(keyDigest));
  const next = await keysWithDigests(keyStore, ids, nextDigests);
  const missing = keys.length - current.length + nextDigests.length - next.length;
  if (missing > 0)
    throw new IdentityError(
      'IDENTITY_NEXT_KEYS_LOST',
      `a witness holds rotation ${sn} ${said} of ${aid}, and the key store lacks ${missing} of the keys that it names`,
    );
  return {
    said,
    current: { signing: current, root: local.next.root },
    // Nothing derives yet from the root of next keys, so that another one is as good.
    next: { signing: next, root: await keyStore.generateRoot() },
  };
}

function pendingOf(event: RotationEvent, before: KeyState, message: Uint8Array): PendingEvent {
  const { aid, sn, said, type, witnessThreshold: threshold } = event;
  return {
    aid,
    sn,
    said,
    type,
    witnesses: witnessesAfter(before.witnesses, event) as readonly Aid[],
    threshold,
    message: Buffer.from(message).toString('base64'),
  };
}

function oneEvent(message: Uint8Array): KeyEvent | undefined {
  const items = [...parseStream(message)];
  const [item] = items;
  if (items.length !== 1 || item?.type !== 'message') return undefined;
  try {
    return parseKeyEvent(item.body);
  } catch {
    return undefined;
  }
}

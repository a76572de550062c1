/** Signed replies of test organisations and witnesses, and a store for them. */

import type { SerializationKind } from '#kel/key-state/key-state';
import { encodeEndorsed } from '#kel/reply/endorsement';
import type { KeyStateNotice } from '#kel/reply/key-state-notice';
import { buildReply, type ReplyContent } from '#kel/reply/reply';
import { ReplyStore, type ReplyStoreOptions } from '#kel/reply/reply-store';
import { formatDateTime } from '#src/clock';
import type { Database } from '#src/store/durable-table';
import { ed25519, type Organisation, sign, type TestKey, verifySignature } from './key-log.ts';
import { openStore } from './store-kit.ts';

/** Date-time `seconds` into a day of 2026. */
export function at(seconds: number): string {
  return formatDateTime(Date.UTC(2026, 0, 1) + seconds * 1_000);
}

export interface SigningOptions {
  readonly dateTime?: string;
  readonly kind?: SerializationKind;
  /** The step whose establishment event and keys sign; default: the last. */
  readonly step?: number;
  readonly signedBy?: readonly TestKey[];
}

/** Signed by `org` under an establishment event of its own. */
export function replyBy(
  org: Organisation,
  content: ReplyContent,
  { dateTime = at(0), kind = 'JSON', step, signedBy }: SigningOptions = {},
): Uint8Array {
  const { bytes } = buildReply(kind, dateTime, content);
  const state = step === undefined ? org.state : (org.steps[step] as (typeof org.steps)[0]).state;
  const rotations = org.steps.filter(
    (one) => one.state.sn <= state.sn && one.state.eventType === 'rot',
  ).length;
  const keys = signedBy ?? org.keys(rotations, state.keys.length);
  return encodeEndorsed(bytes, {
    aid: org.aid,
    establishment: state.establishment,
    signatures: sign(bytes, keys),
  });
}

/** Signed by a non-transferable AID. */
export function replyOfKey(
  { seed, key }: TestKey,
  content: ReplyContent,
  { dateTime = at(0), kind = 'JSON' }: SigningOptions = {},
): Uint8Array {
  const { bytes } = buildReply(kind, dateTime, content);
  const signature = { code: '0B', raw: ed25519.sign(bytes, seed) };
  return encodeEndorsed(bytes, { aid: key as never, signature });
}

/** What `org` says of itself. */
export function noticeOf(org: Organisation, step = org.steps.length - 1): KeyStateNotice {
  const { kind: _kind, ...state } = (org.steps[step] as (typeof org.steps)[0]).state;
  return {
    state,
    prior: org.steps[step - 1]?.said,
    firstSeen: step,
    dateTime: at(step),
    witnessCuts: [],
    witnessAdds: [],
  };
}

export async function openReplies(
  limits: ReplyStoreOptions['limits'] = {},
  isWatcher: ReplyStoreOptions['isWatcher'] = () => false,
) {
  const { db, store: kel } = await openStore();
  const options = { kel, verifySignature, isWatcher, limits };
  const reopen = () => ReplyStore.open(db as unknown as Database, options);
  return { db, kel, replies: await reopen(), reopen };
}

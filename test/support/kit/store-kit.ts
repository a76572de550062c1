/** What the tests of the store share: a store over a database that can fail, and messages for it. */

import { encodeBody } from '#kel/cesr/body';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeIndexedSignature, type IndexedSignatureInput } from '#kel/cesr/indexer';
import { encodeMatter } from '#kel/cesr/matter';
import type { BuiltEvent } from '#kel/event/built-event';
import { eventSeal } from '#kel/event/seal';
import type { Aid } from '#kel/identifiers';
import type { DelegatorLog } from '#kel/state/evaluation-context';
import { LevelKelStore, type LevelKelStoreOptions } from '#kel/store/level-kel-store';
import { concatBytes, utf8 } from '#src/bytes';
import { FailingLevel } from './failing-level.ts';
import { ed25519, type Organisation, type TestKey, verifySignature } from './key-log.ts';

/** A clock that moves when a test says so. */
export class HandClock {
  #now = 1_000_000;

  now(): number {
    return this.#now;
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}

export interface StoreKit {
  readonly db: FailingLevel;
  readonly clock: HandClock;
  readonly store: LevelKelStore;
  /** A second store on the same disk, as after a crash: the first one is not closed. */
  reopen(): Promise<LevelKelStore>;
}

export async function openStore(limits: LevelKelStoreOptions['limits'] = {}): Promise<StoreKit> {
  const db = new FailingLevel();
  const clock = new HandClock();
  const reopen = () => LevelKelStore.open(db, { verifySignature, clock, limits });
  return { db, clock, store: await reopen(), reopen };
}

/** The message without attachments, followed by these signatures. */
export function signedBy(
  event: BuiltEvent,
  signatures: readonly IndexedSignatureInput[],
): Uint8Array {
  const items = signatures.map(encodeIndexedSignature);
  const group = encodeCounter('A', items.length) + items.join('');
  return concatBytes(event.bytes, utf8(encodeCounter('V', group.length / 4) + group));
}

export function signature(
  event: BuiltEvent,
  { seed }: TestKey,
  index: number,
): IndexedSignatureInput {
  return { index, raw: ed25519.sign(event.bytes, seed) };
}

/** A receipt (`rct`) of `event` by witnesses, as indexed signatures or as couples. */
export function receiptOf(
  event: BuiltEvent,
  witnesses: readonly { readonly index: number; readonly key: TestKey }[],
  form: 'indexed' | 'couples',
): Uint8Array {
  const body = encodeBody('KERI', 'CBOR', [
    ['t', 'rct'],
    ['d', event.said],
    ['i', event.aid],
    ['s', event.sn.toString(16)],
  ]);
  const items = witnesses.map(({ index, key }) => {
    const raw = ed25519.sign(event.bytes, key.seed);
    return form === 'indexed'
      ? encodeIndexedSignature({ index, raw })
      : key.key + encodeMatter('0B', raw);
  });
  const counter = encodeCounter(form === 'indexed' ? 'B' : 'C', items.length);
  return concatBytes(body, utf8(counter + items.join('')));
}

/** What a delegate's own bookkeeping may know of its delegator: that everything is approved. */
export const approvesAll: DelegatorLog = {
  configTraits: [],
  approvalOf: ({ said }) => ({ sn: 1, said: said as never, isRotation: false, sealIndex: 0 }),
};

/** Interaction of `delegator` that approves `event`. */
export function approve(delegator: Organisation, event: BuiltEvent) {
  return delegator.anchor([eventSeal(event)]);
}

export async function replays(store: LevelKelStore): Promise<number> {
  return (await store.replay()).events;
}

export function statesOf(store: LevelKelStore): Readonly<Record<string, unknown>> {
  return Object.fromEntries([...store.aids()].sort().map((aid: Aid) => [aid, store.state(aid)]));
}

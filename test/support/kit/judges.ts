/** The two engines that judge a stream of messages, behind one question: KERI's rules hold in both alike. */

import { MemoryLevel } from 'memory-level';
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { LevelKelStore } from '#kel/store/level-kel-store';
import { LogVerifier } from '#kel/verify/log-verifier';
import { verifySignature } from './key-log.ts';

export interface Judgement {
  readonly states: ReadonlyMap<Aid, KeyState>;
  /** Codes, sorted. */
  readonly refused: readonly string[];
  readonly waiting: readonly string[];
}

export type Judge = (messages: readonly Uint8Array[]) => Promise<Judgement>;

/** In memory, as `id verify` and the auditor do. */
async function offline(messages: readonly Uint8Array[]): Promise<Judgement> {
  const verifier = new LogVerifier(verifySignature);
  for (const message of messages) verifier.feed(message);
  const { aids, refused, waiting } = verifier.finish();
  return {
    states: new Map(aids.map((state) => [state.aid, state])),
    refused: refused.map(({ code }) => code).toSorted(),
    waiting: waiting.map(({ code }) => code).toSorted(),
  };
}

/** On LevelDB, as the agent does. */
async function durable(messages: readonly Uint8Array[]): Promise<Judgement> {
  const db = new MemoryLevel<string, Uint8Array>({ valueEncoding: 'view' });
  const store = await LevelKelStore.open(db as never, {
    verifySignature,
    clock: { now: () => 1_000_000 },
  });
  try {
    for (const message of messages) await store.process(message);
    const { refused } = store.counters();
    return {
      states: new Map(store.aids().map((aid) => [aid, store.state(aid) as KeyState])),
      refused: Object.entries(refused)
        .flatMap(([code, count]) => Array<string>(count).fill(code))
        .toSorted(),
      waiting: store
        .escrowed()
        .map(({ code }) => code)
        .toSorted(),
    };
  } finally {
    await store.close();
  }
}

export const judges: readonly (readonly [string, Judge])[] = [
  ['offline verifier', offline],
  ['store', durable],
];

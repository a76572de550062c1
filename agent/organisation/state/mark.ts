/**
 * What a state directory has said to others and must not forget: the own log, an own event that is signed and waits, and what was
 * receipted as a witness. An older copy may take the place of a newer one only where all of it is in the older one too.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import type { VerifySignature } from '#kel/state/key-signatures';
import { LevelKelStore } from '#kel/store/level-kel-store';
import type { Clock } from '#src/clock';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { Identity } from '../../identity/own/identity.ts';

export interface StateMark {
  /** Of the own log, or of the one that its custodians sign; null before its first event. */
  readonly head: (EventReference & { readonly aid: Aid }) | null;
  /** The own event that waits for receipts or for its delegator. */
  readonly pending: Said | null;
  /** Events of others that were receipted and are not settled, in order of their SAIDs. */
  readonly receipted: readonly Said[];
}

export interface MarkDeps {
  readonly verifySignature: VerifySignature;
  readonly clock: Clock;
  /** Of the organisation whose log is held without a key of it. */
  readonly custodied: Aid | undefined;
}

/** Nothing is written but what opening the logs writes. Throws STORE_CORRUPT. */
export async function markOf(db: Database, deps: MarkDeps): Promise<StateMark> {
  const kel = await LevelKelStore.open(db, deps);
  const table = await StateTable.open(db, 'identity');
  const aid = Identity.aidOf(table) ?? deps.custodied;
  const state = aid === undefined ? undefined : kel.state(aid);
  const receipted: Said[] = [];
  // As 0.1 kept them, and as they are kept since.
  for (const prefix of ['first.', 'given.'])
    for await (const [, { said }] of (await StateTable.open(db, 'witness')).entries<{
      readonly said: Said;
    }>(prefix))
      receipted.push(said);
  return {
    head: state === undefined ? null : { aid: state.aid, sn: state.sn, said: state.said },
    pending: Identity.pending(table)?.said ?? null,
    receipted: receipted.sort(),
  };
}

/** What `now` has said and `former` has not, in words; undefined: nothing. */
export function forgotten(former: StateMark, now: StateMark): string | undefined {
  if (now.head?.said !== former.head?.said)
    return `event ${now.head?.sn} of the own log was made since: a log that forgets an event is a second log, and every member would suspend the AID`;
  if (now.pending !== null && now.pending !== former.pending)
    return `own event ${now.pending} was signed since and waits: another in its place would be the second one there`;
  const known = new Set(former.receipted);
  const added = now.receipted.find((said) => !known.has(said));
  return added === undefined
    ? undefined
    : `event ${added} was receipted as a witness since: a witness that forgets one may receipt another in its place`;
}

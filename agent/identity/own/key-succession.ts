/**
 * Own keys and own log move together: keys exist → intent on disk → event in the log, durable → intent done.
 * A crash between any two is repaired by {@link settle}: the log decides whether the event happened.
 */
import type { BuiltEvent } from '#kel/event/built-event';
import type { Aid } from '#kel/identifiers';
import type { KelStore } from '#kel/store/kel-store';
import type { KeyId, KeyStore, SigningAlgorithm } from '#src/keystore/key-store';
import type { StateTable } from '#src/store/state-table';
import { IdentityError } from './errors.ts';
import {
  destroyKeySet,
  generateKeySet,
  INTENT,
  type Intent,
  type KeySet,
  LOCAL_KEYS,
  type LocalKeys,
  readLocalKeys,
  readPending,
} from './local-keys.ts';
import type { HeadFiles } from './own-head.ts';

export interface OwnKeysDeps {
  readonly keyStore: KeyStore;
  readonly kel: KelStore;
  readonly table: StateTable;
  /** Where the last own event is noted, apart from the event store. */
  readonly files: HeadFiles;
}

export interface PreparedKeys {
  readonly event: BuiltEvent;
  readonly current: KeySet;
  readonly next: KeySet;
}

/** Keys of the key store that are out of use and not destroyed yet. */
const RETIRED = 'retired';

/** Makes keys and an event of them, and puts the intent on disk. Before that nothing names the new keys: a failure takes them away again. */
export async function prepare(
  deps: OwnKeysDeps,
  build: (generate: (algorithm: SigningAlgorithm) => Promise<KeySet>) => Promise<PreparedKeys>,
): Promise<PreparedKeys> {
  const generated: KeySet[] = [];
  try {
    const prepared = await build(async (algorithm) => {
      const keys = await generateKeySet(deps.keyStore, algorithm);
      generated.push(keys);
      return keys;
    });
    const { event, current, next } = prepared;
    const intent: Intent = { said: event.said, current, next };
    await deps.table.put({ [INTENT]: intent });
    return prepared;
  } catch (error) {
    for (const keys of generated) await destroyKeySet(deps.keyStore, keys).catch(() => undefined);
    throw error;
  }
}

/** As {@link settle}. Throws IDENTITY_MISSING. */
export async function settled(deps: OwnKeysDeps, local: LocalKeys | undefined): Promise<LocalKeys> {
  const wasInterrupted = deps.table.get(INTENT) !== undefined;
  const keys = await settle(deps, local);
  if (keys !== undefined) return keys;
  const pending = readPending(deps.table);
  if (pending !== undefined)
    throw new IdentityError(
      'IDENTITY_AWAITS_DELEGATOR',
      `${pending.aid} begins when its delegator has sealed its inception ${pending.said}`,
    );
  throw new IdentityError(
    'IDENTITY_MISSING',
    wasInterrupted
      ? 'an inception was interrupted before its event was written'
      : 'this state directory holds no identity',
  );
}

/** Completes an intent whose event is in the log, undoes one whose event is not. @returns the keys as they are now */
export async function settle(
  deps: OwnKeysDeps,
  remembered: LocalKeys | undefined,
): Promise<LocalKeys | undefined> {
  const { table, kel, keyStore } = deps;
  const intent = table.get<Intent>(INTENT);
  // A write that failed may be on disk all the same.
  const local = readLocalKeys(deps.table) ?? remembered;
  if (intent === undefined) return local;
  await refreshLog(deps);
  const aid = local?.aid ?? (intent.said as string as Aid);
  const happened = kel.state(aid)?.establishment.said === intent.said;
  if (!happened && readPending(deps.table)?.said === intent.said) return local;
  if (!happened) {
    if (local === undefined) await destroyKeySet(keyStore, intent.current);
    await destroyKeySet(keyStore, intent.next);
    await table.put({ [INTENT]: undefined });
    return local;
  }
  const roots = [
    ...(local?.roots ?? []),
    { establishment: intent.said, root: intent.current.root },
  ];
  const storageRoot = local?.storageRoot ?? intent.current.root;
  const now: LocalKeys = {
    aid,
    current: intent.current,
    next: intent.next,
    roots: roots.slice(-2),
    storageRoot,
  };
  const retired = [
    ...(table.get<readonly KeyId[]>(RETIRED) ?? []),
    ...(local?.current.signing ?? []),
    ...roots
      .slice(0, -2)
      .map(({ root }) => root)
      .filter((root) => root !== storageRoot),
  ];
  await table.put({ [LOCAL_KEYS]: now, [INTENT]: undefined, [RETIRED]: retired });
  await destroyRetired(deps);
  return now;
}

/** A key that cannot be destroyed now stays on the list: the event that retired it has happened all the same. */
export async function destroyRetired({ table, keyStore }: OwnKeysDeps): Promise<void> {
  const retired = table.get<readonly KeyId[]>(RETIRED) ?? [];
  if (retired.length === 0) return;
  try {
    for (const id of retired) await keyStore.destroy(id);
    await table.put({ [RETIRED]: undefined });
  } catch {
    // Tried again at the next rotation and the next start.
  }
}

/** After a write of the log that failed, its state in memory is that from before; any call brings it to what is on disk. */
export async function refreshLog({ kel }: OwnKeysDeps): Promise<void> {
  await kel.process(new Uint8Array(0));
}

/**
 * After a recovery that found its next keys alone: what was sealed under roots that are gone, or derives from them, opens for
 * nobody any more. It is forgotten, so that it is made anew: agreements, devices, audit log key, witness key.
 */

import type { KeyStore } from '#src/keystore/key-store';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { SECRETS_LOST, type SecretsLost } from '../identity/own/key-salvage.ts';

/** Before the parts that read it are opened. A crash in between leaves the mark, and this is done again. */
export async function forgetLostSecrets(
  db: Database,
  keyStore: KeyStore,
  identity: StateTable,
): Promise<void> {
  const lost = identity.get<SecretsLost>(SECRETS_LOST);
  if (lost === undefined) return;
  for (const name of ['agreed', 'tunnel']) await forget(await StateTable.open(db, name));
  if (lost.sealed) {
    await db.sublevel('agreement').clear();
    await (await StateTable.open(db, 'audit')).put({ 'log-key': undefined });
  }
  const witness = await StateTable.open(db, 'witness');
  const key = witness.get<{ readonly key: string }>('key')?.key;
  const held = await keyStore.list();
  if (!held.some(({ id }) => id === key)) await witness.put({ key: undefined });
  await identity.put({ [SECRETS_LOST]: undefined });
}

async function forget(table: StateTable): Promise<void> {
  for await (const [key] of table.entries('')) await table.put({ [key]: undefined });
}

/**
 * What the agent remembers of its own keys: which keys of the key store are current, which are next,
 * and from which root the secrets of an establishment event derive. No secret stands here.
 */
import type { KeyEvent } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyId, KeyStore, SigningAlgorithm, SigningKey } from '#src/keystore/key-store';
import type { StateTable } from '#src/store/state-table';

export interface KeySet {
  readonly signing: readonly KeyId[];
  /** Derivation root R of the establishment event that makes these keys current (DESIGN section 4). */
  readonly root: KeyId;
}

/** An establishment event that is being made: written before the event, so that a crash loses no key. */
export interface Intent {
  readonly said: Said;
  readonly current: KeySet;
  readonly next: KeySet;
}

/** An own event that is signed and waits for receipts or for its delegator: written before anybody else sees it. */
export interface PendingEvent {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
  readonly type: KeyEvent['type'];
  /** Of the state after the event. */
  readonly witnesses: readonly Aid[];
  readonly threshold: number;
  /** Base64 of the signed message. */
  readonly message: string;
}

export interface LocalKeys {
  readonly aid: Aid;
  readonly current: KeySet;
  readonly next: KeySet;
  /** Root per establishment event, oldest first; the last two are kept while a tunnel key of the older one drains. */
  readonly roots: readonly { readonly establishment: Said; readonly root: KeyId }[];
  /** Root of the keys that seal data at rest; it outlives rotations, so that what is sealed stays readable. */
  readonly storageRoot: KeyId;
}

/** Keys of the state table. */
export const LOCAL_KEYS = 'local-keys';
export const INTENT = 'intent';
/** The own event that waits for witnesses or the delegator. */
export const PENDING = 'pending';

export function readLocalKeys(table: StateTable): LocalKeys | undefined {
  return table.get<LocalKeys>(LOCAL_KEYS);
}

export function readPending(table: StateTable): PendingEvent | undefined {
  return table.get<PendingEvent>(PENDING);
}

export async function generateKeySet(
  keyStore: KeyStore,
  algorithm: SigningAlgorithm,
): Promise<KeySet> {
  const key = await keyStore.generateSigningKey(algorithm);
  return { signing: [key.id], root: await keyStore.generateRoot() };
}

export async function destroyKeySet(keyStore: KeyStore, keys: KeySet): Promise<void> {
  for (const id of keys.signing) await keyStore.destroy(id);
  await keyStore.destroy(keys.root);
}

export async function publicKeys(keyStore: KeyStore, keys: KeySet): Promise<readonly SigningKey[]> {
  return Promise.all(keys.signing.map((id) => keyStore.signingKey(id)));
}

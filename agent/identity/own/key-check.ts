/** Whether the key store still holds every key that the own log and the agent count on. */
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { KeyId, KeyStore } from '#src/keystore/key-store';
import { IdentityError } from './errors.ts';
import type { LocalKeys } from './local-keys.ts';
import { nextDigests, verificationKeys } from './own-signature.ts';

/** Throws IDENTITY_KEYS_LOST, IDENTITY_CURRENT_KEYS_LOST, IDENTITY_NEXT_KEYS_LOST. */
export async function checkHeld(
  keyStore: KeyStore,
  { aid, current, next, roots, storageRoot }: LocalKeys,
): Promise<void> {
  const entries = new Set((await keyStore.list()).map(({ id }) => id));
  const lacks = (ids: readonly KeyId[]) => ids.filter((id) => !entries.has(id));
  const present = lacks([...current.signing, storageRoot, ...roots.map(({ root }) => root)]);
  const future = lacks([...next.signing, next.root]);
  const missing = [...new Set([...present, ...future])];
  if (missing.length === 0) return;
  throw new IdentityError(
    lacks(next.signing).length === 0
      ? 'IDENTITY_CURRENT_KEYS_LOST'
      : lacks(current.signing).length === 0
        ? 'IDENTITY_NEXT_KEYS_LOST'
        : 'IDENTITY_KEYS_LOST',
    `the key store lacks ${missing.length} keys of ${aid}: ${missing.join(', ')}`,
  );
}

/** Throws IDENTITY_LOG_DIVERGED unless the log names the keys that are held. */
export async function checkNamed(
  keyStore: KeyStore,
  state: KeyState,
  { current, next }: LocalKeys,
): Promise<void> {
  expectKeys(state.aid, 'keys', state.keys, await verificationKeys(keyStore, current));
  expectKeys(
    state.aid,
    'next keys by digest',
    state.nextDigests,
    await nextDigests(keyStore, next),
  );
}

function expectKeys(
  aid: Aid,
  what: string,
  named: readonly string[],
  held: readonly string[],
): void {
  if (held.length === named.length && held.every((key, i) => key === named[i])) return;
  throw new IdentityError(
    'IDENTITY_LOG_DIVERGED',
    `the log of ${aid} names ${what} ${named.join(', ')}, the key store holds ${held.join(', ')}`,
  );
}

/**
 * The keys with which a log goes on: its next keys, wherever the key store has them. Whatever else is gone, a rotation to
 * them makes everything anew; what they replace is noted, so that nothing is built on secrets that cannot be derived.
 */
import { keyDigest } from '#kel/event/key-digest';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { KeyState } from '#kel/key-state/key-state';
import type { KeyId, KeyStore } from '#src/keystore/key-store';
import { IdentityError } from './errors.ts';
import type { OwnKeysDeps } from './key-succession.ts';
import { LOCAL_KEYS, type LocalKeys } from './local-keys.ts';

/** Set while secrets are on disk that were sealed under, or derive from, a root which is gone. */
export const SECRETS_LOST = 'secrets-lost';

export interface SecretsLost {
  /** The storage root is gone too. */
  readonly sealed: boolean;
}

/**
 * @returns `local` with the next keys that the log commits to, and without the roots that the key store lacks; on disk.
 * Throws IDENTITY_NEXT_KEYS_LOST.
 */
export async function salvageKeys(
  { keyStore, table }: OwnKeysDeps,
  local: LocalKeys,
  state: KeyState,
): Promise<LocalKeys> {
  const entries = await keyStore.list();
  const isRoot = new Set(entries.filter(({ kind }) => kind === 'root').map(({ id }) => id));
  const isHeld = (id: KeyId) => isRoot.has(id);
  const held = new Set(entries.filter(({ kind }) => kind === 'signing').map(({ id }) => id));
  const signing = await nextKeys(keyStore, held, local, state);
  const isRemembered = signing.every((id, index) => id === local.next.signing[index]);
  const roots = local.roots.filter(({ root }) => isHeld(root));
  const sealed = !isHeld(local.storageRoot);
  // Rotated elsewhere: what is remembered of tunnels is older than what the peers have of them.
  const isWhole = isRemembered && roots.length === local.roots.length && !sealed;
  if (isWhole && isHeld(local.next.root)) return local;
  // Nothing derives yet from the root of the next keys, so that another one is as good.
  const root =
    isRemembered && isHeld(local.next.root) ? local.next.root : await keyStore.generateRoot();
  const salvaged: LocalKeys = {
    ...local,
    next: { signing, root },
    roots,
    storageRoot: sealed ? root : local.storageRoot,
  };
  const lost: SecretsLost = {
    sealed: sealed || table.get<SecretsLost>(SECRETS_LOST)?.sealed === true,
  };
  await table.put({ [LOCAL_KEYS]: salvaged, ...(isWhole ? {} : { [SECRETS_LOST]: lost }) });
  return salvaged;
}

/** Those that are remembered when the log names them, else whatever the key store has with these digests. */
async function nextKeys(
  keyStore: KeyStore,
  held: ReadonlySet<KeyId>,
  { aid, next }: LocalKeys,
  { nextDigests }: KeyState,
): Promise<readonly KeyId[]> {
  const remembered = next.signing.filter((id) => held.has(id));
  let found = await keysWithDigests(keyStore, remembered, nextDigests);
  if (found.length < nextDigests.length) found = await keysWithDigests(keyStore, held, nextDigests);
  if (found.length === nextDigests.length) return found;
  throw new IdentityError(
    'IDENTITY_NEXT_KEYS_LOST',
    `the key store lacks ${nextDigests.length - found.length} of the ${nextDigests.length} next keys that the log of ${aid} commits to`,
  );
}

/** Those of `ids` that an event commits to, in its order. */
export async function keysWithDigests(
  keyStore: KeyStore,
  ids: Iterable<KeyId>,
  digests: readonly string[],
): Promise<readonly KeyId[]> {
  const byDigest = new Map<string, KeyId>();
  for (const id of ids) {
    const { algorithm, publicKey } = await keyStore.signingKey(id);
    byDigest.set(keyDigest(encodeVerificationKey(algorithm, publicKey)), id);
  }
  return digests.flatMap((digest) => byDigest.get(digest) ?? []);
}

/** How an own AID begins: one key, its successor committed to by digest. */
import { buildInception } from '#kel/event/inception';
import type { Aid } from '#kel/identifiers';
import type { SerializationKind } from '#kel/key-state/key-state';
import type { SigningAlgorithm } from '#src/keystore/key-store';
import { IdentityError } from './errors.ts';
import { type OwnKeysDeps, type PreparedKeys, prepare, settle } from './key-succession.ts';
import { readLocalKeys, readPending } from './local-keys.ts';
import { nextDigests, verificationKeys } from './own-signature.ts';

export interface InceptionOptions {
  readonly algorithm: SigningAlgorithm;
  readonly kind: SerializationKind;
  /** Makes a delegated AID: it begins when the delegator has sealed its inception. */
  readonly delegator?: Aid;
}

/** Throws IDENTITY_EXISTS. */
export async function expectNone(deps: OwnKeysDeps): Promise<void> {
  const local = await settle(deps, readLocalKeys(deps.table));
  const aid = local?.aid ?? readPending(deps.table)?.aid;
  if (aid !== undefined)
    throw new IdentityError('IDENTITY_EXISTS', `identity ${aid} is already here`);
}

export function prepareInception(
  deps: OwnKeysDeps,
  { algorithm, kind, delegator }: InceptionOptions,
): Promise<PreparedKeys> {
  return prepare(deps, async (generate) => {
    const current = await generate(algorithm);
    const next = await generate(algorithm);
    const event = buildInception({
      keys: await verificationKeys(deps.keyStore, current),
      nextDigests: await nextDigests(deps.keyStore, next),
      kind,
      ...(delegator === undefined ? {} : { delegator }),
    });
    return { event, current, next };
  });
}

/**
 * The own identity: makes the events of the own log and the records under it, with keys that stay in
 * the key store.
 *
 * Order of every write: keys exist → intent on disk → event in the log, durable → intent done. A crash
 * between any two is repaired on the next {@link Identity.open}: the log decides whether the event happened.
 */

import type { IndexedSignatureInput } from '#kel/cesr/indexer';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation } from '#kel/event/rotation';
import type { Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid, Said } from '#kel/identifiers';
import type { SignatureGroup } from '#kel/record/attachment';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import type { RecordFields, RecordType } from '#kel/record/record';
import type { EventReference, KeyState, SerializationKind } from '#kel/state/key-state';
import type { KelStore } from '#kel/store/kel-store';
import type { Clock } from '#src/clock';
import { formatDateTime } from '#src/clock';
import { kekLabel, mlKemLabel, wireguardLabel } from '#src/crypto/labels';
import type { KeyId, KeyStore, SigningAlgorithm } from '#src/keystore/key-store';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '../state-table.ts';
import { IdentityError } from './errors.ts';
import {
  destroyKeySet,
  generateKeySet,
  type Intent,
  type KeySet,
  type LocalKeys,
  publicKeys,
} from './local-keys.ts';

export interface IdentityDeps {
  readonly keyStore: KeyStore;
  readonly kel: KelStore;
  readonly table: StateTable;
  readonly clock: Clock;
  readonly rng: Rng;
}

export interface InceptionOptions {
  readonly algorithm: SigningAlgorithm;
  readonly kind: SerializationKind;
}

/** A record with the own signature group, ready to store or send. */
export interface SignedRecord {
  readonly said: Said;
  readonly message: Uint8Array;
}

/** A signature of the own keys with its place in the key list, as the codec wants it. */
export interface OwnSignature {
  readonly index: number;
  readonly raw: Uint8Array;
  readonly algorithm: SigningAlgorithm;
}

const LOCAL_KEYS = 'local-keys';
const INTENT = 'intent';
/** Keys of the key store that are out of use and not destroyed yet. */
const RETIRED = 'retired';

export class Identity {
  readonly #deps: IdentityDeps;
  readonly #queue = new SerialQueue();
  #local: LocalKeys;

  private constructor(deps: IdentityDeps, local: LocalKeys) {
    this.#deps = deps;
    this.#local = local;
  }

  /** True when the state directory holds an identity, or the beginning of one. */
  static exists(table: StateTable): boolean {
    return table.get(LOCAL_KEYS) !== undefined || table.get(INTENT) !== undefined;
  }

  /** Incepts a new AID: one key, its successor committed to by digest. Throws IDENTITY_EXISTS. */
  static async create(deps: IdentityDeps, options: InceptionOptions): Promise<Identity> {
    const local = await settle(deps, readLocal(deps));
    if (local !== undefined)
      throw new IdentityError('IDENTITY_EXISTS', `identity ${local.aid} is already here`);
    const { keyStore } = deps;
    const inception = await prepare(deps, async (generate) => {
      const current = await generate(options.algorithm);
      const next = await generate(options.algorithm);
      const event = buildInception({
        keys: await verificationKeys(keyStore, current),
        nextDigests: await nextDigests(keyStore, next),
        kind: options.kind,
      });
      return { event, current, next };
    });
    await submit(deps, inception.current, inception.event);
    return new Identity(deps, await settled(deps, undefined));
  }

  /** Opens the identity and finishes or undoes what a crash interrupted. Throws IDENTITY_MISSING, IDENTITY_KEYS_LOST, IDENTITY_LOG_DIVERGED. */
  static async open(deps: IdentityDeps): Promise<Identity> {
    const identity = new Identity(deps, await settled(deps, readLocal(deps)));
    await destroyRetired(deps);
    await identity.#checkKeys();
    return identity;
  }

  get aid(): Aid {
    return this.#local.aid;
  }

  get state(): KeyState {
    const state = this.#deps.kel.state(this.aid);
    if (state === undefined)
      throw new IdentityError('IDENTITY_MISSING', `the log of ${this.aid} is not in the store`);
    return state;
  }

  /** Rotates to the pre-rotated keys and commits to fresh ones. @returns the new state, durable */
  rotate(seals: readonly Seal[] = []): Promise<KeyState> {
    return this.#queue.run(async () => {
      await this.#repair();
      const { keyStore } = this.#deps;
      const prior = this.#local;
      const rotation = await prepare(this.#deps, async (generate) => {
        const next = await generate(await this.#algorithm());
        const event = buildRotation({
          prior: this.state,
          keys: await verificationKeys(keyStore, prior.next),
          nextDigests: await nextDigests(keyStore, next),
          anchors: seals,
        });
        return { event, current: prior.next, next };
      });
      await submit(this.#deps, prior.next, rotation.event);
      this.#local = await settled(this.#deps, prior);
      return this.state;
    });
  }

  /** Seals `seals` in an interaction event. @returns the event that carries them, durable */
  anchor(seals: readonly Seal[]): Promise<EventReference> {
    return this.#queue.run(async () => {
      await this.#repair();
      const event = buildInteraction({ prior: this.state, anchors: seals });
      await submit(this.#deps, this.#local.current, event);
      return { sn: event.sn, said: event.said };
    });
  }

  /** Signs with all current keys, in the order of the log's key list. */
  sign(message: Uint8Array): Promise<readonly OwnSignature[]> {
    return this.#queue.run(() => signWith(this.#deps.keyStore, this.#local.current, message));
  }

  /** A signed record of the own AID under the current establishment event. */
  async record<T extends RecordType>(type: T, fields: RecordFields[T]): Promise<SignedRecord> {
    const { clock, rng } = this.#deps;
    const { bytes, said } = buildRecord(type, {
      aid: this.aid,
      salt: rng.bytes(16),
      dt: formatDateTime(clock.now()),
      fields,
    });
    return { said, message: encodeSignedRecord(bytes, [await this.signerGroup(bytes)]) };
  }

  /** The own `-F` group over `bytes`. */
  signerGroup(bytes: Uint8Array): Promise<SignatureGroup<IndexedSignatureInput>> {
    // In the queue: a rotation between the two would name one event and sign with the keys of another.
    return this.#queue.run(async () => {
      const { sn, said } = this.state.establishment;
      return {
        aid: this.aid,
        sn,
        said,
        signatures: await signWith(this.#deps.keyStore, this.#local.current, bytes),
      };
    });
  }

  /** Secrets of the tunnel keys of `epoch`, from the root of `establishment` (current or last). */
  async tunnelSecrets(
    establishment: Said,
    epoch: number,
  ): Promise<{ wireguard: Secret; mlKem: Secret }> {
    const root = this.#local.roots.find((entry) => entry.establishment === establishment)?.root;
    if (root === undefined) {
      throw new IdentityError(
        'IDENTITY_KEYS_LOST',
        `no derivation root for establishment event ${establishment}`,
      );
    }
    const { keyStore } = this.#deps;
    return {
      wireguard: await keyStore.prf(root, wireguardLabel(this.aid, epoch), 32),
      mlKem: await keyStore.prf(root, mlKemLabel(this.aid, epoch), 64),
    };
  }

  /** The 32-byte key number `n` that seals data at rest. */
  storageKey(n: number): Promise<Secret> {
    return this.#deps.keyStore.prf(this.#local.storageRoot, kekLabel(n), 32);
  }

  async #algorithm(): Promise<SigningAlgorithm> {
    const [first] = await publicKeys(this.#deps.keyStore, this.#local.current);
    return first?.algorithm ?? 'ed25519';
  }

  /** What an earlier write that failed has left: the log says what happened, and nothing is built on a guess. */
  async #repair(): Promise<void> {
    await refreshLog(this.#deps);
    this.#local = await settled(this.#deps, this.#local);
  }

  async #checkKeys(): Promise<void> {
    const { keyStore } = this.#deps;
    const { current, next, roots, storageRoot } = this.#local;
    const entries = new Set((await keyStore.list()).map(({ id }) => id));
    const missing = [
      ...current.signing,
      ...next.signing,
      next.root,
      storageRoot,
      ...roots.map(({ root }) => root),
    ].filter((id) => !entries.has(id));
    if (missing.length > 0)
      throw new IdentityError(
        'IDENTITY_KEYS_LOST',
        `the key store lacks ${missing.length} keys of ${this.aid}: ${missing.join(', ')}`,
      );
    this.#expectKeys('keys', this.state.keys, await verificationKeys(keyStore, current));
    this.#expectKeys(
      'next keys by digest',
      this.state.nextDigests,
      await nextDigests(keyStore, next),
    );
  }

  #expectKeys(what: string, named: readonly string[], held: readonly string[]): void {
    if (held.length === named.length && held.every((key, i) => key === named[i])) return;
    throw new IdentityError(
      'IDENTITY_LOG_DIVERGED',
      `the log of ${this.aid} names ${what} ${named.join(', ')}, the key store holds ${held.join(', ')}`,
    );
  }
}

async function verificationKeys(keyStore: KeyStore, keys: KeySet) {
  return (await publicKeys(keyStore, keys)).map((key) =>
    encodeVerificationKey(key.algorithm, key.publicKey),
  );
}

async function nextDigests(keyStore: KeyStore, keys: KeySet) {
  return (await verificationKeys(keyStore, keys)).map((key) => keyDigest(key));
}

async function signWith(
  keyStore: KeyStore,
  keys: KeySet,
  message: Uint8Array,
): Promise<readonly OwnSignature[]> {
  return Promise.all(
    keys.signing.map(async (id, index) => ({
      index,
      raw: await keyStore.sign(id, message),
      algorithm: (await keyStore.signingKey(id)).algorithm,
    })),
  );
}

/** Signs the event and puts it through the same door as a stranger's. */
async function submit(
  deps: IdentityDeps,
  keys: KeySet,
  event: { bytes: Uint8Array; said: Said },
): Promise<void> {
  const signatures = await signWith(deps.keyStore, keys, event.bytes);
  const [outcome] = await deps.kel.process(encodeSignedEvent(event.bytes, signatures));
  if (outcome?.verdict !== 'accepted' && outcome?.verdict !== 'duplicate') {
    throw new IdentityError(
      'IDENTITY_EVENT_REFUSED',
      `event ${event.said}: ${outcome?.code} ${outcome?.reason}`,
    );
  }
}

function readLocal({ table }: IdentityDeps): LocalKeys | undefined {
  return table.get<LocalKeys>(LOCAL_KEYS);
}

interface Prepared {
  readonly event: { readonly bytes: Uint8Array; readonly said: Said };
  readonly current: KeySet;
  readonly next: KeySet;
}

/** Makes keys and an event of them, and puts the intent on disk. Before that nothing names the new keys: a failure takes them away again. */
async function prepare(
  deps: IdentityDeps,
  build: (generate: (algorithm: SigningAlgorithm) => Promise<KeySet>) => Promise<Prepared>,
): Promise<Prepared> {
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

/** After a write of the log that failed, its state in memory is that from before; any call brings it to what is on disk. */
async function refreshLog({ kel }: IdentityDeps): Promise<void> {
  await kel.process(new Uint8Array(0));
}

/** As {@link settle}. Throws IDENTITY_MISSING. */
async function settled(deps: IdentityDeps, local: LocalKeys | undefined): Promise<LocalKeys> {
  const wasInterrupted = deps.table.get(INTENT) !== undefined;
  const keys = await settle(deps, local);
  if (keys !== undefined) return keys;
  throw new IdentityError(
    'IDENTITY_MISSING',
    wasInterrupted
      ? 'an inception was interrupted before its event was written'
      : 'this state directory holds no identity',
  );
}

/** Completes an intent whose event is in the log, undoes one whose event is not. @returns the keys as they are now */
async function settle(
  deps: IdentityDeps,
  remembered: LocalKeys | undefined,
): Promise<LocalKeys | undefined> {
  const { table, kel, keyStore } = deps;
  const intent = table.get<Intent>(INTENT);
  // A write that failed may be on disk all the same.
  const local = readLocal(deps) ?? remembered;
  if (intent === undefined) return local;
  await refreshLog(deps);
  const aid = local?.aid ?? (intent.said as string as Aid);
  const happened = kel.state(aid)?.establishment.said === intent.said;
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
async function destroyRetired({ table, keyStore }: IdentityDeps): Promise<void> {
  const retired = table.get<readonly KeyId[]>(RETIRED) ?? [];
  if (retired.length === 0) return;
  try {
    for (const id of retired) await keyStore.destroy(id);
    await table.put({ [RETIRED]: undefined });
  } catch {
    // Tried again at the next rotation and the next start.
  }
}

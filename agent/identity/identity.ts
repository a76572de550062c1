/**
 * The own identity: makes the events of the own log and the records under it, with keys that stay in
 * the key store.
 *
 * Order of every write: keys exist → intent on disk → event in the log, durable → intent done. A crash
 * between any two is repaired on the next {@link Identity.open}: the log decides whether the event happened.
 *
 * An event that others must confirm (witnesses, a delegator) is kept on disk, signed, before anybody sees it:
 * whoever has seen it holds it for the one event at its place, so it is finished and never replaced by another.
 * It enters the own log when it is final, so nothing that it seals shows before (DESIGN invariant 5).
 */

import { isBodyMap } from '#kel/cesr/body-value';
import type { IndexedSignatureInput } from '#kel/cesr/indexer';
import { parseStream } from '#kel/cesr/stream';
import type { BuiltEvent } from '#kel/event/built-event';
import { ampleWitnesses } from '#kel/event/defaults';
import { checkWitnessThreshold } from '#kel/event/fields';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import type { KeyEvent } from '#kel/event/key-event';
import { parseKeyEvent } from '#kel/event/parse';
import { buildRotation } from '#kel/event/rotation';
import type { Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid, Said } from '#kel/identifiers';
import type { SignatureGroup } from '#kel/record/attachment';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import type { RecordFields, RecordType } from '#kel/record/record';
import type { EventReference, KeyState, SerializationKind } from '#kel/state/key-state';
import type { KelStore, MessageOutcome } from '#kel/store/kel-store';
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
  type PendingEvent,
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
  /** Makes a delegated AID: it begins when the delegator has sealed its inception. */
  readonly delegator?: Aid;
}

/** What changes with a rotation besides the keys. */
export interface RotationChange {
  readonly seals?: readonly Seal[];
  readonly witnessCuts?: readonly Aid[];
  readonly witnessAdds?: readonly Aid[];
  /** Default: as before, or ample when the list changes. */
  readonly witnessThreshold?: number;
}

/** Who confirms own events; a running agent has it. */
export interface Confirmation {
  /** Rejects unless `threshold` of `witnesses` can be asked now. */
  expectReachable(witnesses: readonly Aid[], threshold: number): Promise<void>;
  /** @param take is given each receipt message; true: there are enough. Late ones are given too. */
  collect(
    event: { readonly sn: number; readonly said: Said; readonly message: Uint8Array },
    witnesses: readonly Aid[],
    take: (receipt: Uint8Array) => Promise<boolean>,
  ): Promise<void>;
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
/** The own event that waits for witnesses or the delegator. */
const PENDING = 'pending';
/** Keys of the key store that are out of use and not destroyed yet. */
const RETIRED = 'retired';

export class Identity {
  readonly #deps: IdentityDeps;
  /** One own event at a time, until it is final. */
  readonly #events = new SerialQueue();
  /** Short: keys and log move together. */
  readonly #queue = new SerialQueue();
  #local: LocalKeys;
  #confirmation: Confirmation | undefined;

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
    await expectNone(deps);
    const inception = await prepareInception(deps, options);
    await submit(deps, inception.current, inception.event);
    return new Identity(deps, await settled(deps, undefined));
  }

  /**
   * Begins a delegated AID; it waits, in the own store too, until the delegator has sealed its inception.
   * @returns the signed inception, to be brought to the delegator. Throws IDENTITY_EXISTS.
   */
  static async request(
    deps: IdentityDeps,
    options: InceptionOptions & { readonly delegator: Aid },
  ): Promise<PendingEvent> {
    await expectNone(deps);
    const { event, current } = await prepareInception(deps, options);
    return makePending(deps, current, { ...event, type: 'dip', witnesses: [], threshold: 0 });
  }

  /** The own event that waits to be confirmed. */
  static pending(table: StateTable): PendingEvent | undefined {
    return table.get<PendingEvent>(PENDING);
  }

  /** Opens the identity and finishes or undoes what a crash interrupted. Throws IDENTITY_MISSING, IDENTITY_KEYS_LOST, IDENTITY_LOG_DIVERGED. */
  static async open(deps: IdentityDeps): Promise<Identity> {
    await offerPending(deps);
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

  /** The own event that is signed and waits for witnesses or the delegator. */
  get pending(): PendingEvent | undefined {
    return Identity.pending(this.#deps.table);
  }

  /** From now on receipts are asked for here. */
  confirmWith(confirmation: Confirmation): void {
    this.#confirmation = confirmation;
  }

  /**
   * Rotates to the pre-rotated keys and commits to fresh ones. @returns the new state, durable and final
   *
   * An interaction that still waits for receipts gives way to the rotation, which takes over what it seals.
   * Throws IDENTITY_AWAITS_WITNESSES, IDENTITY_AWAITS_DELEGATOR: `pending` tells whether the event was made.
   */
  rotate(change: RotationChange = {}): Promise<KeyState> {
    return this.#events.run(async () => {
      const waiting = await this.#clear({ maySupersede: true });
      const { witnessCuts = [], witnessAdds = [] } = change;
      const witnesses = [
        ...this.state.witnesses.filter((witness) => !witnessCuts.includes(witness)),
        ...witnessAdds,
      ];
      const isSameList = witnessCuts.length + witnessAdds.length === 0;
      const threshold =
        change.witnessThreshold ??
        (isSameList ? this.state.witnessThreshold : ampleWitnesses(witnesses.length));
      checkWitnessThreshold(threshold, witnesses.length);
      await this.#expectReachable(witnesses, threshold);
      const { keyStore } = this.#deps;
      const prior = this.#local;
      const rotation = await prepare(this.#deps, async (generate) => {
        const next = await generate(await this.#algorithm());
        const event = buildRotation({
          prior: this.state,
          keys: await verificationKeys(keyStore, prior.next),
          nextDigests: await nextDigests(keyStore, next),
          witnessCuts,
          witnessAdds,
          witnessThreshold: threshold,
          anchors: [...anchorsOf(waiting), ...(change.seals ?? [])],
        });
        return { event, current: prior.next, next };
      });
      const type = this.state.delegator === undefined ? 'rot' : 'drt';
      await this.#submit(prior.next, { ...rotation.event, type, witnesses, threshold });
      return this.state;
    });
  }

  /** Seals `seals` in an interaction event. @returns the event that carries them, durable and final. Throws as {@link rotate} */
  anchor(seals: readonly Seal[]): Promise<EventReference> {
    return this.#events.run(async () => {
      await this.#clear({ maySupersede: false });
      const { witnesses, witnessThreshold: threshold } = this.state;
      await this.#expectReachable(witnesses, threshold);
      const event = buildInteraction({ prior: this.state, anchors: seals });
      await this.#submit(this.#local.current, { ...event, type: 'ixn', witnesses, threshold });
      return { sn: event.sn, said: event.said };
    });
  }

  /** Tries to finish the event that waits. @returns true when none waits any more */
  async resume(): Promise<boolean> {
    return this.#events.run(async () => {
      try {
        await this.#clear({ maySupersede: false });
        return true;
      } catch (error) {
        if (isAwaiting(error)) return false;
        throw error;
      }
    });
  }

  /** Adds a receipt of an own event that came late. @returns true when it was new and right */
  async takeReceipt(receipt: Uint8Array): Promise<boolean> {
    return this.#queue.run(async () => {
      const [outcome] = await this.#deps.kel.process(receipt, {
        accepts: (aid) => aid === this.aid,
      });
      await this.#settlePending();
      return outcome?.verdict === 'accepted';
    });
  }

  /** Signs with all current keys, in the order of the log's key list. */
  sign(message: Uint8Array): Promise<readonly OwnSignature[]> {
    return this.#queue.run(async () => {
      await this.#settlePending();
      return signWith(this.#deps.keyStore, this.#local.current, message);
    });
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
      await this.#settlePending();
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

  /** Finishes what waits, so that the next event can follow it. @returns the interaction that a rotation may replace */
  async #clear({
    maySupersede,
  }: {
    readonly maySupersede: boolean;
  }): Promise<PendingEvent | undefined> {
    await this.#queue.run(() => this.#repair());
    const { pending } = this;
    if (pending === undefined) return undefined;
    try {
      await this.#finish(pending);
      return undefined;
    } catch (error) {
      if (maySupersede && isAwaiting(error) && pending.type === 'ixn') return pending;
      throw error;
    }
  }

  async #expectReachable(witnesses: readonly Aid[], threshold: number): Promise<void> {
    if (threshold === 0) return;
    if (this.#confirmation === undefined)
      throw new IdentityError(
        'IDENTITY_AWAITS_WITNESSES',
        `${threshold} of ${witnesses.length} witnesses must receipt the event, and no agent runs that could ask them`,
        { hint: 'Start the agent with `kelmesh up` and give the command again' },
      );
    try {
      await this.#confirmation.expectReachable(witnesses, threshold);
    } catch (cause) {
      throw new IdentityError('IDENTITY_AWAITS_WITNESSES', (cause as Error).message, { cause });
    }
  }

  async #submit(keys: KeySet, event: EventToConfirm): Promise<void> {
    if (event.threshold === 0 && event.witnesses.length === 0 && event.type !== 'drt') {
      await this.#queue.run(async () => {
        await submit(this.#deps, keys, event);
        if (event.type !== 'ixn') this.#local = await settled(this.#deps, this.#local);
        await this.#deps.table.put({ [PENDING]: undefined });
      });
      return;
    }
    await this.#finish(await makePending(this.#deps, keys, event));
  }

  /** Brings the event to its witnesses until it is final. Throws IDENTITY_AWAITS_…: it waits on. */
  async #finish(pending: PendingEvent): Promise<void> {
    const message = Buffer.from(pending.message, 'base64');
    let outcome = await this.#queue.run(() => this.#settlePending());
    if (outcome?.code === 'KEL_AWAITS_WITNESSES' && this.#confirmation !== undefined) {
      const { sn, said, witnesses } = pending;
      await this.#confirmation.collect({ sn, said, message }, witnesses, async (receipt) => {
        await this.takeReceipt(receipt);
        return this.pending?.said !== said;
      });
      outcome = await this.#queue.run(() => this.#settlePending());
    }
    if (outcome === undefined) return;
    throw new IdentityError(
      outcome.code === 'KEL_AWAITS_DELEGATOR'
        ? 'IDENTITY_AWAITS_DELEGATOR'
        : 'IDENTITY_AWAITS_WITNESSES',
      `own event ${pending.sn} ${pending.said} is signed and waits: ${outcome.reason}`,
    );
  }

  /** In the queue. The event that waits may have become final by what came from elsewhere. @returns what it waits for */
  async #settlePending(): Promise<MessageOutcome | undefined> {
    if (this.pending === undefined) return undefined;
    const outcome = await offerPending(this.#deps);
    if (outcome === undefined) this.#local = await settled(this.#deps, this.#local);
    return outcome;
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

/** Throws IDENTITY_EXISTS. */
async function expectNone(deps: IdentityDeps): Promise<void> {
  const local = await settle(deps, readLocal(deps));
  const aid = local?.aid ?? Identity.pending(deps.table)?.aid;
  if (aid !== undefined)
    throw new IdentityError('IDENTITY_EXISTS', `identity ${aid} is already here`);
}

function isAwaiting(error: unknown): boolean {
  return error instanceof IdentityError && error.code.startsWith('IDENTITY_AWAITS_');
}

function anchorsOf(pending: PendingEvent | undefined): readonly Seal[] {
  if (pending === undefined) return [];
  const [item] = parseStream(Buffer.from(pending.message, 'base64'));
  if (item?.type !== 'message') return [];
  return parseKeyEvent(item.body).anchors.filter(isBodyMap);
}

function prepareInception(
  deps: IdentityDeps,
  { algorithm, kind, delegator }: InceptionOptions,
): Promise<Prepared> {
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

interface EventToConfirm extends BuiltEvent {
  readonly type: KeyEvent['type'];
  readonly witnesses: readonly Aid[];
  readonly threshold: number;
}

/** Signs the event and puts it on disk: from now on it is the one event at its place. */
async function makePending(
  deps: IdentityDeps,
  keys: KeySet,
  { aid, sn, said, type, bytes, witnesses, threshold }: EventToConfirm,
): Promise<PendingEvent> {
  const message = encodeSignedEvent(bytes, await signWith(deps.keyStore, keys, bytes));
  const pending: PendingEvent = {
    aid,
    sn,
    said,
    type,
    witnesses,
    threshold,
    message: Buffer.from(message).toString('base64'),
  };
  await deps.table.put({ [PENDING]: pending });
  return pending;
}

/**
 * Puts the event that waits through the door of the own log. @returns what it waits for; undefined when none waits
 * any more. Throws IDENTITY_EVENT_REFUSED when it can never be accepted; it is given up then.
 */
async function offerPending(deps: IdentityDeps): Promise<MessageOutcome | undefined> {
  const pending = Identity.pending(deps.table);
  if (pending === undefined) return undefined;
  const [outcome] = await deps.kel.process(Buffer.from(pending.message, 'base64'));
  if (outcome?.verdict === 'waiting') return outcome;
  if (outcome?.verdict === 'refused') {
    await deps.table.put({ [PENDING]: undefined });
    // The own rotation took its place, and what it seals.
    if (outcome.code === 'KEL_SUPERSEDED') return undefined;
    throw new IdentityError(
      'IDENTITY_EVENT_REFUSED',
      `event ${pending.said}: ${outcome.code} ${outcome.reason}`,
    );
  }
  // The keys first: a crash in between finds the event in the log and settles again.
  await settle(deps, readLocal(deps));
  await deps.table.put({ [PENDING]: undefined });
  return undefined;
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
  readonly event: BuiltEvent;
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
  const pending = Identity.pending(deps.table);
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
  if (!happened && Identity.pending(deps.table)?.said === intent.said) return local;
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

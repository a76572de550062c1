/**
 * The own identity: makes the events of the own log and the records under it, with keys that stay in
 * the key store.
 */
import type { IndexedSignatureInput } from '#kel/cesr/indexer';
import { carriedWitnessThreshold } from '#kel/event/defaults';
import { checkWitnessThreshold } from '#kel/event/fields';
import { buildInteraction } from '#kel/event/interaction';
import { buildRotation } from '#kel/event/rotation';
import type { Seal } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import type { SignatureGroup } from '#kel/record/attachment';
import { buildRecord, encodeSignedRecord, type Grown } from '#kel/record/build';
import type { RecordFields, RecordType } from '#kel/record/record';
import type { Clock } from '#src/clock';
import { formatDateTime } from '#src/clock';
import { type KekPurpose, kekLabel, mlKemLabel, wireguardLabel } from '#src/crypto/labels';
import { KeyStoreError } from '#src/keystore/errors';
import type { SigningAlgorithm } from '#src/keystore/key-store';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import type { StateTable } from '#src/store/state-table';
import { IdentityError } from './errors.ts';
import { rememberFirst } from './foreign-events.ts';
import { expectNone, type InceptionOptions, prepareInception } from './inception.ts';
import { checkHeld, checkNamed } from './key-check.ts';
import { salvageKeys } from './key-salvage.ts';
import { destroyRetired, type OwnKeysDeps, prepare, settled } from './key-succession.ts';
import {
  INTENT,
  type KeySet,
  LOCAL_KEYS,
  type LocalKeys,
  type PendingEvent,
  publicKeys,
  readLocalKeys,
  readPending,
} from './local-keys.ts';
import { anchorsOf, makePending, offerPending, submit } from './own-event.ts';
import { type Confirmation, isAwaiting, OwnLog } from './own-log.ts';
import { nextDigests, type OwnSignature, signWith, verificationKeys } from './own-signature.ts';

export interface IdentityDeps extends OwnKeysDeps {
  readonly clock: Clock;
  readonly rng: Rng;
}

/** What changes with a rotation besides the keys. */
export interface RotationOptions {
  readonly seals?: readonly Seal[];
  readonly witnessCuts?: readonly Aid[];
  readonly witnessAdds?: readonly Aid[];
  /** Default: as before, or ample when the list changes. */
  readonly witnessThreshold?: number;
  /**
   * Events of the log that were not made here are of this organisation: they stay, and the rotation follows them, with next
   * keys that may be other ones than are remembered. Default: it follows the last event that was made here.
   */
  readonly adopt?: boolean;
}

/** A record with the own signature group, ready to store or send. */
export interface SignedRecord {
  readonly said: Said;
  readonly message: Uint8Array;
}

export class Identity {
  readonly #deps: IdentityDeps;
  readonly #log: OwnLog;

  private constructor(deps: IdentityDeps, local: LocalKeys) {
    this.#deps = deps;
    this.#log = new OwnLog(deps, local);
  }

  /** True when the state directory holds an identity, or the beginning of one. */
  static exists(table: StateTable): boolean {
    return table.get(LOCAL_KEYS) !== undefined || table.get(INTENT) !== undefined;
  }

  /** The own AID, also of a log that has no event yet; undefined without keys of it. */
  static aidOf(table: StateTable): Aid | undefined {
    return readLocalKeys(table)?.aid ?? readPending(table)?.aid;
  }

  /** Incepts a new AID: one key, its successor committed to by digest. Throws IDENTITY_EXISTS. */
  static async create(deps: IdentityDeps, options: InceptionOptions): Promise<Identity> {
    await expectNone(deps);
    const inception = await prepareInception(deps, options);
    await submit(deps, inception.current, inception.event);
    const identity = new Identity(deps, await settled(deps, undefined));
    await rememberFirst(deps.table, identity.state);
    await identity.#log.confirmNewest();
    return identity;
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
    return readPending(table);
  }

  /**
   * Opens the identity and finishes or undoes what a crash interrupted. Throws IDENTITY_MISSING, IDENTITY_KEYS_LOST,
   * IDENTITY_CURRENT_KEYS_LOST, IDENTITY_NEXT_KEYS_LOST, IDENTITY_LOG_DIVERGED.
   */
  static async open(deps: IdentityDeps): Promise<Identity> {
    await offerPending(deps);
    const identity = new Identity(deps, await settled(deps, readLocalKeys(deps.table)));
    await destroyRetired(deps);
    await checkHeld(deps.keyStore, identity.#log.keys);
    await checkNamed(deps.keyStore, identity.state, identity.#log.keys);
    await rememberFirst(deps.table, identity.state);
    await identity.#log.compareStores();
    return identity;
  }

  /**
   * Opens an identity whose key store lacks keys, or remembers others than the log names, by a rotation to the next keys: it
   * needs nothing else. Throws IDENTITY_MISSING, IDENTITY_NEXT_KEYS_LOST, and as {@link rotate}.
   * @param log the own log as a member holds it, taken in first; attacker-controlled
   */
  static async recover(
    deps: IdentityDeps,
    change: RotationOptions,
    log: Uint8Array = new Uint8Array(0),
  ): Promise<Identity> {
    await offerPending(deps);
    const local = await settled(deps, readLocalKeys(deps.table));
    const identity = new Identity(deps, local);
    await rememberFirst(deps.table, identity.state);
    await deps.kel.process(log, { accepts: (aid) => aid === local.aid });
    await identity.rotate(change);
    return identity;
  }

  get aid(): Aid {
    return this.#log.keys.aid;
  }

  get state(): KeyState {
    return this.#log.state;
  }

  /** The log holds events that were not made here: nothing but a rotation follows them. */
  get hasForeignEvents(): boolean {
    return this.#log.hasForeignEvents;
  }

  /** The own event that is signed and waits for witnesses or the delegator. */
  get pending(): PendingEvent | undefined {
    return this.#log.pending;
  }

  /** From now on receipts are asked for here. */
  confirmWith(confirmation: Confirmation): void {
    this.#log.confirmWith(confirmation);
  }

  /** Why own events wait for the word of a member or the operator; undefined when nothing is known against them. */
  get stepBack(): string | undefined {
    return this.#log.stepBack;
  }

  /** What other stores say against this event store. Own events wait until a member was asked, or the operator confirms. */
  doubt(why: string): Promise<void> {
    return this.#log.doubt(why);
  }

  /** The operator's word that no later own event than this store's exists. @returns what was known against it */
  confirmNewest(): Promise<string | undefined> {
    return this.#log.confirmNewest();
  }

  /** From now on `expectNewest` is asked before an own event is made: it rejects while others may hold a later one; true: a member was asked. */
  compareWith(expectNewest: () => Promise<boolean>): void {
    this.#log.compareWith(expectNewest);
  }

  /**
   * Rotates to the pre-rotated keys and commits to fresh ones. @returns the new state, durable and final
   *
   * An interaction that still waits for receipts gives way to the rotation, which takes over what it seals. So do
   * interactions that were not made here, with all that they seal, unless they are adopted.
   * Throws IDENTITY_AWAITS_WITNESSES, IDENTITY_AWAITS_DELEGATOR: `pending` tells whether the event was made.
   * Throws IDENTITY_NEXT_KEYS_LOST, IDENTITY_LOG_DIVERGED.
   */
  rotate(change: RotationOptions = {}): Promise<KeyState> {
    return this.#log.make(async () => {
      const waiting = await this.#log.clear({ maySupersede: true });
      const { sn, said } = change.adopt === true ? this.state : await this.#log.lastOwn();
      const after = { sn, said };
      const { witnessCuts = [], witnessAdds = [] } = change;
      const witnesses = [
        ...this.state.witnesses.filter((witness) => !witnessCuts.includes(witness)),
        ...witnessAdds,
      ];
      const threshold =
        change.witnessThreshold ?? carriedWitnessThreshold(this.state, witnesses.length);
      checkWitnessThreshold(threshold, witnesses.length);
      await this.#log.expectReachable(witnesses, threshold);
      const { keyStore } = this.#deps;
      const prior = await this.#log.takeKeys((local) => salvageKeys(this.#deps, local, this.state));
      const rotation = await prepare(this.#deps, async (generate) => {
        const next = await generate(await this.#algorithmOf(prior.next));
        const event = buildRotation({
          prior: this.state,
          after,
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
      const event = { ...rotation.event, type, witnesses, threshold } as const;
      await this.#log.submit(prior.next, event, after);
      return this.state;
    });
  }

  /** Seals `seals` in an interaction event. @returns the event that carries them, durable and final. Throws as {@link rotate} */
  anchor(seals: readonly Seal[]): Promise<EventReference> {
    return this.#log.make(async () => {
      await this.#log.clear({ maySupersede: false });
      const { witnesses, witnessThreshold: threshold } = this.#log.expectOwn();
      await this.#log.expectReachable(witnesses, threshold);
      const prior = this.#log.expectOwn();
      const event = { ...buildInteraction({ prior, anchors: seals }), type: 'ixn' } as const;
      await this.#log.submit(this.#log.keys.current, { ...event, witnesses, threshold }, prior);
      return { sn: event.sn, said: event.said };
    });
  }

  /** Tries to finish the event that waits. @returns true when none waits any more */
  async resume(): Promise<boolean> {
    return this.#log.write(async () => {
      try {
        await this.#log.clear({ maySupersede: false });
        return true;
      } catch (error) {
        if (isAwaiting(error)) return false;
        throw error;
      }
    });
  }

  /** Adds a receipt of an own event that came late. @returns true when it was new and right */
  takeReceipt(receipt: Uint8Array): Promise<boolean> {
    return this.#log.takeReceipt(receipt);
  }

  /**
   * Writes the next keys, and their root, into a key store file of its own: all that a rotation needs.
   * @param file must not be there  @returns how many keys. Throws KEYSTORE_UNSUPPORTED, KEYSTORE_EXISTS, KEYSTORE_IO
   */
  backUpNextKeys(file: string): Promise<number> {
    return this.#log.withKeys(async ({ next }) => {
      const ids = [...next.signing, next.root];
      const { keyStore } = this.#deps;
      if (keyStore.backUp === undefined)
        throw new KeyStoreError(
          'KEYSTORE_UNSUPPORTED',
          `the keys in ${keyStore.description.location} never leave it`,
          {
            hint: "Back the token up by its own means: its vendor's tool, or for SoftHSM its directory",
          },
        );
      await keyStore.backUp(ids, file);
      return ids.length;
    });
  }

  /** Signs with all current keys, in the order of the log's key list. */
  sign(message: Uint8Array): Promise<readonly OwnSignature[]> {
    return this.#log.withKeys(({ current }) => signWith(this.#deps.keyStore, current, message));
  }

  /** A signed record of the own AID under the current establishment event; of version 2 with `extensions`. */
  async record<T extends RecordType>(
    type: T,
    fields: RecordFields[T],
    grown: Grown<T> = {},
  ): Promise<SignedRecord> {
    const { clock, rng } = this.#deps;
    const { bytes, said } = buildRecord(type, {
      aid: this.aid,
      salt: rng.bytes(16),
      dt: formatDateTime(clock.now()),
      fields,
      ...grown,
    });
    return { said, message: encodeSignedRecord(bytes, [await this.signerGroup(bytes)]) };
  }

  /** The own `-F` group over `bytes`. */
  signerGroup(bytes: Uint8Array): Promise<SignatureGroup<IndexedSignatureInput>> {
    // With the keys: a rotation between the two would name one event and sign with the keys of another.
    return this.#log.withKeys(async ({ current }) => {
      const { sn, said } = this.state.establishment;
      const signatures = await signWith(this.#deps.keyStore, current, bytes);
      return { aid: this.aid, sn, said, signatures };
    });
  }

  /** Secrets of the tunnel keys of `epoch`, from the root of `establishment` (current or last). */
  async tunnelSecrets(
    establishment: Said,
    epoch: number,
  ): Promise<{ wireguard: Secret; mlKem: Secret }> {
    const root = this.#log.keys.roots.find((entry) => entry.establishment === establishment)?.root;
    if (root === undefined) {
      throw new IdentityError(
        'IDENTITY_KEYS_LOST',
        `no derivation root for establishment event ${establishment}`,
      );
    }
    const { keyStore } = this.#deps;
    using onFailure = new DisposableStack();
    const wireguard = onFailure.use(await keyStore.prf(root, wireguardLabel(this.aid, epoch), 32));
    const mlKem = await keyStore.prf(root, mlKemLabel(this.aid, epoch), 64);
    onFailure.move();
    return { wireguard, mlKem };
  }

  /** 32 bytes. */
  storageKey(purpose: KekPurpose): Promise<Secret> {
    return this.#deps.keyStore.prf(this.#log.keys.storageRoot, kekLabel(purpose), 32);
  }

  async #algorithmOf(keys: KeySet): Promise<SigningAlgorithm> {
    const [first] = await publicKeys(this.#deps.keyStore, keys);
    return first?.algorithm ?? 'ed25519';
  }
}

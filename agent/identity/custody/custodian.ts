/**
 * A custodian: keys in a key store of its own, and the rule that it signs one event at each place of a log.
 *
 * Order of every signature: the event is remembered on disk, then signed, then given out. A crash in between
 * lets the same event be signed again, and no other.
 */
import { keyDigest } from '#kel/event/key-digest';
import type { VerificationKey } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { VerifySignature } from '#kel/state/key-signatures';
import { LogVerifier } from '#kel/verify/log-verifier';
import type { AtomicFileSteps } from '#src/files/atomic-file';
import { FileLock } from '#src/keystore/file-lock';
import type { KeyId, KeyStore, SigningAlgorithm } from '#src/keystore/key-store';
import { type CustodianCard, makeCard, verificationKeyOf } from './card.ts';
import {
  type CustodianState,
  readCustodian,
  remembered,
  writeCustodian,
} from './custodian-file.ts';
import { CustodyError } from './errors.ts';
import { type CustodianSignature, type Proposal, withSignatures } from './proposal.ts';
import { eventName, type Review, stateOfLog } from './review.ts';

export interface CustodianDeps {
  readonly keyStore: KeyStore;
  /** The custodian's file, in the state directory. */
  readonly path: string;
  readonly verifySignature: VerifySignature;
  readonly steps?: AtomicFileSteps;
}

export interface SigningOptions {
  /** Sign although nothing in the file tells what a seal commits to. */
  readonly allowUnknownSeals?: boolean;
  /** SAID of the event that was signed for the same place before and never will be submitted. */
  readonly insteadOf?: string | undefined;
}

export class Custodian implements AsyncDisposable {
  readonly #deps: CustodianDeps;
  readonly #lock: FileLock;
  #state: CustodianState;

  private constructor(deps: CustodianDeps, lock: FileLock, state: CustodianState) {
    this.#deps = deps;
    this.#lock = lock;
    this.#state = state;
  }

  /** Makes the current and the next key. Throws CUSTODY_EXISTS, KEYSTORE_… */
  static async create(
    deps: CustodianDeps,
    { name, algorithm }: { readonly name: string; readonly algorithm: SigningAlgorithm },
  ): Promise<{ readonly custodian: Custodian; readonly card: CustodianCard }> {
    const { keyStore, path } = deps;
    const lock = await FileLock.acquire(`${path}.lock`);
    const made: KeyId[] = [];
    try {
      const existing = await readCustodian(path);
      if (existing !== undefined)
        throw new CustodyError('CUSTODY_EXISTS', `${path} is that of custodian ${existing.name}`);
      for (let i = 0; i < 2; i++) made.push((await keyStore.generateSigningKey(algorithm)).id);
      const [key, next] = made as [KeyId, KeyId];
      const card = await makeCard(keyStore, { name, key, next });
      const state: CustodianState = { name, keys: made, signed: [], seen: [] };
      await writeCustodian(path, state, deps.steps);
      return { custodian: new Custodian(deps, lock, state), card };
    } catch (error) {
      // Once the file names them they stay: a write that failed may be on disk all the same.
      if ((await readCustodian(path).catch(() => null)) === undefined)
        for (const id of made) await keyStore.destroy(id).catch(() => undefined);
      await lock.release();
      throw error;
    }
  }

  /** Throws CUSTODY_MISSING, CUSTODY_MALFORMED, KEYSTORE_LOCKED */
  static async open(deps: CustodianDeps): Promise<Custodian> {
    const lock = await FileLock.acquire(`${deps.path}.lock`);
    try {
      const state = await readCustodian(deps.path);
      if (state === undefined)
        throw new CustodyError('CUSTODY_MISSING', `${deps.path} does not exist`);
      return new Custodian(deps, lock, state);
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  get name(): string {
    return this.#state.name;
  }

  /**
   * The card for a rotation: the key that the log commits to comes into the open, and the digest of the one after it
   * takes its place. The same card until that rotation is in the log.
   * @param log of the organisation as it stands. Throws CUSTODY_LOG_NEEDED, CUSTODY_STALE, CUSTODY_NOT_A_SIGNER, CUSTODY_BAD_PROPOSAL
   */
  async nextCard(log?: Uint8Array): Promise<CustodianCard> {
    const at = log === undefined ? this.#nextByMemory() : await this.#nextByLog(log);
    if (at === this.#state.keys.length - 1) await this.#append();
    const [key, next] = this.#state.keys.slice(at) as [KeyId, KeyId];
    return makeCard(this.#deps.keyStore, { name: this.name, key, next });
  }

  /** All own public keys. */
  async keys(): Promise<ReadonlyMap<VerificationKey, KeyId>> {
    const found = new Map<VerificationKey, KeyId>();
    for (const id of this.#state.keys)
      found.set(await verificationKeyOf(this.#deps.keyStore, id), id);
    return found;
  }

  /** Throws CUSTODY_NOT_A_SIGNER, CUSTODY_STALE, CUSTODY_SIGNED_OTHER, CUSTODY_UNEXPLAINED_SEALS */
  async expectSignable(
    review: Review,
    { allowUnknownSeals = false, insteadOf }: SigningOptions = {},
  ): Promise<void> {
    await this.#signersOf(review);
    const { event, proposal, prior, unexplained } = review;
    if (prior !== undefined) this.#expectNotStale(proposal.log, prior);
    const other = this.#state.signed.find(
      ({ aid, sn, said }) => aid === event.aid && sn === event.sn && said !== event.said,
    );
    if (other !== undefined && insteadOf !== other.said)
      throw new CustodyError(
        'CUSTODY_SIGNED_OTHER',
        `${eventName(review)} was signed here already as ${other.said}, this one is ${event.said}`,
      );
    if (unexplained.length > 0 && !allowUnknownSeals)
      throw new CustodyError(
        'CUSTODY_UNEXPLAINED_SEALS',
        `${unexplained.length} of ${event.anchors.length} seals of ${eventName(review)} commit to what is not in the file`,
      );
  }

  /**
   * Signs the event of a reviewed proposal, which its custodian has agreed to, with every own key that it names.
   * Throws as {@link expectSignable}; nothing is signed then.
   */
  async sign(review: Review, options: SigningOptions = {}): Promise<Proposal> {
    await this.expectSignable(review, options);
    const { event, proposal, prior } = review;
    const { aid, sn, said } = event;
    if (prior !== undefined) await this.#saw(prior);
    await this.#write({
      ...this.#state,
      signed: remembered(this.#state.signed, { aid, sn, said }),
    });
    const added: CustodianSignature[] = [];
    for (const { index, id } of await this.#signersOf(review))
      added.push({ index, signature: await this.#deps.keyStore.sign(id, proposal.event) });
    return withSignatures(proposal, added);
  }

  /** The own keys among those that can sign. Throws CUSTODY_NOT_A_SIGNER */
  async #signersOf(
    review: Review,
  ): Promise<readonly { readonly index: number; readonly id: KeyId }[]> {
    const own = await this.keys();
    const found = review.signers.flatMap(({ index, key }) => {
      const id = own.get(key);
      return id === undefined ? [] : [{ index, id }];
    });
    if (found.length === 0)
      throw new CustodyError(
        'CUSTODY_NOT_A_SIGNER',
        `${eventName(review)} names none of the keys of custodian ${this.name}`,
      );
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock.release();
  }

  /** Throws CUSTODY_STALE unless the log holds what was seen before. */
  #expectNotStale(log: Uint8Array, state: KeyState): void {
    const seen = this.#state.seen.find(({ aid }) => aid === state.aid);
    if (seen === undefined) return;
    const verifier = new LogVerifier(this.#deps.verifySignature);
    verifier.feed(log);
    verifier.finish();
    if (verifier.establishment(seen.aid, seen.sn, seen.said) === undefined)
      throw new CustodyError(
        'CUSTODY_STALE',
        `the log ends with event ${state.sn} and does not hold event ${seen.sn} ${seen.said}, which was seen before`,
      );
  }

  /** Remembers how far the log goes. Own keys from before the one in force are not needed any more. */
  async #saw({ aid, sn, keys, establishment }: KeyState): Promise<void> {
    const own = await this.keys();
    const inForce = [...own.keys()].findIndex((key) => keys.includes(key));
    const kept = this.#state.keys.slice(Math.max(0, inForce));
    const retired = this.#state.keys.filter((id) => !kept.includes(id));
    await this.#write({
      ...this.#state,
      keys: kept,
      signed: this.#state.signed.filter((entry) => entry.aid !== aid || entry.sn > sn),
      seen: remembered(
        this.#state.seen.filter((entry) => entry.aid !== aid),
        { aid, sn: establishment.sn, said: establishment.said },
      ),
    });
    for (const id of retired) await this.#deps.keyStore.destroy(id);
  }

  #nextByMemory(): number {
    const [signed] = this.#state.signed;
    if (this.#state.keys.length > 2 && signed !== undefined)
      throw new CustodyError(
        'CUSTODY_LOG_NEEDED',
        `whether event ${signed.sn} of ${signed.aid}, which was signed here, is in the log decides over the card`,
      );
    return Math.max(1, this.#state.keys.length - 2);
  }

  async #nextByLog(log: Uint8Array): Promise<number> {
    const state = stateOfLog(log, this.#deps.verifySignature);
    this.#expectNotStale(log, state);
    const at = [...(await this.keys()).keys()].findLastIndex((key) =>
      state.nextDigests.includes(keyDigest(key)),
    );
    if (at === -1)
      throw new CustodyError(
        'CUSTODY_NOT_A_SIGNER',
        `event ${state.establishment.sn} of ${state.aid} commits to none of the keys of custodian ${this.name}`,
        {
          hint: 'Come back as a new custodian: `kelmesh id custodian init` in another state directory',
        },
      );
    return at;
  }

  /** One more key, committed to by the card that is made next. */
  async #append(): Promise<void> {
    const { keyStore, path } = this.#deps;
    const last = this.#state.keys.at(-1) as KeyId;
    const { algorithm } = await keyStore.signingKey(last);
    const { id } = await keyStore.generateSigningKey(algorithm);
    try {
      await this.#write({ ...this.#state, keys: [...this.#state.keys, id] });
    } catch (error) {
      // What a failed write left on disk decides, and where that cannot be read the key stays.
      const written = await readCustodian(path).catch(() => undefined);
      if (written?.keys.includes(id) === false) await keyStore.destroy(id);
      throw error;
    }
  }

  async #write(state: CustodianState): Promise<void> {
    await writeCustodian(this.#deps.path, state, this.#deps.steps);
    this.#state = state;
  }
}

/** What the two roles of the agreement share: the order of steps, the secrets to wipe, signing and checking. */
import { CryptoError } from '#src/crypto/errors';
import type { PairRole } from '#src/crypto/labels';
import { Secret } from '#src/secret';
import type { Agreement, AgreementDeps, AgreementEnds } from './agreement.ts';
import { startChain } from './chain.ts';
import { AgreementError } from './errors.ts';
import { isSignatureList, type KeyConfirmation } from './messages.ts';
import { type AgreementPolicy, checkPolicy } from './policy.ts';
import { type PairTerms, pairOf, roleOf } from './terms.ts';
import {
  type AgreementKeys,
  confirmationMac,
  deriveKeys,
  isConfirmedBy,
  signedDigest,
} from './transcript.ts';

/** `ready` for the first own step, `waiting` for the peer's answer, `busy` within a step, `closed` for good. */
type State = 'ready' | 'waiting' | 'busy' | 'closed';

type Contributions = Parameters<typeof deriveKeys>[2];

export class Session implements Disposable {
  readonly terms: PairTerms;
  readonly view: AgreementEnds;
  readonly deps: AgreementDeps;
  readonly #role: PairRole;
  readonly #secrets = new DisposableStack();
  #state: State = 'ready';

  /** @throws AGREEMENT_WRONG_ROLE, AGREEMENT_POLICY, AGREEMENT_CONTRIBUTION */
  constructor(role: PairRole, deps: AgreementDeps, view: AgreementEnds, policy: AgreementPolicy) {
    const { local, peer } = view;
    if (roleOf(local.aid, peer.aid) !== role) {
      throw new AgreementError(
        'AGREEMENT_WRONG_ROLE',
        `${local.aid} is not the ${role} towards ${peer.aid}`,
      );
    }
    checkPolicy(policy);
    const { contributions, epochSeconds, baseEpoch } = policy;
    this.terms = {
      ...pairOf(view.mesh, local, peer),
      policy: { contributions: [...contributions], epochSeconds, baseEpoch },
    };
    this.view = view;
    this.deps = deps;
    this.#role = role;
  }

  /** Begins a step. @throws AGREEMENT_WRONG_STATE */
  enter(expected: 'ready' | 'waiting'): void {
    if (this.#state !== expected) throw this.#wrongState(expected);
    this.#state = 'busy';
  }

  /** Ends a step that the peer answers. @throws AGREEMENT_WRONG_STATE when the session was closed meanwhile */
  wait(): void {
    this.#assertBusy();
    this.#state = 'waiting';
  }

  /** Ends the last step: the peer is confirmed. @throws AGREEMENT_WRONG_STATE when the session was closed meanwhile */
  conclude(th: Uint8Array, root: Secret): Agreement {
    this.#assertBusy();
    const { policy, ...pair } = this.terms;
    const agreement = { th, pair, ...policy, chain: startChain(root) };
    this[Symbol.dispose]();
    return agreement;
  }

  /** Closes the session. @returns what to throw */
  fail(error: unknown): unknown {
    this[Symbol.dispose]();
    if (!(error instanceof CryptoError)) return error;
    return new AgreementError(
      'AGREEMENT_BAD_KEY',
      `key from ${this.view.peer.aid}: ${error.message}`,
      { cause: error },
    );
  }

  /** Takes `bytes` as a secret of this session, wiped when it closes. */
  take(bytes: Uint8Array): Secret {
    return this.hold(Secret.take(bytes));
  }

  hold(secret: Secret): Secret {
    return this.#secrets.use(secret);
  }

  derive(th: Uint8Array, contributions: Contributions): AgreementKeys {
    const keys = deriveKeys(th, this.terms.policy.contributions, contributions);
    this.hold(keys.root);
    this.hold(keys.confirmation);
    return keys;
  }

  /** The own signatures and MAC. @throws AGREEMENT_OWN_SIGNATURE */
  async confirm(th: Uint8Array, keys: AgreementKeys): Promise<KeyConfirmation> {
    const { aid, keys: ownKeys, signingThreshold } = this.view.local;
    const message = signedDigest(this.#role, th);
    const mac = confirmationMac(keys.confirmation, this.#role);
    const signatures = await this.view.local.sign(message);
    if (
      !isSignatureList(signatures) ||
      !this.deps.verifySignature(ownKeys, signingThreshold, message, signatures)
    ) {
      throw new AgreementError(
        'AGREEMENT_OWN_SIGNATURE',
        `${signatures.length} signatures of ${aid} do not satisfy its threshold`,
      );
    }
    return { signatures, mac };
  }

  /** The peer's signatures and MAC. @throws AGREEMENT_BAD_SIGNATURE, AGREEMENT_BAD_MAC */
  check(th: Uint8Array, keys: AgreementKeys, { signatures, mac }: KeyConfirmation): void {
    const { aid, keys: peerKeys, signingThreshold } = this.view.peer;
    const role = this.#role === 'initiator' ? 'responder' : 'initiator';
    const isKnown = signatures.every(({ index }) => index < peerKeys.length);
    if (
      !isKnown ||
      !this.deps.verifySignature(peerKeys, signingThreshold, signedDigest(role, th), signatures)
    ) {
      throw new AgreementError(
        'AGREEMENT_BAD_SIGNATURE',
        `${signatures.length} signatures do not satisfy the threshold of ${role} ${aid}`,
      );
    }
    if (!isConfirmedBy(keys.confirmation, role, mac)) {
      throw new AgreementError('AGREEMENT_BAD_MAC', `confirmation of ${role} ${aid}: another key`);
    }
  }

  [Symbol.dispose](): void {
    this.#state = 'closed';
    this.#secrets.dispose();
  }

  /** A step that waited for the token must not go on with secrets that were wiped meanwhile. */
  #assertBusy(): void {
    if (this.#state !== 'busy') throw this.#wrongState('busy');
  }

  #wrongState(expected: State): AgreementError {
    return new AgreementError(
      'AGREEMENT_WRONG_STATE',
      `${this.#role}: expected to be ${expected}, is ${this.#state}`,
    );
  }
}

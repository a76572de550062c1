/**
 * The two ends of the agreement (DESIGN 5) as state machines over bytes: no clock, no stream.
 *
 *   I                                          R
 *   start()             ── message 1 ──▶       receive1()
 *   receive2()          ◀── message 2 ──
 *                       ── message 3 ──▶       receive3()
 *
 * Each runs once. Anything out of order, malformed, or not confirmed throws and wipes every secret of the
 * session; nothing derived leaves a machine before the other end is confirmed.
 *
 * The steps are those of the Verifpal model, where Alice initiates and Bob responds:
 *
 *   model                              here
 *   x, gx · y, gy                      x25519 of either end
 *   dke, eke                           ephemeralSeed, ephemeralKem
 *   ssb, ctb (decapsulated: ssb_b)     responderSecret, ctResponder; contribution ml-kem-1024-responder
 *   ssa, cta (ssa_a)                   initiatorSecret, ctInitiator; contribution ml-kem-1024-initiator
 *   sse, cte (sse_a)                   ephemeralSecret, ctEphemeral; contribution ml-kem-1024-ephemeral
 *   dh_a, dh_b                         contribution x25519
 *   th_a, th_b · root, kc              transcriptHash · Session.derive
 *   sigb, macb · siga, maca            Session.confirm in receive1 · in receive2
 *   SIGNVERIF and ASSERT of each end   Session.check in receive2 · in receive3
 *   chain0                             Session.conclude
 */

import { ML_KEM_1024_SEED_LENGTH } from '#src/crypto/lengths';
import { type X25519KeyPair, x25519KeyPair, x25519SharedSecret } from '#src/crypto/x25519';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import type { Agreement, AgreementDeps, AgreementEnds } from './agreement.ts';
import {
  decodeMessage1,
  decodeMessage2,
  decodeMessage3,
  encodeMessage1,
  encodeMessage2,
  encodeMessage2Head,
  encodeMessage3,
} from './messages.ts';
import type { AgreementPolicy } from './policy.ts';
import { Session } from './session.ts';
import type { PairTerms } from './terms.ts';
import { type AgreementKeys, transcriptHash } from './transcript.ts';

const X25519_KEY_LENGTH = 32;

/** What the initiator keeps until message 2. */
interface Sent {
  readonly message1: Uint8Array;
  /** x */
  readonly x25519: Secret;
  /** dke */
  readonly ephemeralSeed: Secret;
  /** ss_r */
  readonly responderSecret: Secret;
}

/** What the responder keeps until message 3. */
interface Derived {
  readonly th: Uint8Array;
  readonly keys: AgreementKeys;
}

/** The end with the lower AID. */
export class Initiator implements Disposable {
  readonly #session: Session;
  #sent: Sent | undefined;

  /** @throws AGREEMENT_WRONG_ROLE, AGREEMENT_POLICY, AGREEMENT_CONTRIBUTION */
  constructor(deps: AgreementDeps, view: AgreementEnds, policy: AgreementPolicy) {
    this.#session = new Session('initiator', deps, view, policy);
  }

  get terms(): PairTerms {
    return this.#session.terms;
  }

  /** @returns message 1  @throws AGREEMENT_WRONG_STATE, AGREEMENT_BAD_KEY for the peer's record */
  start(): Uint8Array {
    const session = this.#session;
    try {
      session.enter('ready');
      const { suite, rng } = session.deps;
      const x25519 = freshX25519(rng);
      session.hold(x25519.privateKey);
      const ephemeralSeed = session.take(rng.bytes(ML_KEM_1024_SEED_LENGTH));
      const toResponder = suite.mlKem1024.encapsulate(session.view.peer.mlKemPublicKey);
      const responderSecret = session.take(toResponder.sharedSecret);
      const message1 = encodeMessage1({
        x25519: x25519.publicKey,
        ephemeralKem: suite.mlKem1024.publicKey(ephemeralSeed.expose()),
        ctResponder: toResponder.ciphertext,
      });
      this.#sent = { message1, x25519: x25519.privateKey, ephemeralSeed, responderSecret };
      session.wait();
      return message1;
    } catch (error) {
      throw session.fail(error);
    }
  }

  /**
   * The responder is confirmed when this resolves; whether it got message 3 is for the caller to learn.
   * @throws AGREEMENT_WRONG_STATE, AGREEMENT_BAD_MESSAGE, AGREEMENT_BAD_KEY, AGREEMENT_BAD_SIGNATURE, AGREEMENT_BAD_MAC, AGREEMENT_OWN_SIGNATURE
   */
  async receive2(
    bytes: Uint8Array,
  ): Promise<{ readonly message3: Uint8Array; readonly agreement: Agreement }> {
    const session = this.#session;
    try {
      session.enter('waiting');
      const { terms, view, deps } = session;
      const sent = this.#sent as Sent;
      const message2 = decodeMessage2(bytes);
      const { mlKem1024 } = deps.suite;
      const th = transcriptHash(terms, sent.message1, encodeMessage2Head(message2));
      const keys = session.derive(th, {
        'ml-kem-1024-responder': sent.responderSecret,
        'ml-kem-1024-initiator': session.take(
          mlKem1024.decapsulate(message2.ctInitiator, view.local.mlKemSeed.expose()),
        ),
        'ml-kem-1024-ephemeral': session.take(
          mlKem1024.decapsulate(message2.ctEphemeral, sent.ephemeralSeed.expose()),
        ),
        x25519: session.take(x25519SharedSecret(sent.x25519.expose(), message2.x25519)),
      });
      session.check(th, keys, message2);
      const message3 = encodeMessage3(await session.confirm(th, keys));
      return { message3, agreement: session.conclude(th, keys.root) };
    } catch (error) {
      throw session.fail(error);
    }
  }

  [Symbol.dispose](): void {
    this.#session[Symbol.dispose]();
  }
}

/** The end with the higher AID. */
export class Responder implements Disposable {
  readonly #session: Session;
  #derived: Derived | undefined;

  /** @throws AGREEMENT_WRONG_ROLE, AGREEMENT_POLICY, AGREEMENT_CONTRIBUTION */
  constructor(deps: AgreementDeps, view: AgreementEnds, policy: AgreementPolicy) {
    this.#session = new Session('responder', deps, view, policy);
  }

  /** @returns message 2  @throws AGREEMENT_WRONG_STATE, AGREEMENT_BAD_MESSAGE, AGREEMENT_BAD_KEY, AGREEMENT_OWN_SIGNATURE */
  async receive1(bytes: Uint8Array): Promise<Uint8Array> {
    const session = this.#session;
    try {
      session.enter('ready');
      const { terms, view, deps } = session;
      const message1 = decodeMessage1(bytes);
      const { mlKem1024 } = deps.suite;
      const x25519 = freshX25519(deps.rng);
      session.hold(x25519.privateKey);
      const toInitiator = mlKem1024.encapsulate(view.peer.mlKemPublicKey);
      const initiatorSecret = session.take(toInitiator.sharedSecret);
      const toEphemeral = mlKem1024.encapsulate(message1.ephemeralKem);
      const ephemeralSecret = session.take(toEphemeral.sharedSecret);
      const head = {
        x25519: x25519.publicKey,
        ctInitiator: toInitiator.ciphertext,
        ctEphemeral: toEphemeral.ciphertext,
      };
      const th = transcriptHash(terms, bytes, encodeMessage2Head(head));
      const keys = session.derive(th, {
        'ml-kem-1024-responder': session.take(
          mlKem1024.decapsulate(message1.ctResponder, view.local.mlKemSeed.expose()),
        ),
        'ml-kem-1024-initiator': initiatorSecret,
        'ml-kem-1024-ephemeral': ephemeralSecret,
        x25519: session.take(x25519SharedSecret(x25519.privateKey.expose(), message1.x25519)),
      });
      const message2 = encodeMessage2({ ...head, ...(await session.confirm(th, keys)) });
      this.#derived = { th, keys };
      session.wait();
      return message2;
    } catch (error) {
      throw session.fail(error);
    }
  }

  /** @throws AGREEMENT_WRONG_STATE, AGREEMENT_BAD_MESSAGE, AGREEMENT_BAD_SIGNATURE, AGREEMENT_BAD_MAC */
  async receive3(bytes: Uint8Array): Promise<Agreement> {
    const session = this.#session;
    try {
      session.enter('waiting');
      const { th, keys } = this.#derived as Derived;
      session.check(th, keys, decodeMessage3(bytes));
      return session.conclude(th, keys.root);
    } catch (error) {
      throw session.fail(error);
    }
  }

  [Symbol.dispose](): void {
    this.#session[Symbol.dispose]();
  }
}

function freshX25519(rng: Rng): X25519KeyPair {
  const bytes = rng.bytes(X25519_KEY_LENGTH);
  try {
    return x25519KeyPair(bytes);
  } finally {
    bytes.fill(0);
  }
}

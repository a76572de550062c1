/**
 * The two sessions of a logged-in token: one that does nothing but keep the login, which lives as long as the application has a
 * session, and one for the work, thrown away after any error, since a failed call may leave a session stuck. A token with one
 * session does both in it, and the process begins anew after an error.
 */
import type { Handle, PKCS11 } from 'pkcs11js';
import * as ck from './constants.ts';
import { CurveRefusal } from './curves.ts';
import { faultOf, isSessionFault, returnValueOf, TokenFault } from './fault.ts';

export type SessionCryptoki = Pick<
  PKCS11,
  'C_OpenSession' | 'C_CloseSession' | 'C_Logout' | 'C_GetSessionInfo'
>;

export class TokenSessions {
  readonly #cryptoki: SessionCryptoki;
  readonly #slot: Handle;
  readonly #login: Handle;
  /** Handles of objects are not worth anything any more. */
  readonly #forget: () => void;
  #work: Handle | undefined;
  #isFresh = true;

  constructor(cryptoki: SessionCryptoki, slot: Handle, login: Handle, forget: () => void) {
    this.#cryptoki = cryptoki;
    this.#slot = slot;
    this.#login = login;
    this.#forget = forget;
  }

  /** Nothing has been answered since the login: what is missing now is missing. */
  get isFresh(): boolean {
    return this.#isFresh;
  }

  /** @throws TokenFault, CurveRefusal */
  attempt<T>(doing: string, generating: boolean, work: (session: Handle) => T): T {
    try {
      return this.#run(work);
    } catch (error) {
      if (this.#isSingle || !isSessionFault(error)) throw this.#fault(error, doing, generating);
    }
    try {
      return this.#run(work);
    } catch (error) {
      throw this.#fault(error, doing, generating);
    }
  }

  /** True where the module does not say. @throws TokenFault */
  isLoggedIn(): boolean {
    try {
      const state = this.#cryptoki.C_GetSessionInfo(this.#login)?.state;
      return (
        state === undefined ||
        state === ck.CKS_RO_USER_FUNCTIONS ||
        state === ck.CKS_RW_USER_FUNCTIONS
      );
    } catch (error) {
      throw faultOf(error, 'looking at the login', false);
    }
  }

  close(): void {
    this.#dropWork();
    try {
      this.#cryptoki.C_Logout(this.#login);
    } catch {
      // Nothing is left to save.
    }
    this.#closeSession(this.#login);
  }

  /** With one session there is none to throw away: what was left in it goes with the process. */
  #fault(error: unknown, doing: string, generating: boolean): Error {
    if (error instanceof CurveRefusal) return error;
    const fault = faultOf(error, doing, generating);
    const { code, message, recovery } = fault.failure;
    if (!this.#isSingle || recovery !== 'none' || error instanceof TokenFault) return fault;
    return new TokenFault(code, message, isSessionFault(error) ? 'restart-and-retry' : 'restart');
  }

  get #isSingle(): boolean {
    return this.#work === this.#login;
  }

  #run<T>(work: (session: Handle) => T): T {
    try {
      this.#work ??= this.#openWork();
      const result = work(this.#work);
      this.#isFresh = false;
      return result;
    } catch (error) {
      this.#dropWork();
      throw error;
    }
  }

  #openWork(): Handle {
    try {
      return this.#cryptoki.C_OpenSession(this.#slot, ck.CKF_SERIAL_SESSION | ck.CKF_RW_SESSION);
    } catch (error) {
      if (returnValueOf(error) !== ck.CKR_SESSION_COUNT) throw error;
      return this.#login;
    }
  }

  #dropWork(): void {
    this.#forget();
    const session = this.#work;
    if (session === undefined || this.#isSingle) return;
    this.#work = undefined;
    this.#closeSession(session);
  }

  #closeSession(session: Handle): void {
    try {
      this.#cryptoki.C_CloseSession(session);
    } catch {
      // A session that cannot be closed is gone already.
    }
  }
}

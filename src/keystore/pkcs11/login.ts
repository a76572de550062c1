/** Finding a token by its label, logging in, and making a new software token; runs in the child process only. */
import type { Handle, PKCS11 } from 'pkcs11js';
import * as ck from './constants.ts';
import { faultOf, returnValueOf, TokenFault } from './fault.ts';

export type LoginCryptoki = Pick<
  PKCS11,
  | 'C_GetSlotList'
  | 'C_GetTokenInfo'
  | 'C_OpenSession'
  | 'C_CloseSession'
  | 'C_Login'
  | 'C_Logout'
  | 'C_InitToken'
  | 'C_InitPIN'
>;

export interface Login {
  readonly slot: Handle;
  readonly session: Handle;
  readonly model: string;
  /** A wrong PIN was entered since the last right one. */
  readonly pinTriesLow: boolean;
}

/** One attempt, never a second: most tokens lock after three wrong PINs. */
export function logIn(cryptoki: LoginCryptoki, tokenLabel: string, pin: string): Login {
  const slot = slotOf(cryptoki, tokenLabel);
  const { flags, model } = cryptoki.C_GetTokenInfo(slot);
  requirePinUsable(flags, tokenLabel);
  const session = openSession(cryptoki, slot, tokenLabel);
  try {
    cryptoki.C_Login(session, ck.CKU_USER, pin);
  } catch (error) {
    if (returnValueOf(error) !== ck.CKR_USER_ALREADY_LOGGED_IN)
      throw loginFault(cryptoki, slot, tokenLabel, error);
  }
  return {
    slot,
    session,
    model: unpadded(model),
    pinTriesLow: (flags & ck.CKF_USER_PIN_COUNT_LOW) !== 0,
  };
}

function openSession(cryptoki: LoginCryptoki, slot: Handle, tokenLabel: string): Handle {
  try {
    return cryptoki.C_OpenSession(slot, ck.CKF_SERIAL_SESSION | ck.CKF_RW_SESSION);
  } catch (error) {
    if (returnValueOf(error) !== ck.CKR_SESSION_COUNT) throw error;
    throw new TokenFault(
      'KEYSTORE_LOCKED',
      `token ${JSON.stringify(tokenLabel)}: all its sessions are in use by other programs`,
      'restart',
    );
  }
}

/** Initialises the first slot that has no token yet. SoftHSM alone makes one whenever it is asked. */
export function initialiseToken(
  cryptoki: LoginCryptoki,
  tokenLabel: string,
  soPin: string,
  pin: string,
): void {
  const { tokens } = tokensOf(cryptoki);
  if (
    tokens.some(
      ({ label, flags }) => label === tokenLabel && (flags & ck.CKF_TOKEN_INITIALIZED) !== 0,
    )
  ) {
    throw new TokenFault(
      'KEYSTORE_TOKEN_EXISTS',
      `a token ${JSON.stringify(tokenLabel)} exists already`,
    );
  }
  const free = tokens.find(({ flags }) => (flags & ck.CKF_TOKEN_INITIALIZED) === 0);
  if (free === undefined) throw new TokenFault('KEYSTORE_NO_TOKEN', 'the module has no free slot');
  cryptoki.C_InitToken(free.slot, soPin, padded(tokenLabel));
  // The slot may have another number from now on: SoftHSM derives it from the new serial number.
  const session = cryptoki.C_OpenSession(
    slotOf(cryptoki, tokenLabel),
    ck.CKF_SERIAL_SESSION | ck.CKF_RW_SESSION,
  );
  cryptoki.C_Login(session, ck.CKU_SO, soPin);
  cryptoki.C_InitPIN(session, pin);
  cryptoki.C_Logout(session);
  cryptoki.C_CloseSession(session);
}

function slotOf(cryptoki: LoginCryptoki, tokenLabel: string): Handle {
  const { tokens: present, unreadable } = tokensOf(cryptoki);
  const tokens = present.filter(({ flags }) => (flags & ck.CKF_TOKEN_INITIALIZED) !== 0);
  const [first, ...others] = tokens.filter(({ label }) => label === tokenLabel);
  if (first === undefined) {
    const labels = tokens.map(({ label }) => JSON.stringify(label)).join(', ') || 'none';
    const hidden = unreadable.length === 0 ? '' : `; not readable: ${unreadable.join(', ')}`;
    throw new TokenFault(
      'KEYSTORE_NO_TOKEN',
      `no token ${JSON.stringify(tokenLabel)}; present: ${labels}${hidden}`,
      'restart',
    );
  }
  if (others.length > 0) {
    throw new TokenFault(
      'KEYSTORE_AMBIGUOUS_TOKEN',
      `${others.length + 1} tokens have the label ${JSON.stringify(tokenLabel)}`,
    );
  }
  return first.slot;
}

interface PresentToken {
  readonly slot: Handle;
  readonly label: string;
  readonly flags: number;
}

interface PresentTokens {
  readonly tokens: readonly PresentToken[];
  /** Slots that say they hold a token, and cannot tell which: each with the return value. */
  readonly unreadable: readonly string[];
}

/** A slot that cannot be read hides no other. */
function tokensOf(cryptoki: LoginCryptoki): PresentTokens {
  const tokens: PresentToken[] = [];
  const unreadable: string[] = [];
  for (const slot of cryptoki.C_GetSlotList(true)) {
    try {
      const { label, flags } = cryptoki.C_GetTokenInfo(slot);
      tokens.push({ slot, label: unpadded(label), flags });
    } catch (error) {
      unreadable.push(`a slot (${returnValueOf(error) ?? 'no return value'})`);
    }
  }
  return { tokens, unreadable };
}

function requirePinUsable(flags: number, tokenLabel: string): void {
  if ((flags & ck.CKF_USER_PIN_LOCKED) !== 0) {
    throw new TokenFault(
      'KEYSTORE_PIN_LOCKED',
      `token ${JSON.stringify(tokenLabel)}: the PIN is locked`,
    );
  }
  // A service that is restarted with a wrong PIN would use up the last try unseen; a person may.
  if ((flags & ck.CKF_USER_PIN_FINAL_TRY) !== 0) {
    throw new TokenFault(
      'KEYSTORE_PIN_LAST_TRY',
      `token ${JSON.stringify(tokenLabel)}: one try is left for the PIN, and it was not used`,
    );
  }
  if ((flags & ck.CKF_USER_PIN_INITIALIZED) === 0) {
    throw new TokenFault(
      'KEYSTORE_NO_TOKEN',
      `token ${JSON.stringify(tokenLabel)} has no user PIN yet`,
    );
  }
}

function loginFault(
  cryptoki: LoginCryptoki,
  slot: Handle,
  tokenLabel: string,
  error: unknown,
): TokenFault {
  switch (returnValueOf(error)) {
    case ck.CKR_PIN_INCORRECT:
    case ck.CKR_PIN_INVALID:
    case ck.CKR_PIN_LEN_RANGE:
      return new TokenFault(
        'KEYSTORE_WRONG_PIN',
        `token ${JSON.stringify(tokenLabel)}: wrong PIN${triesLeft(cryptoki, slot)}`,
      );
    case ck.CKR_PIN_LOCKED:
      return new TokenFault(
        'KEYSTORE_PIN_LOCKED',
        `token ${JSON.stringify(tokenLabel)}: the PIN is locked`,
      );
    default:
      return faultOf(error, `logging in to token ${JSON.stringify(tokenLabel)}`, false);
  }
}

/** What the flags tell; a number of tries is in no standard call. */
function triesLeft(cryptoki: LoginCryptoki, slot: Handle): string {
  try {
    const { flags } = cryptoki.C_GetTokenInfo(slot);
    if ((flags & ck.CKF_USER_PIN_LOCKED) !== 0) return '; the token is locked now';
    if ((flags & ck.CKF_USER_PIN_FINAL_TRY) !== 0) return '; one try is left';
    if ((flags & ck.CKF_USER_PIN_COUNT_LOW) !== 0) return '; few tries are left';
  } catch {
    // The answer was wrong PIN; that alone must arrive.
  }
  return '';
}

const LABEL_LENGTH = 32;

/** PKCS#11 wants blanks; the binding would fill up with NUL. */
function padded(label: string): string {
  return label + ' '.repeat(Math.max(0, LABEL_LENGTH - Buffer.byteLength(label)));
}

/** Some tools pad with NUL all the same. */
function unpadded(label: string): string {
  return label.replaceAll('\0', ' ').trimEnd();
}

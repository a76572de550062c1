/** From return values of PKCS#11 to errors of the key store, and what to do after each. */
import type { KeyStoreErrorCode } from '../errors.ts';
import type { KeyStoreFailure, Recovery } from '../process/protocol.ts';
import {
  CKR_DEVICE_ERROR,
  CKR_DEVICE_MEMORY,
  CKR_DEVICE_REMOVED,
  CKR_FUNCTION_FAILED,
  CKR_GENERAL_ERROR,
  CKR_KEY_HANDLE_INVALID,
  CKR_MECHANISM_INVALID,
  CKR_OBJECT_HANDLE_INVALID,
  CKR_OPERATION_ACTIVE,
  CKR_OPERATION_NOT_INITIALIZED,
  CKR_SESSION_HANDLE_INVALID,
  CKR_TOKEN_NOT_PRESENT,
  CKR_TOKEN_NOT_RECOGNIZED,
  CKR_USER_NOT_LOGGED_IN,
} from './constants.ts';

/** An error whose meaning is already known; it crosses the channel as a {@link KeyStoreFailure}. */
export class TokenFault extends Error {
  readonly failure: KeyStoreFailure;

  constructor(code: KeyStoreErrorCode, message: string, recovery: Recovery = 'none') {
    super(message);
    this.failure = { code, message, recovery };
  }
}

/** The CKR number of an error of the binding, which states it as `code` or only in the message (`CKR_X:n`). */
export function returnValueOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'number') return error.code;
  const digits = /\bCKR_\w+:(\d+)/.exec(error.message)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

const sessionFaults: readonly (number | undefined)[] = [
  CKR_KEY_HANDLE_INVALID,
  CKR_OBJECT_HANDLE_INVALID,
  CKR_OPERATION_ACTIVE,
  CKR_OPERATION_NOT_INITIALIZED,
  CKR_SESSION_HANDLE_INVALID,
];

/** The operation did not run because of the state of the session or of a cached handle: once more on a new session is safe. */
export function isSessionFault(error: unknown): boolean {
  return sessionFaults.includes(returnValueOf(error));
}

/** @param doing what was asked of the token, for the message  @param generating whether it had to store something new */
export function faultOf(error: unknown, doing: string, generating: boolean): TokenFault {
  if (error instanceof TokenFault) return error;
  const value = returnValueOf(error);
  const text = `${doing}: ${value === undefined ? 'the binding failed' : describe(error, value)}`;
  switch (value) {
    case CKR_USER_NOT_LOGGED_IN:
      return new TokenFault('KEYSTORE_TOKEN_GONE', text, 'restart-and-retry');
    case CKR_GENERAL_ERROR:
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_REMOVED:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_SESSION_HANDLE_INVALID:
      return new TokenFault('KEYSTORE_TOKEN_GONE', text, 'restart');
    case CKR_DEVICE_MEMORY:
      return new TokenFault('KEYSTORE_FULL', text);
    case CKR_FUNCTION_FAILED:
      return new TokenFault(generating ? 'KEYSTORE_FULL' : 'KEYSTORE_TOKEN_FAILED', text);
    case CKR_MECHANISM_INVALID:
      return new TokenFault('KEYSTORE_UNSUPPORTED', text);
    default:
      return new TokenFault('KEYSTORE_TOKEN_FAILED', text);
  }
}

function describe(error: unknown, value: number): string {
  const name = error instanceof Error ? /\bCKR_\w+/.exec(error.message)?.[0] : undefined;
  return `${name ?? 'CKR'} (0x${value.toString(16)})`;
}

/**
 * What the agent and the process that holds its keys say to each other over the IPC channel of the fork.
 *
 * One request, one reply, in turn. The first request opens a token or a file, or makes one; PINs and passphrases for it go
 * before it over a pipe of their own (`secret-channel.ts`). Both ends check what they receive: a message that does not fit
 * ends the conversation.
 */

import { HKDF_MAX_LENGTH } from '#src/crypto/hash';
import type { PassphraseCost } from '#src/crypto/passphrase';
import type { SigningAlgorithm } from '#src/keystore/key-store';
import { type KeyStoreErrorCode, keyStoreErrors } from '../errors.ts';
import { KEY_ID_LENGTH } from '../key-id.ts';
import { MAX_LABEL_LENGTH, MAX_MESSAGE_LENGTH } from '../limits.ts';

export type KeyStoreRequest =
  /** One secret: the PIN. */
  | { readonly op: 'open'; readonly module: string; readonly tokenLabel: string }
  /** Two secrets: that of the security officer, the user's. */
  | { readonly op: 'initialise'; readonly module: string; readonly tokenLabel: string }
  /** One secret: the passphrase. */
  | { readonly op: 'openFile'; readonly path: string }
  | { readonly op: 'createFile'; readonly path: string; readonly cost: PassphraseCost }
  | { readonly op: 'generateSigningKey'; readonly algorithm: SigningAlgorithm | undefined }
  | { readonly op: 'signingKey'; readonly id: Uint8Array }
  | { readonly op: 'sign'; readonly id: Uint8Array; readonly message: Uint8Array }
  | { readonly op: 'generateRoot' }
  | {
      readonly op: 'prf';
      readonly id: Uint8Array;
      readonly label: Uint8Array;
      readonly length: number;
    }
  | { readonly op: 'destroy'; readonly id: Uint8Array }
  | { readonly op: 'list' }
  | { readonly op: 'backUp'; readonly ids: readonly Uint8Array[]; readonly path: string }
  | { readonly op: 'close' };

export interface WireSigningKey {
  readonly id: Uint8Array;
  readonly algorithm: SigningAlgorithm;
  readonly publicKey: Uint8Array;
}

export interface WireEntry {
  readonly id: Uint8Array;
  readonly kind: 'signing' | 'root';
  readonly algorithm: SigningAlgorithm | undefined;
}

/** What each request is answered with. */
export interface Results {
  open: { readonly model: string; readonly pinTriesLow: boolean };
  initialise: undefined;
  openFile: undefined;
  createFile: undefined;
  generateSigningKey: WireSigningKey;
  signingKey: WireSigningKey;
  sign: Uint8Array;
  generateRoot: Uint8Array;
  prf: Uint8Array;
  destroy: undefined;
  list: readonly WireEntry[];
  backUp: undefined;
  close: undefined;
}

/**
 * What the agent does after an error: nothing; start a new process at the next call, since the token or the
 * module will not answer this one again; or the same and ask it once more, since only the login was lost.
 */
export type Recovery = 'none' | 'restart' | 'restart-and-retry';

export interface KeyStoreFailure {
  readonly code: KeyStoreErrorCode;
  readonly message: string;
  readonly recovery: Recovery;
  /** Where another cure is known than that of the code. */
  readonly hint?: string;
}

export type KeyStoreReply =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly failure: KeyStoreFailure };

const MAX_TEXT_LENGTH = 4096;
const MAX_ENTRIES = 1 << 16;

/** @returns undefined for anything that is not exactly a request */
export function parseRequest(value: unknown): KeyStoreRequest | undefined {
  if (!isRecord(value)) return undefined;
  switch (value['op']) {
    case 'open':
    case 'initialise':
      return isText(value['module']) && isText(value['tokenLabel'])
        ? { op: value['op'], module: value['module'], tokenLabel: value['tokenLabel'] }
        : undefined;
    case 'openFile':
      return isText(value['path']) ? { op: 'openFile', path: value['path'] } : undefined;
    case 'createFile':
      return isText(value['path']) && isCost(value['cost'])
        ? { op: 'createFile', path: value['path'], cost: value['cost'] }
        : undefined;
    case 'backUp':
      return isText(value['path']) && isList(value['ids'], isId)
        ? { op: 'backUp', ids: value['ids'], path: value['path'] }
        : undefined;
    case 'generateSigningKey':
      return value['algorithm'] === undefined || isAlgorithm(value['algorithm'])
        ? { op: 'generateSigningKey', algorithm: value['algorithm'] }
        : undefined;
    case 'signingKey':
    case 'destroy':
      return isId(value['id']) ? { op: value['op'], id: value['id'] } : undefined;
    case 'sign':
      return isId(value['id']) && isBytes(value['message'], 1, MAX_MESSAGE_LENGTH)
        ? { op: 'sign', id: value['id'], message: value['message'] }
        : undefined;
    case 'prf':
      return isId(value['id']) &&
        isBytes(value['label'], 0, MAX_LABEL_LENGTH) &&
        typeof value['length'] === 'number' &&
        Number.isInteger(value['length']) &&
        value['length'] >= 1 &&
        value['length'] <= HKDF_MAX_LENGTH
        ? { op: 'prf', id: value['id'], label: value['label'], length: value['length'] }
        : undefined;
    case 'generateRoot':
    case 'list':
    case 'close':
      return { op: value['op'] };
    default:
      return undefined;
  }
}

/** @returns undefined for anything that is not exactly a reply */
export function parseReply(value: unknown): KeyStoreReply | undefined {
  if (!isRecord(value)) return undefined;
  if (value['ok'] === true) return { ok: true, value: value['value'] };
  const failure = value['failure'];
  if (value['ok'] !== false || !isRecord(failure)) return undefined;
  const { code, message, recovery, hint } = failure;
  return typeof code === 'string' &&
    isErrorCode(code) &&
    typeof message === 'string' &&
    isRecovery(recovery) &&
    (hint === undefined || typeof hint === 'string')
    ? {
        ok: false,
        failure: {
          code,
          message: message.slice(0, MAX_TEXT_LENGTH),
          recovery,
          ...(hint === undefined ? {} : { hint: hint.slice(0, MAX_TEXT_LENGTH) }),
        },
      }
    : undefined;
}

type ResultParsers = {
  readonly [Op in keyof Results]: (
    value: unknown,
    request: KeyStoreRequest,
  ) => value is Results[Op];
};

/** Whether the value of a reply answers the request. */
export const isResult: ResultParsers = {
  open: (value): value is Results['open'] =>
    isRecord(value) &&
    typeof value['model'] === 'string' &&
    typeof value['pinTriesLow'] === 'boolean',
  initialise: isUndefined,
  openFile: isUndefined,
  createFile: isUndefined,
  generateSigningKey: isSigningKey,
  signingKey: isSigningKey,
  sign: (value): value is Uint8Array => isBytes(value, 64, 64),
  generateRoot: isId,
  prf: (value, request): value is Uint8Array =>
    request.op === 'prf' && isBytes(value, request.length, request.length),
  destroy: isUndefined,
  list: (value): value is readonly WireEntry[] => isList(value, isEntry),
  backUp: isUndefined,
  close: isUndefined,
};

function isSigningKey(value: unknown): value is WireSigningKey {
  if (!isRecord(value) || !isId(value['id']) || !isAlgorithm(value['algorithm'])) return false;
  const length = value['algorithm'] === 'ed25519' ? 32 : 33;
  return isBytes(value['publicKey'], length, length);
}

function isEntry(value: unknown): value is WireEntry {
  if (!isRecord(value) || !isId(value['id'])) return false;
  return value['kind'] === 'root'
    ? value['algorithm'] === undefined
    : value['kind'] === 'signing' && isAlgorithm(value['algorithm']);
}

function isList<T>(value: unknown, isItem: (item: unknown) => item is T): value is readonly T[] {
  return Array.isArray(value) && value.length <= MAX_ENTRIES && value.every(isItem);
}

function isCost(value: unknown): value is PassphraseCost {
  return (
    isRecord(value) &&
    ['memory', 'passes', 'lanes'].every((name) => typeof value[name] === 'number')
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isUndefined(value: unknown): value is undefined {
  return value === undefined;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT_LENGTH;
}

function isBytes(value: unknown, least: number, most: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length >= least && value.length <= most;
}

function isId(value: unknown): value is Uint8Array {
  return isBytes(value, KEY_ID_LENGTH, KEY_ID_LENGTH);
}

function isAlgorithm(value: unknown): value is SigningAlgorithm {
  return value === 'ed25519' || value === 'p256';
}

function isErrorCode(value: string): value is KeyStoreErrorCode {
  return Object.hasOwn(keyStoreErrors, value);
}

function isRecovery(value: unknown): value is Recovery {
  return value === 'none' || value === 'restart' || value === 'restart-and-retry';
}

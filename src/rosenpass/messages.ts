/**
 * The datagrams of Rosenpass.
 *
 *   envelope    = type (1) ‖ reserved (3) ‖ payload ‖ mac (16) ‖ cookie (16)
 *   InitHello   = sidi (4) ‖ ephemeral key (800) ‖ static ciphertext ‖ sealed peer id (48) ‖ auth (16)
 *   RespHello   = sidr (4) ‖ sidi (4) ‖ ephemeral ciphertext (768) ‖ static ciphertext ‖ auth (16) ‖ biscuit (116)
 *   InitConf    = sidi (4) ‖ sidr (4) ‖ biscuit (116) ‖ auth (16)
 *   EmptyData   = sid (4) ‖ counter (8, little-endian) ‖ auth (16)
 *   CookieReply = type (1) ‖ reserved (3) ‖ sid (4) ‖ sealed cookie value (56) ‖ padding up to the length of an InitHello; no mac
 *
 * The static ciphertext has 188 bytes. A datagram has exactly the length of its type, or it is none. What stands in `reserved` is not
 * looked at, though the mac covers it, and nothing but a responder under load looks at `cookie`: others send there what they like.
 */
import { concatBytes } from '#src/bytes';
import { unreachable } from '#src/errors';

const MESSAGE_TYPES = {
  initHello: 0x81,
  respHello: 0x82,
  initConf: 0x83,
  emptyData: 0x84,
  cookieReply: 0x86,
} as const;

const HEAD_LENGTH = 4;
export const SESSION_ID_LENGTH = 4;
export const MAC_LENGTH = 16;
export const COOKIE_LENGTH = 16;
const BISCUIT_LENGTH = 116;
const EPHEMERAL_KEY_LENGTH = 800;
const EPHEMERAL_CIPHERTEXT_LENGTH = 768;
const SEALED_PEER_ID_LENGTH = 48;
const AUTH_LENGTH = 16;
const COUNTER_LENGTH = 8;
const SEALED_COOKIE_LENGTH = 56;

export interface InitHello {
  readonly kind: 'init-hello';
  readonly sidi: Uint8Array;
  readonly ephemeralKey: Uint8Array;
  readonly staticCiphertext: Uint8Array;
  readonly sealedPeerId: Uint8Array;
  readonly auth: Uint8Array;
}

export interface RespHello {
  readonly kind: 'resp-hello';
  readonly sidr: Uint8Array;
  readonly sidi: Uint8Array;
  readonly ephemeralCiphertext: Uint8Array;
  readonly staticCiphertext: Uint8Array;
  readonly auth: Uint8Array;
  readonly biscuit: Uint8Array;
}

export interface InitConf {
  readonly kind: 'init-conf';
  readonly sidi: Uint8Array;
  readonly sidr: Uint8Array;
  readonly biscuit: Uint8Array;
  readonly auth: Uint8Array;
}

export interface EmptyData {
  readonly kind: 'empty-data';
  readonly sid: Uint8Array;
  readonly counter: bigint;
  readonly auth: Uint8Array;
}

export interface CookieReply {
  readonly kind: 'cookie-reply';
  readonly sid: Uint8Array;
  readonly sealedCookie: Uint8Array;
}

export type RosenpassMessage = InitHello | RespHello | InitConf | EmptyData | CookieReply;

/** How a MAC comes into being: the hash and the key of whom the datagram is for. */
export type Mac = (authenticated: Uint8Array) => Uint8Array;

function initHelloLength(ciphertextLength: number): number {
  const payload =
    SESSION_ID_LENGTH + EPHEMERAL_KEY_LENGTH + ciphertextLength + SEALED_PEER_ID_LENGTH;
  return envelopeLength(payload + AUTH_LENGTH);
}

/**
 * The fields are views of `datagram`; no MAC is checked.
 * @param ciphertextLength of the static KEM  @returns undefined for an unknown type or another length than that of the type
 */
export function parseMessage(
  datagram: Uint8Array,
  ciphertextLength: number,
): RosenpassMessage | undefined {
  switch (datagram[0]) {
    case MESSAGE_TYPES.initHello: {
      const lengths = [
        ...[SESSION_ID_LENGTH, EPHEMERAL_KEY_LENGTH, ciphertextLength],
        ...[SEALED_PEER_ID_LENGTH, AUTH_LENGTH],
      ];
      const fields = fieldsOf(datagram, lengths);
      if (fields === undefined) return undefined;
      const [sidi, ephemeralKey, staticCiphertext, sealedPeerId, auth] = fields as Tuple5;
      return { kind: 'init-hello', sidi, ephemeralKey, staticCiphertext, sealedPeerId, auth };
    }
    case MESSAGE_TYPES.respHello: {
      const lengths = [
        ...[SESSION_ID_LENGTH, SESSION_ID_LENGTH, EPHEMERAL_CIPHERTEXT_LENGTH],
        ...[ciphertextLength, AUTH_LENGTH, BISCUIT_LENGTH],
      ];
      const fields = fieldsOf(datagram, lengths);
      if (fields === undefined) return undefined;
      const [sidr, sidi, ephemeralCiphertext, staticCiphertext, auth, biscuit] = fields as Tuple6;
      return {
        kind: 'resp-hello',
        ...{ sidr, sidi, ephemeralCiphertext, staticCiphertext, auth, biscuit },
      };
    }
    case MESSAGE_TYPES.initConf: {
      const lengths = [SESSION_ID_LENGTH, SESSION_ID_LENGTH, BISCUIT_LENGTH, AUTH_LENGTH];
      const fields = fieldsOf(datagram, lengths);
      if (fields === undefined) return undefined;
      const [sidi, sidr, biscuit, auth] = fields as Tuple4;
      return { kind: 'init-conf', sidi, sidr, biscuit, auth };
    }
    case MESSAGE_TYPES.emptyData: {
      const fields = fieldsOf(datagram, [SESSION_ID_LENGTH, COUNTER_LENGTH, AUTH_LENGTH]);
      if (fields === undefined) return undefined;
      const [sid, counter, auth] = fields as Tuple3;
      return { kind: 'empty-data', sid, counter: readCounter(counter), auth };
    }
    case MESSAGE_TYPES.cookieReply: {
      if (datagram.length !== initHelloLength(ciphertextLength)) return undefined;
      const sealedAt = HEAD_LENGTH + SESSION_ID_LENGTH;
      return {
        kind: 'cookie-reply',
        sid: datagram.subarray(HEAD_LENGTH, sealedAt),
        sealedCookie: datagram.subarray(sealedAt, sealedAt + SEALED_COOKIE_LENGTH),
      };
    }
    default:
      return undefined;
  }
}

/** Zeros as reserved bytes and as cookie. */
export function formatMessage(
  message: Exclude<RosenpassMessage, CookieReply>,
  mac: Mac,
): Uint8Array {
  switch (message.kind) {
    case 'init-hello': {
      const { sidi, ephemeralKey, staticCiphertext, sealedPeerId, auth } = message;
      const fields = [sidi, ephemeralKey, staticCiphertext, sealedPeerId, auth];
      return envelope(MESSAGE_TYPES.initHello, fields, mac);
    }
    case 'resp-hello': {
      const { sidr, sidi, ephemeralCiphertext, staticCiphertext, auth, biscuit } = message;
      const fields = [sidr, sidi, ephemeralCiphertext, staticCiphertext, auth, biscuit];
      return envelope(MESSAGE_TYPES.respHello, fields, mac);
    }
    case 'init-conf': {
      const { sidi, sidr, biscuit, auth } = message;
      return envelope(MESSAGE_TYPES.initConf, [sidi, sidr, biscuit, auth], mac);
    }
    case 'empty-data': {
      const counter = new Uint8Array(COUNTER_LENGTH);
      new DataView(counter.buffer).setBigUint64(0, message.counter, true);
      return envelope(MESSAGE_TYPES.emptyData, [message.sid, counter, message.auth], mac);
    }
    default:
      return unreachable(message);
  }
}

/** What the MAC of an enveloped datagram covers. */
export function authenticatedPart(datagram: Uint8Array): Uint8Array {
  return datagram.subarray(0, datagram.length - MAC_LENGTH - COOKIE_LENGTH);
}

/** The MAC of an enveloped datagram. */
export function macOf(datagram: Uint8Array): Uint8Array {
  const end = datagram.length - COOKIE_LENGTH;
  return datagram.subarray(end - MAC_LENGTH, end);
}

type Tuple3 = [Uint8Array, Uint8Array, Uint8Array];
type Tuple4 = [...Tuple3, Uint8Array];
type Tuple5 = [...Tuple4, Uint8Array];
type Tuple6 = [...Tuple5, Uint8Array];

function envelopeLength(payload: number): number {
  return HEAD_LENGTH + payload + MAC_LENGTH + COOKIE_LENGTH;
}

function fieldsOf(datagram: Uint8Array, lengths: readonly number[]): Uint8Array[] | undefined {
  const payload = lengths.reduce((sum, length) => sum + length, 0);
  if (datagram.length !== envelopeLength(payload)) return undefined;
  let at = HEAD_LENGTH;
  return lengths.map((length) => {
    const field = datagram.subarray(at, at + length);
    at += length;
    return field;
  });
}

function readCounter(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getBigUint64(0, true);
}

function envelope(type: number, payload: readonly Uint8Array[], mac: Mac): Uint8Array {
  const authenticated = concatBytes(Uint8Array.of(type, 0, 0, 0), ...payload);
  return concatBytes(authenticated, mac(authenticated), new Uint8Array(COOKIE_LENGTH));
}

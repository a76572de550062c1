/**
 * The three messages of the agreement (DESIGN 5) as bytes.
 *
 *   version (1 byte, 1) · message number (1 byte) · fields, each with a 4-byte big-endian length
 *   1  gx 32 · eke 1,568 · ct_r 1,568
 *   2  gy 32 · ct_i 1,568 · ct_e 1,568 · sig_r · mac_r 32
 *   3  sig_i · mac_i 32
 *   sig = 1 to 64 times (index, 1 byte; signature, 64 bytes), indexes ascending
 *
 * There is one encoding of each message: a decoder accepts exactly what the encoder emits. The Verifpal
 * model has the same messages under the names gx, eke, ctb (ct_r) / gy, cta (ct_i), cte (ct_e), sigb, macb / siga, maca.
 */
import { concatBytes, lengthPrefixed } from '#src/bytes';
import { ML_KEM_1024_CIPHERTEXT_LENGTH, ML_KEM_1024_PUBLIC_KEY_LENGTH } from '#src/crypto/lengths';
import { FieldReader } from './fields.ts';

/** Protocol version: first byte of every frame but the acknowledgement. */
export const AGREEMENT_VERSION = 1;

/** Longest frame of the protocol, bytes. */
export const MAX_FRAME_BYTES = 8192;

const X25519_LENGTH = 32;
const SIGNATURE_LENGTH = 64;
const MAC_LENGTH = 32;
const MAX_SIGNATURES = 64;
const SIGNATURE_ENTRY_LENGTH = 1 + SIGNATURE_LENGTH;

/** A CESR indexed signature without its text form: the algorithm is that of the key at `index`. */
export interface PairSignature {
  /** Place of the key in the establishment event's key list, 0 to 63. */
  readonly index: number;
  /** 64 bytes. */
  readonly raw: Uint8Array;
}

export interface Message1 {
  /** gx, 32 bytes. */
  readonly x25519: Uint8Array;
  /** eke, 1,568 bytes. */
  readonly ephemeralKem: Uint8Array;
  /** ct_r, 1,568 bytes. */
  readonly ctResponder: Uint8Array;
}

/** Message 2 up to ct_e: what the transcript covers. */
export interface Message2Head {
  /** gy, 32 bytes. */
  readonly x25519: Uint8Array;
  /** ct_i, 1,568 bytes. */
  readonly ctInitiator: Uint8Array;
  /** ct_e, 1,568 bytes. */
  readonly ctEphemeral: Uint8Array;
}

export interface KeyConfirmation {
  readonly signatures: readonly PairSignature[];
  /** 32 bytes. */
  readonly mac: Uint8Array;
}

export interface Message2 extends Message2Head, KeyConfirmation {}

export type Message3 = KeyConfirmation;

export function encodeMessage1(message: Message1): Uint8Array {
  return frame(1, lengthPrefixed(message.x25519, message.ephemeralKem, message.ctResponder));
}

/** @throws AGREEMENT_BAD_MESSAGE */
export function decodeMessage1(bytes: Uint8Array): Message1 {
  const reader = open(bytes, 1);
  const message = {
    x25519: reader.bytes('gx', X25519_LENGTH),
    ephemeralKem: reader.bytes('eke', ML_KEM_1024_PUBLIC_KEY_LENGTH),
    ctResponder: reader.bytes('ct_r', ML_KEM_1024_CIPHERTEXT_LENGTH),
  };
  reader.end();
  return message;
}

/** The bytes of message 2 before sig_r. */
export function encodeMessage2Head(head: Message2Head): Uint8Array {
  return frame(2, lengthPrefixed(head.x25519, head.ctInitiator, head.ctEphemeral));
}

export function encodeMessage2(message: Message2): Uint8Array {
  return concatBytes(encodeMessage2Head(message), encodeConfirmation(message));
}

/** @throws AGREEMENT_BAD_MESSAGE */
export function decodeMessage2(bytes: Uint8Array): Message2 {
  const reader = open(bytes, 2);
  return {
    x25519: reader.bytes('gy', X25519_LENGTH),
    ctInitiator: reader.bytes('ct_i', ML_KEM_1024_CIPHERTEXT_LENGTH),
    ctEphemeral: reader.bytes('ct_e', ML_KEM_1024_CIPHERTEXT_LENGTH),
    ...confirmation(reader),
  };
}

export function encodeMessage3(message: Message3): Uint8Array {
  return frame(3, encodeConfirmation(message));
}

/** @throws AGREEMENT_BAD_MESSAGE */
export function decodeMessage3(bytes: Uint8Array): Message3 {
  return confirmation(open(bytes, 3));
}

/** True when the list is one that a message can carry: 1 to 64, each of 64 bytes, indexes ascending from 0 to 63. */
export function isSignatureList(signatures: readonly PairSignature[]): boolean {
  return (
    signatures.length > 0 &&
    signatures.length <= MAX_SIGNATURES &&
    signatures.every(
      ({ index, raw }, at) =>
        Number.isInteger(index) &&
        index > (signatures[at - 1]?.index ?? -1) &&
        index < MAX_SIGNATURES &&
        raw.length === SIGNATURE_LENGTH,
    )
  );
}

function frame(number: number, body: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(AGREEMENT_VERSION, number), body);
}

function open(bytes: Uint8Array, number: number): FieldReader {
  const reader = new FieldReader(bytes, `message ${number}`);
  reader.constant('version', AGREEMENT_VERSION);
  reader.constant('message number', number);
  return reader;
}

function encodeConfirmation({ signatures, mac }: KeyConfirmation): Uint8Array {
  const group = concatBytes(...signatures.flatMap(({ index, raw }) => [Uint8Array.of(index), raw]));
  return lengthPrefixed(group, mac);
}

function confirmation(reader: FieldReader): KeyConfirmation {
  const group = reader.bytes(
    'sig',
    SIGNATURE_ENTRY_LENGTH,
    MAX_SIGNATURES * SIGNATURE_ENTRY_LENGTH,
  );
  if (group.length % SIGNATURE_ENTRY_LENGTH !== 0) {
    throw reader.fail(
      `sig: expected a multiple of ${SIGNATURE_ENTRY_LENGTH} bytes, got ${group.length}`,
    );
  }
  const signatures: PairSignature[] = [];
  for (let at = 0; at < group.length; at += SIGNATURE_ENTRY_LENGTH) {
    signatures.push({
      index: group[at] as number,
      raw: group.slice(at + 1, at + SIGNATURE_ENTRY_LENGTH),
    });
  }
  if (!isSignatureList(signatures)) {
    throw reader.fail(
      `sig: expected indexes ascending below ${MAX_SIGNATURES}, got ${signatures.map((entry) => entry.index).join(', ')}`,
    );
  }
  const mac = reader.bytes('mac', MAC_LENGTH);
  reader.end();
  return { signatures, mac };
}

/** What our objects on a token are made as. */
import type { Attribute, Template } from 'pkcs11js';
import type { SigningAlgorithm } from '../key-store.ts';
import * as ck from './constants.ts';

/** CKA_LABEL of our objects: `list` shows these alone, a token may serve others too. */
export const SIGNING_LABEL = 'kelmesh signing key';
export const ROOT_LABEL = 'kelmesh derivation root';

const ROOT_LENGTH = 32;

const unreadable: Template = [
  { type: ck.CKA_TOKEN, value: true },
  { type: ck.CKA_PRIVATE, value: true },
  { type: ck.CKA_SENSITIVE, value: true },
  { type: ck.CKA_EXTRACTABLE, value: false },
  { type: ck.CKA_SIGN, value: true },
];

export function privateTemplate(algorithm: SigningAlgorithm, id: Uint8Array): Template {
  return [
    { type: ck.CKA_CLASS, value: ck.CKO_PRIVATE_KEY },
    { type: ck.CKA_KEY_TYPE, value: algorithm === 'ed25519' ? ck.CKK_EC_EDWARDS : ck.CKK_EC },
    ...unreadable,
    { type: ck.CKA_LABEL, value: SIGNING_LABEL },
    idAttribute(id),
  ];
}

/** @param curve CKA_EC_PARAMS */
export function publicTemplate(
  algorithm: SigningAlgorithm,
  curve: Buffer,
  id: Uint8Array,
): Template {
  return [
    { type: ck.CKA_CLASS, value: ck.CKO_PUBLIC_KEY },
    { type: ck.CKA_KEY_TYPE, value: algorithm === 'ed25519' ? ck.CKK_EC_EDWARDS : ck.CKK_EC },
    { type: ck.CKA_EC_PARAMS, value: curve },
    { type: ck.CKA_TOKEN, value: true },
    { type: ck.CKA_PRIVATE, value: false },
    { type: ck.CKA_VERIFY, value: true },
    { type: ck.CKA_LABEL, value: SIGNING_LABEL },
    idAttribute(id),
  ];
}

export function rootTemplate(keyType: number, id: Uint8Array): Template {
  return [
    { type: ck.CKA_CLASS, value: ck.CKO_SECRET_KEY },
    { type: ck.CKA_KEY_TYPE, value: keyType },
    { type: ck.CKA_VALUE_LEN, value: ROOT_LENGTH },
    { type: ck.CKA_VERIFY, value: false },
    ...unreadable,
    { type: ck.CKA_LABEL, value: ROOT_LABEL },
    idAttribute(id),
  ];
}

export function idAttribute(id: Uint8Array): Attribute {
  return { type: ck.CKA_ID, value: asBuffer(id) };
}

/** A view. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

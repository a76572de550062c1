/**
 * How tokens name curves (CKA_EC_PARAMS) and give points (CKA_EC_POINT). The standard allows several forms of each, and a module
 * may take or give one of them alone.
 */
import type { SigningAlgorithm } from '../key-store.ts';
import { compressedPoint } from '../p256-form.ts';
import * as ck from './constants.ts';

const der = (hex: string) => Buffer.from(hex, 'hex');
const printable = (name: string) =>
  Buffer.concat([Buffer.of(0x13, name.length), Buffer.from(name, 'latin1')]);

/** CKA_EC_PARAMS of each algorithm, the form that most tokens take first: a curve's name, its object identifier. */
export const curveForms: Readonly<Record<SigningAlgorithm, readonly Buffer[]>> = {
  ed25519: [printable('edwards25519'), der('06032b6570')],
  p256: [der('06082a8648ce3d030107'), printable('secp256r1'), printable('P-256')],
};

/** The prime of P-256: it stands in parameters that spell the curve out (SEC 1 C.2). */
const P256_PRIME = der('ffffffff00000001000000000000000000000000ffffffffffffffffffffffff');

/** "I do not know this curve", in the words of different modules. */
const refusals: readonly (number | undefined)[] = [
  ck.CKR_ARGUMENTS_BAD,
  ck.CKR_ATTRIBUTE_VALUE_INVALID,
  ck.CKR_CURVE_NOT_SUPPORTED,
  ck.CKR_DOMAIN_PARAMS_INVALID,
  ck.CKR_MECHANISM_PARAM_INVALID,
  ck.CKR_TEMPLATE_INCONSISTENT,
];

/** Whether another form of the curve's name may help. */
export function refusesCurve(returnValue: number | undefined): returnValue is number {
  return refusals.includes(returnValue);
}

/** The curve may be known by another form of its name. */
export class CurveRefusal extends Error {
  /** @param returnValue of the module, for the message */
  constructor(returnValue: number) {
    super(`0x${returnValue.toString(16)}`);
  }
}

/** @param keyType CKA_KEY_TYPE  @param parameters CKA_EC_PARAMS, empty where the module does not say  @returns undefined for other keys */
export function algorithmOf(keyType: number, parameters: Uint8Array): SigningAlgorithm | undefined {
  if (keyType === ck.CKK_EC_EDWARDS)
    return parameters.length === 0 || isForm('ed25519', parameters) ? 'ed25519' : undefined;
  if (keyType !== ck.CKK_EC) return undefined;
  const isP256 =
    parameters.length === 0 ||
    isForm('p256', parameters) ||
    (parameters[0] === 0x30 && Buffer.from(parameters).includes(P256_PRIME));
  return isP256 ? 'p256' : undefined;
}

function isForm(algorithm: SigningAlgorithm, parameters: Uint8Array): boolean {
  return curveForms[algorithm].some((form) => form.equals(parameters));
}

/**
 * @param value CKA_EC_POINT: in an OCTET STRING by the standard, in a BIT STRING or bare from some modules
 * @returns 32 or 33 bytes; undefined when it is no point of that algorithm
 */
export function publicKeyOf(
  algorithm: SigningAlgorithm,
  value: Uint8Array,
): Uint8Array | undefined {
  if (algorithm === 'ed25519') return unwrapped(value, 32);
  const point = unwrapped(value, 65) ?? unwrapped(value, 33);
  return point === undefined ? undefined : compressedPoint(point);
}

function unwrapped(value: Uint8Array, length: number): Uint8Array | undefined {
  if (value.length === length) return new Uint8Array(value);
  const isOctets = value.length === length + 2 && value[0] === 0x04 && value[1] === length;
  const isBits =
    value.length === length + 3 && value[0] === 0x03 && value[1] === length + 1 && value[2] === 0;
  return isOctets || isBits ? new Uint8Array(value.subarray(-length)) : undefined;
}

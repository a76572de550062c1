/**
 * Transcript hash, keys and confirmations of the agreement (DESIGN 5).
 *
 *   here                    Verifpal model (pair-psk.vp.in)
 *   transcriptHash          th_a, th_b: HASH(identities and static KEM keys, message 1, message 2 up to ct_e)
 *   deriveKeys              root, kc = HKDF(th, ss_r · ss_i · ss_e · dh, lbl_root)
 *   signedDigest            HASH(lbl_i or lbl_r, th), what SIGN covers
 *   confirmationMac         MAC(kc, lbl_i or lbl_r)
 *   startChain, chain.ts    chain0, psk0, chain1, psk1
 *
 * Where the model hashes public keys, the code hashes the SAIDs of the establishment events and of the sealed
 * records that hold them.
 */
import { timingSafeEqual } from 'node:crypto';
import { lengthPrefixed } from '#src/bytes';
import { hkdfExpand, hkdfExtract, hmacSha256, sha256 } from '#src/crypto/hash';
import {
  type PairRole,
  pairContributionLabel,
  pairInfo,
  pairMacLabel,
  pairSignatureLabel,
  pairTranscript,
} from '#src/crypto/labels';
import { Secret } from '#src/secret';
import { AgreementError } from './errors.ts';
import type { PairContribution } from './policy.ts';
import { type PairTerms, termsFields } from './terms.ts';

const KEY_LENGTH = 32;

export interface AgreementKeys {
  /** 32 bytes. */
  readonly root: Secret;
  /** kc, 32 bytes. */
  readonly confirmation: Secret;
}

/**
 * @param message1 the whole message  @param message2Head message 2 up to ct_e
 * @returns 32 bytes
 */
export function transcriptHash(
  terms: PairTerms,
  message1: Uint8Array,
  message2Head: Uint8Array,
): Uint8Array {
  return sha256(lengthPrefixed(pairTranscript, ...termsFields(terms), message1, message2Head));
}

/**
 * HKDF over the contributions in the order of the policy, each after its label and both length-prefixed:
 * as long as one of them is unknown to somebody, so are the keys.
 * @throws AGREEMENT_CONTRIBUTION when one is missing
 */
export function deriveKeys(
  th: Uint8Array,
  contributions: readonly PairContribution[],
  secrets: Readonly<Partial<Record<PairContribution, Secret>>>,
): AgreementKeys {
  const fields = contributions.flatMap((name) => {
    const secret = secrets[name];
    if (secret === undefined)
      throw new AgreementError('AGREEMENT_CONTRIBUTION', `contribution ${name} was not made`);
    return [pairContributionLabel(name), secret.expose()];
  });
  const ikm = lengthPrefixed(...fields);
  const prk = hkdfExtract(th, ikm);
  const keys = hkdfExpand(prk, pairInfo, 2 * KEY_LENGTH);
  try {
    return {
      root: new Secret(keys.subarray(0, KEY_LENGTH)),
      confirmation: new Secret(keys.subarray(KEY_LENGTH)),
    };
  } finally {
    for (const buffer of [ikm, prk, keys]) buffer.fill(0);
  }
}

/** What the KEL keys of `role` sign, 32 bytes. */
export function signedDigest(role: PairRole, th: Uint8Array): Uint8Array {
  return sha256(pairSignatureLabel(role, th));
}

/** @returns 32 bytes */
export function confirmationMac(confirmation: Secret, role: PairRole): Uint8Array {
  return hmacSha256(confirmation.expose(), pairMacLabel(role));
}

/** In constant time. */
export function isConfirmedBy(confirmation: Secret, role: PairRole, mac: Uint8Array): boolean {
  const expected = confirmationMac(confirmation, role);
  return expected.length === mac.length && timingSafeEqual(expected, mac);
}

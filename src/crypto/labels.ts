/**
 * Every label that separates one derived value or signature from another, in one place.
 *
 *   label            fields              of what
 *   wireguard        AID, epoch          prf: WireGuard private key (clamped afterwards)
 *   ml-kem-1024      AID, epoch          prf: 64-byte seed of the tunnel's ML-KEM-1024 key pair
 *   kek              n                   prf: key that seals data at rest
 *   pair                                 HKDF info of the pair agreement: root and confirmation key
 *   contribution     name                which secret a length-prefixed contribution to that HKDF is
 *   chain                                HKDF-Expand(root): chain key of epoch 0
 *   next                                 HKDF-Expand(chain): chain key of the following epoch
 *   psk                                  HKDF-Expand(chain): the epoch's preshared key
 *   pair-initiator   transcript hash     what the initiator of an agreement signs
 *   pair-responder   transcript hash     what the responder signs
 *   mac-initiator                        HMAC with the confirmation key, by the initiator
 *   mac-responder                        the same, by the responder
 *   custodian-card   the card            what the key of a custodian signs to prove that its maker holds it
 *
 * Encoding: `kelmesh/1/` label, then each field as 4-byte big-endian length and bytes. A label has no byte
 * 0x00 and a length below 2^24 begins with one, so no two (label, fields) give the same string.
 */
import { concatBytes, lengthPrefixed, uint64be, utf8 } from '#src/bytes';
import { CryptoError } from './errors.ts';

/** @param purpose lower-case letters, digits and hyphens  @param fields each shorter than 2^24 bytes */
export function label(purpose: string, ...fields: readonly Uint8Array[]): Uint8Array {
  if (!/^[a-z0-9-]+$/.test(purpose)) {
    throw new CryptoError(
      'CRYPTO_BAD_LENGTH',
      `label: expected letters, digits and hyphens, got ${JSON.stringify(purpose)}`,
    );
  }
  for (const field of fields) {
    if (field.length >= 2 ** 24) {
      throw new CryptoError(
        'CRYPTO_BAD_LENGTH',
        `label field: expected fewer than 2^24 bytes, got ${field.length}`,
      );
    }
  }
  return concatBytes(utf8(`kelmesh/1/${purpose}`), lengthPrefixed(...fields));
}

/** @param aid qb64 of the node  @param epoch key epoch, from 0 */
export function wireguardLabel(aid: string, epoch: number): Uint8Array {
  return label('wireguard', utf8(aid), counter(epoch));
}

/** @param aid qb64 of the node  @param epoch key epoch, from 0 */
export function mlKemLabel(aid: string, epoch: number): Uint8Array {
  return label('ml-kem-1024', utf8(aid), counter(epoch));
}

/** @param n generation of the key, from 0 */
export function kekLabel(n: number): Uint8Array {
  return label('kek', counter(n));
}

export type PairRole = 'initiator' | 'responder';

/** Contributions to a pair agreement, in the order in which they are fed to HKDF. */
export type PairContribution =
  | 'ml-kem-1024-responder'
  | 'ml-kem-1024-initiator'
  | 'ml-kem-1024-ephemeral'
  | 'x25519'
  | 'hqc-256-responder'
  | 'hqc-256-initiator'
  | 'hardware'
  | 'broker'
  | 'qkd'
  | 'manual';

export function pairContributionLabel(name: PairContribution): Uint8Array {
  return label('contribution', utf8(name));
}

/** @param transcriptHash 32 bytes  @returns what the KEL keys of that side sign */
export function pairSignatureLabel(role: PairRole, transcriptHash: Uint8Array): Uint8Array {
  return label(`pair-${role}`, transcriptHash);
}

export function pairMacLabel(role: PairRole): Uint8Array {
  return label(`mac-${role}`);
}

export const pairInfo = label('pair');
export const chainStart = label('chain');
export const chainNext = label('next');
export const chainPsk = label('psk');

function counter(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new CryptoError(
      'CRYPTO_BAD_LENGTH',
      `label counter: expected a whole number from 0, got ${value}`,
    );
  }
  return uint64be(BigInt(value));
}

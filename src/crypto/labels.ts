/**
 * Every label that separates one derived value or signature from another, in one place.
 *
 *   label            fields              of what
 *   wireguard        AID, epoch          prf: WireGuard private key (clamped afterwards)
 *   ml-kem-1024      AID, epoch          prf: 64-byte seed of the tunnel's ML-KEM-1024 key pair
 *   tunnel-key       record              what a WireGuard key signs (XEdDSA) to prove that the issuer of its record holds it
 *   kek              number of a purpose prf: key that seals data at rest, or from which the peer key derives
 *   libp2p           a kek               hash: seed of the peer key
 *   agreement-store  head of the value   associated data of a sealed agreement
 *   log-key-at-rest                      associated data of the sealed audit log key
 *   pair-transcript                      begins what is hashed to the transcript hash of an agreement
 *   pair                                 HKDF info of the pair agreement: root and confirmation key
 *   contribution     name                which secret a length-prefixed contribution to that HKDF is
 *   chain                                HKDF-Expand(root): chain key of epoch 0
 *   next                                 HKDF-Expand(chain): chain key of the following epoch
 *   psk                                  HKDF-Expand(chain): the epoch's preshared key
 *   pair-initiator   transcript hash     hash: what the KEL keys of the initiator of an agreement sign
 *   pair-responder   transcript hash     the same, of the responder
 *   mac-initiator                        HMAC with the confirmation key, by the initiator
 *   mac-responder                        the same, by the responder
 *   custodian-card   the card            what the key of a custodian signs to prove that its maker holds it
 *   dossier          header digest, AID, sn, SAID   what the exporter of an evidence bundle signs
 *   leaf-salt        field               HMAC with a leaf's key: salt of the field's commitment
 *   leaf-field       leaf, field, salt, value   hash: commitment to a field of a leaf
 *   mesh-prefix      mesh                hash: the mesh's part of overlay addresses
 *   overlay          mesh, AID           hash: the node's part of its overlay address
 *   invite-check     what it is the check of   hash: whether an invite line is whole
 *
 * Encoding: `kelmesh/1/` label, then each field as 4-byte big-endian length and bytes. A label has no byte
 * 0x00 and a length below 2^24 begins with one, so no two (label, fields) give the same string.
 * `mesh-prefix` and `overlay` have the length of `kelmesh/1/` label before it as well.
 */
import { concatBytes, lengthPrefixed, uint64be, utf8 } from '#src/bytes';
import { CryptoError } from './errors.ts';

/** Used through the functions below alone. @param purpose lower-case letters, digits and hyphens  @param fields each shorter than 2^24 bytes */
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
  const prefixed = lengthPrefixed(...fields);
  const whole = concatBytes(utf8(`kelmesh/1/${purpose}`), prefixed);
  // A field may be secret; the whole is wiped by whoever gave it.
  prefixed.fill(0);
  return whole;
}

/** @param aid qb64 of the node  @param epoch key epoch, from 0 */
export function wireguardLabel(aid: string, epoch: number): Uint8Array {
  return label('wireguard', utf8(aid), counter(epoch));
}

/** @param aid qb64 of the node  @param epoch key epoch, from 0 */
export function mlKemLabel(aid: string, epoch: number): Uint8Array {
  return label('ml-kem-1024', utf8(aid), counter(epoch));
}

/** @param record body of the `tun` record that names the key, without the proof  @returns what that key signs */
export function tunnelKeyProofLabel(record: Uint8Array): Uint8Array {
  return label('tunnel-key', record);
}

/** What is sealed on disk under a key is lost with its number: none is ever changed or given again. */
const KEK_NUMBERS = { agreements: 1, 'audit-log': 2, 'peer-key': 3 } as const;

export type KekPurpose = keyof typeof KEK_NUMBERS;

export function kekLabel(purpose: KekPurpose): Uint8Array {
  return label('kek', counter(KEK_NUMBERS[purpose]));
}

/** @param kek 32 bytes  @returns what is hashed to the seed of the peer key: secret */
export function peerSeedLabel(kek: Uint8Array): Uint8Array {
  return label('libp2p', kek);
}

/** @param head what stands in clear before the sealed bytes */
export function agreementStoreLabel(head: Uint8Array): Uint8Array {
  return label('agreement-store', head);
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

/** @param transcriptHash 32 bytes  @returns the KEL keys of that side sign the SHA-256 of it */
export function pairSignatureLabel(role: PairRole, transcriptHash: Uint8Array): Uint8Array {
  return label(`pair-${role}`, transcriptHash);
}

export function pairMacLabel(role: PairRole): Uint8Array {
  return label(`mac-${role}`);
}

/** @param card CBOR of the card without its proof */
export function custodianCardLabel(card: Uint8Array): Uint8Array {
  return label('custodian-card', card);
}

/** @param headerDigest 32 bytes  @param aid qb64 of the exporter  @param sn  @param said of its establishment event, qb64 */
export function dossierLabel(
  headerDigest: Uint8Array,
  aid: string,
  sn: number,
  said: string,
): Uint8Array {
  return label('dossier', headerDigest, utf8(aid), counter(sn), utf8(said));
}

/** @param content of the invite line, behind its check */
export function inviteCheckLabel(content: Uint8Array): Uint8Array {
  return label('invite-check', content);
}

export function leafSaltLabel(field: string): Uint8Array {
  return label('leaf-salt', utf8(field));
}

/** @param salt 32 bytes  @param value CBOR */
export function leafFieldLabel(
  leaf: string,
  field: string,
  salt: Uint8Array,
  value: Uint8Array,
): Uint8Array {
  return label('leaf-field', utf8(leaf), utf8(field), salt, value);
}

/** @param mesh qb64 */
export function meshPrefixLabel(mesh: string): Uint8Array {
  return lengthPrefixed(label('mesh-prefix'), utf8(mesh));
}

/** @param mesh qb64  @param aid qb64 of the node */
export function overlayLabel(mesh: string, aid: string): Uint8Array {
  return lengthPrefixed(label('overlay'), utf8(mesh), utf8(aid));
}

export const logKeyAtRest = label('log-key-at-rest');
export const pairTranscript = label('pair-transcript');
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

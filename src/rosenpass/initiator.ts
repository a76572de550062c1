/**
 * The initiator's half of a handshake, as computation alone: what goes into the chaining key, in which order. Step names (IHI, RHI,
 * ICI: InitHello, RespHello, InitConf at the initiator) are those of the whitepaper.
 */
import type { Rng } from '#src/rng';
import { ChainingKey } from './chaining-key.ts';
import type { EphemeralKem, EphemeralKey, StaticKem } from './kem.ts';
import { formatMessage, type InitHello, type RespHello, SESSION_ID_LENGTH } from './messages.ts';
import { macFor, type PublicKeyHashes } from './public-key-hashes.ts';
import { wipe } from './wipe.ts';

/** What both ends need of the other and of themselves; `psk`: 32 bytes, zeros where there is none. */
export interface HandshakeKeys {
  readonly own: PublicKeyHashes;
  readonly peer: PublicKeyHashes;
  /** 524,160 bytes each. */
  readonly ownPublicKey: Uint8Array;
  readonly peerPublicKey: Uint8Array;
  readonly psk: Uint8Array;
}

export interface HandshakeKems {
  readonly staticKem: StaticKem;
  readonly ephemeralKem: EphemeralKem;
}

/** An InitHello that waits for its answer. */
export interface BegunHandshake extends Disposable {
  readonly sidi: Uint8Array;
  readonly ephemeral: EphemeralKey;
  readonly chainingKey: ChainingKey;
  readonly datagram: Uint8Array;
}

/** A handshake of which the initiator knows the key. */
export interface ConfirmedHandshake extends Disposable {
  readonly chainingKey: ChainingKey;
  /** InitConf. */
  readonly datagram: Uint8Array;
}

/** @param sidi 4 bytes that no other handshake of this end has */
export function beginHandshake(
  { staticKem, ephemeralKem }: HandshakeKems,
  { own, peer, ownPublicKey, peerPublicKey, psk }: HandshakeKeys,
  sidi: Uint8Array,
): BegunHandshake {
  const chainingKey = new ChainingKey(peer.domains, peer.start);
  const ephemeral = ephemeralKem.generate();
  chainingKey.mix(sidi, ephemeral.publicKey);
  // IHI5
  const { ciphertext, sharedSecret } = staticKem.encapsulate(peerPublicKey);
  chainingKey.mix(peerPublicKey, sharedSecret, ciphertext);
  wipe(sharedSecret);
  const sealedPeerId = chainingKey.encryptAndMix(own.peerId);
  chainingKey.mix(ownPublicKey, psk);
  const message: InitHello = {
    kind: 'init-hello',
    sidi,
    ephemeralKey: ephemeral.publicKey,
    staticCiphertext: ciphertext,
    sealedPeerId,
    auth: chainingKey.encryptAndMix(),
  };
  return {
    sidi,
    ephemeral,
    chainingKey,
    datagram: formatMessage(message, (bytes) => macFor(peer, bytes)),
    [Symbol.dispose]() {
      ephemeral[Symbol.dispose]();
      chainingKey[Symbol.dispose]();
    },
  };
}

/** Undefined, and nothing of `begun` is changed, when the answer is not one to it. */
export function confirmHandshake(
  { staticKem }: HandshakeKems,
  { peer, ownPublicKey }: Pick<HandshakeKeys, 'peer' | 'ownPublicKey'>,
  begun: BegunHandshake,
  answer: RespHello,
): ConfirmedHandshake | undefined {
  const { sidi, sidr, ephemeralCiphertext, staticCiphertext, biscuit, auth } = answer;
  const chainingKey = begun.chainingKey.copy();
  chainingKey.mix(sidr, sidi);
  // RHI4, RHI5
  const ephemeralSecret = begun.ephemeral.decapsulate(ephemeralCiphertext);
  chainingKey.mix(begun.ephemeral.publicKey, ephemeralSecret, ephemeralCiphertext);
  const staticSecret = staticKem.decapsulate(staticCiphertext);
  chainingKey.mix(ownPublicKey, staticSecret, staticCiphertext);
  wipe(ephemeralSecret, staticSecret);
  chainingKey.mix(biscuit);
  if (chainingKey.decryptAndMix(auth) === undefined) {
    chainingKey[Symbol.dispose]();
    return undefined;
  }
  // ICI3: the other order than in RespHello.
  chainingKey.mix(sidi, sidr);
  const confirmation = { sidi, sidr, biscuit, auth: chainingKey.encryptAndMix() };
  return {
    chainingKey,
    datagram: formatMessage({ kind: 'init-conf', ...confirmation }, (bytes) => macFor(peer, bytes)),
    [Symbol.dispose]: () => chainingKey[Symbol.dispose](),
  };
}

/** A session id that `isTaken` does not know. */
export function freshSessionId(rng: Rng, isTaken: (sid: Uint8Array) => boolean): Uint8Array {
  for (;;) {
    const sid = rng.bytes(SESSION_ID_LENGTH);
    if (!isTaken(sid)) return sid;
  }
}

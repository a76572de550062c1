/**
 * The responder's half of a handshake, as computation alone. Between RespHello and InitConf it remembers nothing: the biscuit does.
 * Step names (IHR, RHR, ICR) are those of the whitepaper.
 */
import type { BiscuitKeys } from './biscuits.ts';
import { ChainingKey } from './chaining-key.ts';
import type { HandshakeKems } from './initiator.ts';
import { HASH_LENGTH } from './keyed-hash.ts';
import { formatMessage, type InitConf, type InitHello } from './messages.ts';
import { biscuitBinding, macFor, type PublicKeyHashes } from './public-key-hashes.ts';
import { wipe } from './wipe.ts';

/** Whom an InitHello says to come from. */
export interface ClaimedInitiator<P> extends Disposable {
  readonly peer: P;
  readonly chainingKey: ChainingKey;
}

export type InitHelloRefusal = 'unknown-peer' | 'not-authentic';

/**
 * IHR 1 to 6, with the one decapsulation that a stranger can bring about.
 * @param find the peer of an id, 32 bytes
 */
export function openInitHello<P>(
  { staticKem }: HandshakeKems,
  own: PublicKeyHashes,
  ownPublicKey: Uint8Array,
  hello: InitHello,
  find: (peerId: Uint8Array) => P | undefined,
): ClaimedInitiator<P> | InitHelloRefusal {
  const chainingKey = new ChainingKey(own.domains, own.start);
  chainingKey.mix(hello.sidi, hello.ephemeralKey);
  const secret = staticKem.decapsulate(hello.staticCiphertext);
  chainingKey.mix(ownPublicKey, secret, hello.staticCiphertext);
  wipe(secret);
  const peerId = chainingKey.decryptAndMix(hello.sealedPeerId);
  const peer = peerId === undefined ? undefined : find(peerId);
  if (peer !== undefined)
    return { peer, chainingKey, [Symbol.dispose]: () => chainingKey[Symbol.dispose]() };
  chainingKey[Symbol.dispose]();
  return peerId === undefined ? 'not-authentic' : 'unknown-peer';
}

export interface RespHelloOptions {
  readonly own: PublicKeyHashes;
  readonly peer: PublicKeyHashes;
  readonly peerPublicKey: Uint8Array;
  readonly psk: Uint8Array;
  readonly sidr: Uint8Array;
  readonly biscuits: BiscuitKeys;
  /** Milliseconds, monotonic. */
  readonly now: number;
}

/**
 * IHR 7 and 8, RHR 1 to 7.
 * @param chainingKey after {@link openInitHello}; used up  @returns the RespHello; undefined for an InitHello that is not authentic
 */
export function answerInitHello(
  { staticKem, ephemeralKem }: HandshakeKems,
  options: RespHelloOptions,
  hello: InitHello,
  chainingKey: ChainingKey,
): Uint8Array | undefined {
  const { own, peer, peerPublicKey, psk, sidr, biscuits, now } = options;
  const { sidi, ephemeralKey } = hello;
  chainingKey.mix(peerPublicKey, psk);
  if (chainingKey.decryptAndMix(hello.auth) === undefined) return undefined;
  chainingKey.mix(sidr, sidi);
  const ephemeral = ephemeralKem.encapsulate(ephemeralKey);
  if (ephemeral === undefined) return undefined;
  chainingKey.mix(ephemeralKey, ephemeral.sharedSecret, ephemeral.ciphertext);
  const fixed = staticKem.encapsulate(peerPublicKey);
  chainingKey.mix(peerPublicKey, fixed.sharedSecret, fixed.ciphertext);
  wipe(ephemeral.sharedSecret, fixed.sharedSecret);
  const kept = chainingKey.expose();
  const biscuit = biscuits.seal(peer.peerId, kept, biscuitBinding(own, sidi, sidr), now);
  wipe(kept);
  chainingKey.mix(biscuit);
  const answer = {
    kind: 'resp-hello',
    sidr,
    sidi,
    ephemeralCiphertext: ephemeral.ciphertext,
    staticCiphertext: fixed.ciphertext,
    biscuit,
    auth: chainingKey.encryptAndMix(),
  } as const;
  return formatMessage(answer, (bytes) => macFor(peer, bytes));
}

/** What an InitConf proves. */
export interface ProvenInitiator extends Disposable {
  readonly peerId: Uint8Array;
  readonly biscuitNumber: bigint;
  /** The last one of the handshake. */
  readonly chainingKey: ChainingKey;
}

/** ICR 1 to 4. Undefined for a biscuit that opens no more, or was never baked here, and for an InitConf that does not fit it. */
export function openInitConf(
  own: PublicKeyHashes,
  biscuits: BiscuitKeys,
  { sidi, sidr, biscuit, auth }: InitConf,
  now: number,
): ProvenInitiator | 'no-biscuit' | 'not-authentic' {
  const opened = biscuits.open(biscuit, biscuitBinding(own, sidi, sidr), now);
  if (opened === undefined) return 'no-biscuit';
  const chainingKey = new ChainingKey(own.domains, opened.chainingKey);
  wipe(opened.chainingKey);
  chainingKey.mix(biscuit);
  // RHR7 once more, then the fields in the order of InitConf.
  chainingKey.encryptAndMix();
  chainingKey.mix(sidi, sidr);
  if (chainingKey.decryptAndMix(auth) === undefined) {
    chainingKey[Symbol.dispose]();
    return 'not-authentic';
  }
  return {
    peerId: opened.peerId,
    biscuitNumber: opened.number,
    chainingKey,
    [Symbol.dispose]: () => chainingKey[Symbol.dispose](),
  };
}

/** 32 zero bytes: the PSK of peers that have none. */
export const NO_PSK = new Uint8Array(HASH_LENGTH);

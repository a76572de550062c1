/** What the handshake needs of a public key again and again: hashes of 524,160 bytes, each made once and kept in 32. */
import { concatBytes } from '#src/bytes';
import type { HashDomains } from './hash-domains.ts';
import { MAC_LENGTH } from './messages.ts';

export interface PublicKeyHashes {
  readonly domains: HashDomains;
  /** The name of the key; differs between the versions. */
  readonly peerId: Uint8Array;
  /** Key of the MAC of what is sent to its holder. */
  readonly macKey: Uint8Array;
  /** Chaining key at the start of a handshake that its holder answers. */
  readonly start: Uint8Array;
  /** First node of what the biscuits of its holder are bound to. */
  readonly biscuit: Uint8Array;
}

export function hashPublicKey(domains: HashDomains, publicKey: Uint8Array): PublicKeyHashes {
  const { hash } = domains;
  return {
    domains,
    peerId: hash(domains.peerId, publicKey),
    macKey: hash(domains.mac, publicKey),
    start: hash(domains.start, publicKey),
    biscuit: hash(domains.biscuit, publicKey),
  };
}

/** MAC of a datagram for the holder of the key: 16 bytes. */
export function macFor(
  { domains, macKey }: PublicKeyHashes,
  authenticated: Uint8Array,
): Uint8Array {
  return domains.hash(macKey, authenticated).slice(0, MAC_LENGTH);
}

/** Associated data of a biscuit. */
export function biscuitBinding(
  { domains: { hash }, biscuit }: PublicKeyHashes,
  sidi: Uint8Array,
  sidr: Uint8Array,
): Uint8Array {
  return hash(hash(biscuit, sidi), sidr);
}

/** A text for maps: peer ids of two versions never meet there. */
export function peerIdKey(domains: HashDomains, peerId: Uint8Array): string {
  return concatBytes(Uint8Array.of(domains.version === 'V02' ? 2 : 3), peerId).toBase64();
}

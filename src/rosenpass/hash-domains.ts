/**
 * Every label that separates one hash of Rosenpass from another, in one place: a tree whose nodes are keys, each the hash of a label
 * under the node above, from 32 zero bytes on.
 *
 *   protocol                               the string below
 *     mac, peer id                         first field of a message's MAC; name of a static key
 *     biscuit additional data              what a biscuit is bound to
 *     chaining key init                    start of a handshake
 *     cookie, cookie-key                   proof of address (SHAKE256, whatever the peer speaks)
 *     chaining key extract
 *       mix                                takes data into the chaining key
 *       handshake encryption               key of one sealed field
 *       responder handshake encryption     key of EmptyData
 *       user, rosenpass.eu, wireguard psk  the key that is put out; other labels after `user` for other uses
 */
import { utf8 } from '#src/bytes';
import { HASH_LENGTH, type KeyedHash, keyedHashes, type RosenpassVersion } from './keyed-hash.ts';

/** The string of V02 says BLAKE2s and HMAC where neither is used: it is a name, and part of the protocol. */
const PROTOCOLS: Readonly<Record<RosenpassVersion, string>> = {
  V02: 'Rosenpass v1 mceliece460896 Kyber512 ChaChaPoly1305 BLAKE2s',
  V03: 'Rosenpass v1 mceliece460896 Kyber512 ChaChaPoly1305 SHAKE256',
};

/** What the key that is put out is for. */
export interface OutputLabel {
  readonly organization: string;
  readonly labels: readonly string[];
}

const WIREGUARD_PSK: OutputLabel = { organization: 'rosenpass.eu', labels: ['wireguard psk'] };

/** The nodes of one hash; 32 bytes each. */
export interface HashDomains {
  readonly version: RosenpassVersion;
  readonly hash: KeyedHash;
  readonly mac: Uint8Array;
  readonly peerId: Uint8Array;
  readonly biscuit: Uint8Array;
  readonly start: Uint8Array;
  readonly mix: Uint8Array;
  readonly handshakeEncryption: Uint8Array;
  readonly responderEncryption: Uint8Array;
  /** @returns the node of an output key */
  output(label?: OutputLabel): Uint8Array;
}

export const hashDomains: Readonly<Record<RosenpassVersion, HashDomains>> = {
  V02: domainsOf('V02'),
  V03: domainsOf('V03'),
};

const v03 = protocolNode('V03');
/** Of SHAKE256 alone. */
export const cookieDomains = {
  cookie: node(keyedHashes.V03, v03, 'cookie'),
  key: node(keyedHashes.V03, v03, 'cookie-key'),
} as const;

function domainsOf(version: RosenpassVersion): HashDomains {
  const hash = keyedHashes[version];
  const protocol = protocolNode(version);
  const extract = node(hash, protocol, 'chaining key extract');
  return {
    version,
    hash,
    mac: node(hash, protocol, 'mac'),
    peerId: node(hash, protocol, 'peer id'),
    biscuit: node(hash, protocol, 'biscuit additional data'),
    start: node(hash, protocol, 'chaining key init'),
    mix: node(hash, extract, 'mix'),
    handshakeEncryption: node(hash, extract, 'handshake encryption'),
    responderEncryption: node(hash, extract, 'responder handshake encryption'),
    output: ({ organization, labels } = WIREGUARD_PSK) =>
      node(hash, extract, 'user', organization, ...labels),
  };
}

function protocolNode(version: RosenpassVersion): Uint8Array {
  return node(keyedHashes[version], new Uint8Array(HASH_LENGTH), PROTOCOLS[version]);
}

function node(hash: KeyedHash, from: Uint8Array, ...labels: readonly string[]): Uint8Array {
  return labels.reduce((key, label) => hash(key, utf8(label)), from);
}

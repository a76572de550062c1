/** libp2p peer ids of Ed25519 keys, without loading libp2p. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { concatBytes } from '#src/bytes';
import type { Secret } from '#src/secret';
import { NetworkError } from './errors.ts';
import type { PeerAddress, PeerKey } from './network.ts';

const SEED_LENGTH = 32;

/** PKCS #8 `PrivateKeyInfo` of an Ed25519 key up to the seed (RFC 8410 section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Identity multihash (code 0x00, length 0x24) of the protobuf `PublicKey { Type: Ed25519, Data: 32 bytes }`:
 * libp2p specification "Peer Ids and Keys", sections "Keys" and "Peer Ids".
 */
const PEER_ID_PREFIX = Buffer.from('002408011220', 'hex');

/**
 * Peer id of a node's network key.
 * @param seed 32 bytes, RFC 8032
 * @throws NETWORK_BAD_KEY
 */
export function peerKeyOf(seed: Secret): PeerKey {
  if (seed.length !== SEED_LENGTH) {
    throw new NetworkError(
      'NETWORK_BAD_KEY',
      `expected a seed of ${SEED_LENGTH} bytes, got ${seed.length}`,
    );
  }
  const der = Buffer.concat([PKCS8_PREFIX, seed.expose()]);
  try {
    const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
    const publicKey = key.export({ format: 'der', type: 'spki' }).subarray(-32);
    return base58(concatBytes(PEER_ID_PREFIX, publicKey)) as PeerKey;
  } finally {
    der.fill(0);
  }
}

/** The peer that `address` names in its last `/p2p/` part, if any. */
export function peerOf(address: PeerAddress): PeerKey | undefined {
  return address.match(/\/p2p\/([^/]+)$/)?.[1] as PeerKey | undefined;
}

/** A multiaddr object of libp2p as text. */
export function addressText(address: { toString(): string }): PeerAddress {
  return address.toString() as PeerAddress;
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

/** base58btc; a leading zero byte is a leading `1`. */
function base58(bytes: Uint8Array): string {
  let value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  let text = '';
  for (; value > 0n; value /= 58n) text = BASE58.charAt(Number(value % 58n)) + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros) + text;
}

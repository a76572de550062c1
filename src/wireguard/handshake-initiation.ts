/** The first message of a WireGuard handshake, as far as anybody can read it who knows public keys (whitepaper 5.4.2, 5.4.4). */
import { blake2s } from '@noble/hashes/blake2.js';
import { concatBytes, equalBytes, utf8 } from '../bytes.ts';
import type { WireGuardKey } from './tunnel-driver.ts';

const LENGTH = 148;
const TYPE = 1;
const MAC1 = { from: 116, to: 132 };
/** LABEL-MAC1 of the whitepaper. */
const LABEL = utf8('mac1----');

/**
 * To which of these peers the message wants: `mac1` is keyed with the static key of its receiver.
 * @param datagram attacker-controlled
 */
export function receiverOf(
  datagram: Uint8Array,
  peers: Iterable<WireGuardKey>,
): WireGuardKey | undefined {
  if (datagram.length !== LENGTH || datagram[0] !== TYPE) return undefined;
  const message = datagram.subarray(0, MAC1.from);
  const mac1 = datagram.subarray(MAC1.from, MAC1.to);
  for (const peer of peers) {
    const key = blake2s(concatBytes(LABEL, Uint8Array.fromHex(peer)));
    if (equalBytes(blake2s(message, { key, dkLen: mac1.length }), mac1)) return peer;
  }
  return undefined;
}

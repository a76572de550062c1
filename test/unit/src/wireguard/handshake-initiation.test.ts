import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { blake2s } from '@noble/hashes/blake2.js';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { receiverOf } from '#src/wireguard/handshake-initiation';
import type { WireGuardKey } from '#src/wireguard/tunnel-driver';

const keys = [1, 2, 3].map((n) => n.toString(16).padStart(64, '0') as WireGuardKey);

/** As a device sends it: what is before mac1 is whatever it is. */
function initiation(to: WireGuardKey, filling = 7): Uint8Array {
  const message = new Uint8Array(148).fill(filling);
  message.set([1, 0, 0, 0]);
  // With another program's hash: the key of mac1 is the plain hash of label and static key.
  const key = createHash('blake2s256').update('mac1----').update(Buffer.from(to, 'hex')).digest();
  message.set(blake2s(message.subarray(0, 116), { key, dkLen: 16 }), 116);
  return message;
}

describe('the first message of a handshake', () => {
  it('tells to which of the peers it wants, and to nobody else', () => {
    for (const key of keys) assert.equal(receiverOf(initiation(key), keys), key);
    assert.equal(receiverOf(initiation(keys[0] as WireGuardKey), keys.slice(1)), undefined);
    assert.equal(receiverOf(initiation(keys[0] as WireGuardKey), []), undefined);
  });

  it('tells nothing when a byte of it is another, or it is of another length or type', () => {
    const [key] = keys as [WireGuardKey];
    fc.assert(
      fc.property(fc.nat(131), fc.integer({ min: 1, max: 255 }), (at, delta) => {
        const message = initiation(key);
        message[at] = (message[at] ?? 0) ^ delta;
        assert.equal(receiverOf(message, keys), undefined);
      }),
    );
    for (const length of [0, 1, 116, 147, 149, 2_000])
      assert.equal(receiverOf(new Uint8Array(length).fill(1), keys), undefined);
  });
});

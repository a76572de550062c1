/**
 * Biscuits: what a responder would have to remember of a handshake, sealed for itself and given to the initiator to bring back. Until
 * then a stranger has no room in its memory.
 *
 *   biscuit  = nonce (24) ‖ sealed: peer id (32) ‖ number (12, little-endian) ‖ chaining key (32) ‖ tag (16)
 *
 * Two keys take turns: a young one, for 300 s, seals; the one before it still opens, for 300 s more, and is then overwritten. The top
 * bit of the nonce says which.
 */
import { concatBytes } from '#src/bytes';
import type { Rng } from '#src/rng';
import { LONG_NONCE_LENGTH, openLong, sealLong } from './aead.ts';
import { HASH_LENGTH } from './keyed-hash.ts';
import { wipe } from './wipe.ts';

/** A key seals for so long, and opens for so long again; milliseconds. */
const BISCUIT_EPOCH_MS = 300_000;
const NUMBER_LENGTH = 12;
const KEY_BIT = 0x80;

export interface Biscuit {
  /** Of the initiator. */
  readonly peerId: Uint8Array;
  /** Rises with every one that is given out. */
  readonly number: bigint;
  /** Secret; whoever opens the biscuit wipes it. */
  readonly chainingKey: Uint8Array;
}

interface BiscuitKey {
  bytes: Uint8Array;
  /** Undefined: never used, and opens nothing. */
  since: number | undefined;
}

export class BiscuitKeys implements Disposable {
  readonly #rng: Rng;
  readonly #keys: readonly [BiscuitKey, BiscuitKey];
  #last = 0n;

  constructor(rng: Rng) {
    this.#rng = rng;
    // Both are random from the start: a key of zeros would let anybody bake.
    this.#keys = [this.#fresh(), this.#fresh()];
  }

  /** Of the biscuit that was sealed last; 0 for none. */
  get lastNumber(): bigint {
    return this.#last;
  }

  /** When {@link expire} has something to do; undefined for never. */
  get expiresAt(): number | undefined {
    const times = this.#keys.flatMap(({ since }) => (since === undefined ? [] : [since]));
    return times.length === 0 ? undefined : Math.min(...times) + 2 * BISCUIT_EPOCH_MS;
  }

  /** @param chainingKey copied  @param now milliseconds, monotonic  @returns 116 bytes */
  seal(peerId: Uint8Array, chainingKey: Uint8Array, binding: Uint8Array, now: number): Uint8Array {
    const index = this.#young(now);
    const nonce = this.#rng.bytes(LONG_NONCE_LENGTH);
    nonce[0] = ((nonce[0] as number) & ~KEY_BIT) | (index * KEY_BIT);
    this.#last += 1n;
    const plaintext = concatBytes(peerId, numberBytes(this.#last), chainingKey);
    const sealed = sealLong(this.#keys[index].bytes, nonce, plaintext, binding);
    wipe(plaintext);
    return sealed;
  }

  /** Undefined for what was not sealed here, for this, or too long ago. */
  open(biscuit: Uint8Array, binding: Uint8Array, now: number): Biscuit | undefined {
    this.expire(now);
    const { bytes, since } = this.#keys[((biscuit[0] as number) & KEY_BIT) === 0 ? 0 : 1];
    if (since === undefined) return undefined;
    const plaintext = openLong(bytes, biscuit, binding);
    if (plaintext === undefined) return undefined;
    const numberAt = HASH_LENGTH + NUMBER_LENGTH;
    const opened = {
      peerId: plaintext.slice(0, HASH_LENGTH),
      number: readNumber(plaintext.subarray(HASH_LENGTH, numberAt)),
      chainingKey: plaintext.slice(numberAt),
    };
    wipe(plaintext);
    return opened;
  }

  /** Overwrites what no longer opens anything. */
  expire(now: number): void {
    for (const key of this.#keys)
      if (key.since !== undefined && now - key.since >= 2 * BISCUIT_EPOCH_MS) this.#renew(key);
  }

  #young(now: number): 0 | 1 {
    const [first, second] = this.#keys;
    const ages = [first, second].map(({ since = Number.NEGATIVE_INFINITY }) => now - since);
    const youngest = (ages[0] as number) < (ages[1] as number) ? 0 : 1;
    if ((ages[youngest] as number) < BISCUIT_EPOCH_MS) return youngest;
    const oldest = (ages[0] as number) > (ages[1] as number) ? 0 : 1;
    this.#renew(this.#keys[oldest]);
    this.#keys[oldest].since = now;
    return oldest;
  }

  #fresh(): BiscuitKey {
    return { bytes: this.#rng.bytes(HASH_LENGTH), since: undefined };
  }

  #renew(key: BiscuitKey): void {
    wipe(key.bytes);
    Object.assign(key, this.#fresh());
  }

  [Symbol.dispose](): void {
    for (const { bytes } of this.#keys) wipe(bytes);
  }
}

function numberBytes(number: bigint): Uint8Array {
  const bytes = new Uint8Array(NUMBER_LENGTH);
  new DataView(bytes.buffer).setBigUint64(0, number, true);
  return bytes;
}

function readNumber(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return view.getBigUint64(0, true) | (BigInt(view.getUint32(8, true)) << 64n);
}

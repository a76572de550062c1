/**
 * What each peer may ask for: a bucket of tokens per peer that fills at a steady rate (token bucket). One per purpose.
 *
 * The number of peers is bounded, and whoever has used least of its allowance is forgotten first: a crowd of new
 * keys gives nobody a fresh start. Time is monotonic: who sets the wall clock fills no bucket.
 */
import type { Clock } from '#src/clock';

export interface AllowanceOptions {
  /** Tokens that a peer not heard of for long has at once; what one request may cost at most. */
  readonly burst: number;
  /** Tokens that come back in the long run. */
  readonly perSecond: number;
  /** Peers remembered at a time; @default 2 048 */
  readonly maxPeers?: number;
}

interface Bucket {
  /** Below 0 for a debt, down to minus the burst. */
  tokens: number;
  at: number;
}

const DEFAULT_MAX_PEERS = 2_048;

export class Allowance<Key extends string> {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #options: Required<AllowanceOptions>;
  readonly #buckets = new Map<Key, Bucket>();
  #refused = 0;

  constructor(clock: Pick<Clock, 'monotonic'>, options: AllowanceOptions) {
    this.#clock = clock;
    this.#options = { maxPeers: DEFAULT_MAX_PEERS, ...options };
  }

  /** Requests that found too few tokens, since the start: what this bound has dropped. */
  get refused(): number {
    return this.#refused;
  }

  /** Peers remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes `cost` tokens; false, and takes none, when fewer are left. */
  take(peer: Key, cost = 1): boolean {
    const bucket = this.#bucketOf(peer);
    if (bucket.tokens < cost) {
      this.#refused += 1;
      return false;
    }
    bucket.tokens -= cost;
    return true;
  }

  /** Whether `cost` tokens are there; takes none. */
  has(peer: Key, cost = 1): boolean {
    return this.#bucketOf(peer).tokens >= cost;
  }

  /** Takes `cost` tokens whether they are there or not: for what turned out to be worthless once it was read. */
  charge(peer: Key, cost: number): void {
    const bucket = this.#bucketOf(peer);
    bucket.tokens = Math.max(bucket.tokens - cost, -this.#options.burst);
  }

  #bucketOf(peer: Key): Bucket {
    const known = this.#buckets.get(peer);
    if (known !== undefined) return this.#filled(known);
    if (this.#buckets.size >= this.#options.maxPeers) this.#evict();
    const bucket = { tokens: this.#options.burst, at: this.#clock.monotonic() };
    this.#buckets.set(peer, bucket);
    return bucket;
  }

  #filled(bucket: Bucket): Bucket {
    const { burst, perSecond } = this.#options;
    const now = this.#clock.monotonic();
    const elapsedMs = Math.max(0, now - bucket.at);
    bucket.tokens = Math.min(burst, bucket.tokens + (elapsedMs * perSecond) / 1_000);
    bucket.at = now;
    return bucket;
  }

  /** A full bucket says nothing, so all of those go; where there is none, the fullest. */
  #evict(): void {
    let fullest: Key | undefined;
    let most = Number.NEGATIVE_INFINITY;
    for (const [peer, bucket] of this.#buckets) {
      const { tokens } = this.#filled(bucket);
      if (tokens >= this.#options.burst) this.#buckets.delete(peer);
      else if (tokens > most) {
        fullest = peer;
        most = tokens;
      }
    }
    if (fullest !== undefined && this.#buckets.size >= this.#options.maxPeers)
      this.#buckets.delete(fullest);
  }
}

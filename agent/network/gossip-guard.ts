/**
 * What a peer may do to us through gossip: a rate, and a score that its rejected messages lower.
 *
 * The messages of a peer below {@link GRAYLIST} are not looked at. Points fade by half every ten minutes, so a
 * peer that was repaired comes back by itself.
 */
import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import type { PeerKey } from './network.ts';

/** Points of one rejected message: eight within a minute and the peer is no longer heard. */
const REJECT_POINTS = 11;
/** Points of one message above the rate. */
const EXCESS_POINTS = 1;
const HALF_LIFE_MS = 600_000;
const MAX_PEERS = 2_048;
/** Messages of one forwarder. */
const MESSAGES = { burst: 2_048, perSecond: 256, maxPeers: MAX_PEERS };
/** A message counts once more for each of these: what it costs to read follows its size, whoever it is of. */
const BYTES_PER_TOKEN = 1_024;

/** Score at and below which a forwarder is not heard; gossipsub's own default. */
export const GRAYLIST = -80;

interface Conduct {
  points: number;
  at: number;
}

export class GossipGuard {
  readonly #clock: Clock;
  readonly #messages: Allowance<PeerKey>;
  /** Of those alone that have something against them. */
  readonly #conduct = new Map<PeerKey, Conduct>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#messages = new Allowance(clock, MESSAGES);
  }

  /** Zero for a peer without fault, else negative. */
  score(peer: PeerKey): number {
    const record = this.#conduct.get(peer);
    return record ? -this.#aged(record).points : 0;
  }

  /** Takes one message of the forwarder's allowance; false when it has none left, or is not heard. @param bytes of the message */
  admit(peer: PeerKey, bytes = 0): boolean {
    if (!this.#messages.take(peer, 1 + Math.floor(bytes / BYTES_PER_TOKEN))) {
      this.#record(peer).points += EXCESS_POINTS;
      return false;
    }
    return this.score(peer) > GRAYLIST;
  }

  reject(peer: PeerKey): void {
    this.#record(peer).points += REJECT_POINTS;
  }

  #record(peer: PeerKey): Conduct {
    const known = this.#conduct.get(peer);
    if (known) return this.#aged(known);
    if (this.#conduct.size >= MAX_PEERS) this.#evict();
    const record = { points: 0, at: this.#clock.monotonic() };
    this.#conduct.set(peer, record);
    return record;
  }

  #aged(record: Conduct): Conduct {
    const elapsed = Math.max(0, this.#clock.monotonic() - record.at);
    record.points *= 0.5 ** (elapsed / HALF_LIFE_MS);
    record.at = this.#clock.monotonic();
    return record;
  }

  /** Forgets the peer with the least against it, so that a crowd of new keys cannot clear an old name. */
  #evict(): void {
    let least: PeerKey | undefined;
    let points = Number.POSITIVE_INFINITY;
    for (const [peer, record] of this.#conduct) {
      if (this.#aged(record).points < points) {
        least = peer;
        points = record.points;
      }
    }
    if (least !== undefined) this.#conduct.delete(least);
  }
}

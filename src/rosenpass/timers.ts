/** When things happen; milliseconds. What both ends must agree on is that of the Rust program. */
import type { Rng } from '#src/rng';

/** A session, and a handshake that does not finish, die after this. */
export const LIFE_MS = 180_000;
/** Age at which an end begins anew: sooner where it answered last, so that two ends with an endpoint take turns. */
export const REKEY_RESPONDER_MS = 120_000;
export const REKEY_INITIATOR_MS = 130_000;
/** Of an end that knows an address only because the other one wrote: that one had its chance. */
export const REKEY_LEARNED_MS = 150_000;

/** An InitConf that is not answered for so long meets a peer that has forgotten its biscuit: begin anew. */
export const UNCONFIRMED_MS = 20_000;
/** Of two InitHello that cross, the one of the lower id counts, if it is not older than this: it may be that only the other arrives. */
export const CROSSING_MS = 3_000;
/** Two exchanges that ended within this may have been taken in another order by the other end. */
export const COLLISION_MS = 10_000;
/** Pause before the exchange that settles it, of the lower id and of the higher. */
export const SETTLE_MS = [500, 3_000] as const;
/** How long an InitConf that comes again is answered. */
export const ANSWER_AGAIN_MS = 120_000;
/** How long a cookie value is good. */
export const COOKIE_LIFE_MS = 120_000;
/** Pause after a public key could not be read. */
export const TROUBLE_MS = 60_000;

const FIRST_DELAY_MS = 500;
const GROWTH = 2;
const MAX_GROWTH = 20;

/** Pause before the n-th repetition, from 0: 0.25 to 0.5 s, twice that each time, at most 5 to 10 s. */
export function retransmissionDelay(n: number, rng: Rng): number {
  const bytes = rng.bytes(2);
  const fraction = ((bytes[0] as number) * 256 + (bytes[1] as number)) / 65_536;
  return FIRST_DELAY_MS * Math.min(GROWTH ** n, MAX_GROWTH) * 0.5 * (1 + fraction);
}

/**
 * Who stands on a device under a WireGuard key that several members name in their records. WireGuard knows a peer by its key
 * alone, so one of them does; nobody takes a key by naming it first, and none is put out for good by another's claim.
 *
 * Possession that the record itself proves decides. Where no record does (version 1 has no proof), the one that completes a
 * handshake counts: it takes the private key *and* the preshared key of this pair, which its two ends alone have. Until
 * one has, they take turns, each with its own endpoint and preshared key.
 */
import type { Aid } from '#kel/identifiers';

/** What a proof in the record says; `unproven` without one. */
export type Possession = 'proven' | 'refuted' | 'unproven';

export interface KeyClaim {
  readonly aid: Aid;
  readonly possession: Possession;
  /** Traffic of the pair runs under the key: it has shaken hands. */
  readonly hasHandshake: boolean;
}

/** How long each has the key while nobody has shaken hands, in milliseconds: WireGuard tries a handshake every 5 s. */
const TURN_MS = 30_000;

/** @param monotonic milliseconds  @returns from 0, one more each turn */
export function turnAt(monotonic: number): number {
  return Math.floor(monotonic / TURN_MS);
}

/** @param claims one per AID, in any order  @returns undefined when all are refuted */
export function holderOf(claims: readonly KeyClaim[], turn: number): Aid | undefined {
  const proven = claims.filter(({ possession }) => possession === 'proven');
  const standing =
    proven.length > 0 ? proven : claims.filter(({ possession }) => possession === 'unproven');
  const aidsOf = (some: readonly KeyClaim[]) => some.map(({ aid }) => aid).toSorted();
  const [holder] = aidsOf(standing.filter(({ hasHandshake }) => hasHandshake));
  if (holder !== undefined) return holder;
  const candidates = aidsOf(standing);
  return candidates[turn % Math.max(1, candidates.length)];
}

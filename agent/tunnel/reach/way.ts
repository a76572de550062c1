/**
 * Which way two devices take to each other, decided at both ends alike from what both have seen: pure, as ICE chooses a pair of
 * candidates (RFC 8445), but without a controlling end, since both know the same.
 */
import type { UdpEndpoint } from '#src/wireguard/tunnel-driver';
import { type Candidate, hostOfEndpoint, rankOf } from './candidate.ts';

/** A probe of the other end to the own candidate `index` has come from `source`. */
export interface Sighting {
  readonly index: number;
  readonly source: UdpEndpoint;
}

/** One end: where it may be reached, and what came there. */
export interface SightedEnd {
  readonly candidates: readonly Candidate[];
  readonly seen: readonly Sighting[];
}

/** Named from one end. */
export interface FoundWay {
  /** As the other end sends to it. */
  readonly own: UdpEndpoint;
  /** Where this end sends. */
  readonly peer: UdpEndpoint;
}

interface Line {
  readonly lower: UdpEndpoint;
  readonly higher: UdpEndpoint;
  readonly rank: number;
  /** Probes came at both ends. */
  readonly isConfirmed: boolean;
}

/** Further than any candidate: an address that only the other end has seen. */
const UNKNOWN_RANK = 9;

/**
 * The nearest way on which a probe has come; one on which probes came both ways before one that was seen from one end alone. That is
 * enough where only one end can begin: what it has sent to has a mapping that leads back.
 * @param isLower whether the own AID is the lower one: both ends count alike
 */
export function chooseWay(
  own: SightedEnd,
  peer: SightedEnd,
  isLower: boolean,
): FoundWay | undefined {
  const [lower, higher] = isLower ? [own, peer] : [peer, own];
  const atLower = hits(lower, higher).map(([hit, from, rank]) => ({
    lower: hit,
    higher: from,
    rank,
  }));
  const atHigher = hits(higher, lower).map(([hit, from, rank]) => ({
    lower: from,
    higher: hit,
    rank,
  }));
  const lines: Line[] = [...atLower, ...atHigher].map((line) => ({
    ...line,
    isConfirmed: [atLower, atHigher].every((half) => half.some((other) => isSame(line, other))),
  }));
  const best = lines.sort(compare)[0];
  if (best === undefined) return undefined;
  return isLower ? { own: best.lower, peer: best.higher } : { own: best.higher, peer: best.lower };
}

/** Where probes came at one end, from where at the other, and how near both are. */
function hits(
  to: SightedEnd,
  from: SightedEnd,
): readonly (readonly [UdpEndpoint, UdpEndpoint, number])[] {
  return to.seen.flatMap(({ index, source }) => {
    const hit = to.candidates[index];
    if (hit === undefined) return [];
    const known = from.candidates.find(({ endpoint }) => endpoint === source);
    const rank = rankOf(hit) + (known === undefined ? UNKNOWN_RANK : rankOf(known));
    return [[hit.endpoint, source, rank] as const];
  });
}

function isSame(a: Pick<Line, 'lower' | 'higher'>, b: Pick<Line, 'lower' | 'higher'>): boolean {
  return a.lower === b.lower && a.higher === b.higher;
}

function compare(a: Line, b: Line): number {
  if (a.isConfirmed !== b.isConfirmed) return a.isConfirmed ? -1 : 1;
  if (a.rank !== b.rank) return a.rank - b.rank;
  return `${a.lower} ${a.higher}` < `${b.lower} ${b.higher}` ? -1 : 1;
}

/** Where no device can send probes (the kernel's WireGuard): the pairs that are tried one after the other, the likeliest first. */
export function attemptsOf(
  own: readonly Candidate[],
  peer: readonly Candidate[],
  isLower: boolean,
): readonly FoundWay[] {
  const [lower, higher] = isLower ? [own, peer] : [peer, own];
  const isOneNat = observedHosts(lower).some((host) => observedHosts(higher).includes(host));
  const lines = lower.flatMap((a) =>
    higher
      .filter((b) => isIpv6(a) === isIpv6(b) && (a.kind === 'lan') === (b.kind === 'lan'))
      .map((b) => ({ a, b, rank: likelihood(a, isOneNat) + likelihood(b, isOneNat) })),
  );
  return lines
    .sort((x, y) => x.rank - y.rank)
    .slice(0, MAX_ATTEMPTS)
    .map(({ a, b }) =>
      isLower ? { own: a.endpoint, peer: b.endpoint } : { own: b.endpoint, peer: a.endpoint },
    );
}

const MAX_ATTEMPTS = 4;
/** A first handshake either way, over the longest round trip that people put up with, and a little more. */
const ATTEMPT_MS = 2_000;

/**
 * What both ends set now. They begin within a round trip of each other: whoever sends later meets a mapping that is open.
 * @param elapsedMs since both began  @returns undefined when all were tried
 */
export function nextAttempt(
  attempts: readonly FoundWay[],
  elapsedMs: number,
): { readonly way: FoundWay; readonly forMs: number } | undefined {
  const at = Math.floor(Math.max(0, elapsedMs) / ATTEMPT_MS);
  const way = attempts[at];
  return way && { way, forMs: (at + 1) * ATTEMPT_MS - Math.max(0, elapsedMs) };
}

/** A private address of another network leads to somebody else; behind one NAT it is the way that surely works. */
function likelihood(candidate: Candidate, isOneNat: boolean): number {
  if (candidate.kind === 'lan') return isOneNat ? -1 : UNKNOWN_RANK;
  return rankOf(candidate);
}

function observedHosts(candidates: readonly Candidate[]): readonly string[] {
  return candidates
    .filter(({ kind }) => kind === 'observed')
    .map(({ endpoint }) => hostOfEndpoint(endpoint));
}

function isIpv6({ endpoint }: Candidate): boolean {
  return endpoint.startsWith('[');
}

/** Where a device may be reached, as its own end knows it. Which of them leads there is found out by trying, see `way.ts`. */
import { scopeOf } from '#src/net/address-scope';
import type { UdpEndpoint } from '#src/wireguard/tunnel-driver';
import { parseUdpEndpoint } from '#src/wireguard/values';

/**
 * `lan`: an own address of a private range; `own`: an own address that all may reach; `configured`: by the operator;
 * `observed`: as another member has seen the device, or would.
 */
export const CANDIDATE_KINDS = ['lan', 'own', 'configured', 'observed'] as const;
export type CandidateOrigin = (typeof CANDIDATE_KINDS)[number];

export interface Candidate {
  readonly kind: CandidateOrigin;
  readonly endpoint: UdpEndpoint;
}

/** Of one end. */
export const MAX_CANDIDATES = 8;

export interface Whereabouts {
  /** UDP port of the device. */
  readonly port: number;
  /** IP addresses of this machine, in no order. */
  readonly own: readonly string[];
  /** IP addresses under which the operator says that it is reached. */
  readonly configured: readonly string[];
  /** As members have seen it, the best first. */
  readonly observed: readonly UdpEndpoint[];
}

/** Each endpoint once, under the first kind that has it; at most {@link MAX_CANDIDATES}, of every kind some. */
export function candidatesOf({ port, own, configured, observed }: Whereabouts): Candidate[] {
  const at = (host: string) => endpointOf(host, port);
  const isLan = (host: string) => scopeOf(host) === 'private';
  const byKind: Readonly<Record<CandidateOrigin, readonly (UdpEndpoint | undefined)[]>> = {
    lan: own.filter(isLan).slice(0, 3).map(at),
    own: own
      .filter((host) => !isLan(host))
      .slice(0, 3)
      .map(at),
    configured: configured.slice(0, 3).map(at),
    observed: observed.slice(0, 3),
  };
  // What was seen, and what the operator says, is not pushed out by a machine of many addresses.
  const all = (['observed', 'configured', 'own', 'lan'] as const).flatMap((kind) => byKind[kind]);
  return [...new Set(all)]
    .filter((endpoint) => endpoint !== undefined)
    .filter(mayBeTried)
    .slice(0, MAX_CANDIDATES)
    .map((endpoint) => ({ kind: nearestKind(byKind, endpoint), endpoint }))
    .sort((a, b) => rankOf(a) - rankOf(b));
}

function nearestKind(
  byKind: Readonly<Record<CandidateOrigin, readonly (UdpEndpoint | undefined)[]>>,
  endpoint: UdpEndpoint,
): CandidateOrigin {
  return CANDIDATE_KINDS.find((kind) => byKind[kind].includes(endpoint)) ?? 'observed';
}

/** The nearer the lower. */
export function rankOf({ kind }: Pick<Candidate, 'kind'>): number {
  return CANDIDATE_KINDS.indexOf(kind);
}

/** Whether a packet may be sent there at all because another end says so. */
export function mayBeTried(endpoint: UdpEndpoint): boolean {
  const scope = scopeOf(hostOfEndpoint(endpoint));
  return scope === 'public' || scope === 'private';
}

/** Its IP address, without brackets and zone. */
export function hostOfEndpoint(endpoint: UdpEndpoint): string {
  const host = endpoint.slice(0, endpoint.lastIndexOf(':'));
  return host.startsWith('[') ? (/^\[([^%\]]+)/.exec(host)?.[1] ?? host) : host;
}

/** @returns undefined for what is no address, such as a name */
export function endpointOf(host: string, port: number): UdpEndpoint | undefined {
  try {
    return parseUdpEndpoint(host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);
  } catch {
    return undefined;
  }
}

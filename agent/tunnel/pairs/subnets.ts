/**
 * Prefixes behind members: which of those that a member names are routed into the tunnel to it. Pure.
 *
 * Two have to say so: the policy of the charter lets the pair route a prefix, and the member itself names it in its `nod` record. A
 * prefix that several members name goes to one of them, since WireGuard takes packets of an address from one peer alone.
 */
import type { Aid } from '#kel/identifiers';
import type { GatewayFields } from '#kel/record/extension';
import { parseIpAddress } from '#src/net/ip-address';
import { type IpPrefix, isInPrefix, parseIpPrefix } from '#src/net/ip-prefix';
import type { Cidr } from '#src/wireguard/tunnel-driver';

export interface SubnetWorld {
  /** Of the mesh: an address there is of one member, and of nobody behind it. */
  readonly overlay: Cidr;
  /** Prefixes behind this node itself. */
  readonly own: readonly string[];
}

/** A member that is a gateway. */
export interface SubnetClaim {
  readonly aid: Aid;
  readonly gateway: GatewayFields;
  /** That the pair may route, by the policy. */
  readonly permitted: readonly string[];
  /** Where its packets go outside the tunnels, as `host:port`. */
  readonly endpoints: readonly string[];
  /** Whether a tunnel to it carries packets. */
  readonly isUp: boolean;
}

/** By member, in the order in which it names them. Of several that name one the lowest rank has it, then the lowest AID. */
export function subnetsOf(
  claims: readonly SubnetClaim[],
  world: SubnetWorld,
): ReadonlyMap<Aid, readonly Cidr[]> {
  const holders = new Map<Cidr, SubnetClaim>();
  for (const claim of claims.filter(({ isUp }) => isUp))
    for (const prefix of claim.gateway.pre) {
      if (!isRoutable(prefix, claim, world)) continue;
      const holder = holders.get(prefix);
      if (holder === undefined || isBefore(claim, holder)) holders.set(prefix, claim);
    }
  const subnets = new Map<Aid, Cidr[]>();
  for (const [prefix, { aid }] of holders) subnets.set(aid, [...(subnets.get(aid) ?? []), prefix]);
  return subnets;
}

function isBefore(a: SubnetClaim, b: SubnetClaim): boolean {
  return (
    a.gateway.rank - b.gateway.rank < 0 || (a.gateway.rank === b.gateway.rank && a.aid < b.aid)
  );
}

function isRoutable(
  prefix: string,
  { permitted, endpoints }: SubnetClaim,
  { overlay, own }: SubnetWorld,
): prefix is Cidr {
  const parsed = parseIpPrefix(prefix);
  if (parsed === undefined || !permitted.includes(prefix) || own.includes(prefix)) return false;
  if (overlaps(parsed, parseIpPrefix(overlay))) return false;
  // The tunnel's own packets would be led into the tunnel.
  return !endpoints.some((endpoint) => {
    const address = parseIpAddress(hostOf(endpoint));
    return address !== undefined && isInPrefix(address, parsed);
  });
}

function overlaps(a: IpPrefix, b: IpPrefix | undefined): boolean {
  return b !== undefined && (isInPrefix(a.bytes, b) || isInPrefix(b.bytes, a));
}

function hostOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

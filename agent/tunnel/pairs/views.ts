/** What logs and records say of the keys of a pair, and where the other end is. */
import type { Aid, Said } from '#kel/identifiers';
import type { GatewayFields } from '#kel/record/extension';
import type { RecordStore } from '#kel/record/record-store';
import type { KelStore } from '#kel/store/kel-store';
import { type Clock, formatDateTime } from '#src/clock';
import type { UdpEndpoint, WireGuardKey } from '#src/wireguard/tunnel-driver';
import { parseUdpEndpoint } from '#src/wireguard/values';
import type { Identity } from '../../identity/own/identity.ts';
import type { Possession } from './key-claims.ts';
import { currentTunnelKeyOf, type OwnTunnelKeys } from './own-tunnel-keys.ts';
import { keptKeys } from './room.ts';
import type { PlacedView, TunnelView } from './view.ts';

/** `first`: there was no tunnel before. `id`: an establishment event of either log is another one. */
export type ChangeKind = 'first' | 'id' | 'tunnel';

export interface ViewsDeps {
  readonly identity: Pick<Identity, 'aid'>;
  readonly kel: KelStore;
  readonly records: RecordStore;
  readonly ownKeys: OwnTunnelKeys;
  readonly clock: Clock;
  /** Whether the `tun` record was revoked: no view uses it any more. */
  readonly isRevoked: (tunnelKey: Said) => boolean;
}

export class Views {
  readonly #deps: ViewsDeps;

  constructor(deps: ViewsDeps) {
    this.#deps = deps;
  }

  /** The newest keys of both ends; undefined unless both are known and stand. */
  newest(aid: Aid): TunnelView | undefined {
    const { kel, records, ownKeys, clock, isRevoked } = this.#deps;
    const own = ownKeys.currentRecord;
    const establishment = kel.state(aid)?.establishment.said;
    if (own === undefined || establishment === undefined) return undefined;
    const peer = currentTunnelKeyOf(records, aid, establishment, formatDateTime(clock.now()));
    if (peer === undefined || isRevoked(peer.d) || isRevoked(own)) return undefined;
    return { own, peer: peer.d };
  }

  usesRevoked({ own, peer }: TunnelView): boolean {
    const { isRevoked } = this.#deps;
    return isRevoked(own) || isRevoked(peer);
  }

  /** Own keys that may be in use. */
  keptKeys(): ReadonlySet<Said> {
    const { identity, records, isRevoked } = this.#deps;
    const keys = records.list('tun', identity.aid).map(({ record }) => record.d);
    return keptKeys(keys, isRevoked);
  }

  /** Of a `tun` record. */
  keyOf(tunnelKey: Said): WireGuardKey | undefined {
    const record = this.#deps.records.get(tunnelKey)?.record;
    return record?.t === 'tun'
      ? (Buffer.from(record.wg).toString('hex') as WireGuardKey)
      : undefined;
  }

  /** A record of version 2 was taken in because the key that it names has signed it. */
  possessionOf(tunnelKey: Said): Possession {
    const record = this.#deps.records.get(tunnelKey)?.record;
    return record?.t === 'tun' && record.x !== undefined ? 'proven' : 'unproven';
  }

  /** Whose `tun` record it is. */
  issuerOf(tunnelKey: Said): Aid | undefined {
    return this.#deps.records.get(tunnelKey)?.record.i;
  }

  /** The address that the newest `end` record gives, for this key or another, at the port that the other end named. */
  endpointOf(aid: Aid, { peer, port }: PlacedView): UdpEndpoint | undefined {
    const ends = this.#deps.records.latest('end', aid)?.record.ue ?? [];
    const end = ends.find(({ t }) => t === peer) ?? ends[0];
    for (const text of end?.a ?? []) {
      try {
        return parseUdpEndpoint(`${text.slice(0, text.lastIndexOf(':'))}:${port}`);
      } catch {
        // A host name or an address family that this end cannot use: the next one may do.
      }
    }
    return undefined;
  }

  /** Under which addresses it says that UDP reaches it, for any of its keys. */
  endpointsOf(aid: Aid): readonly string[] {
    return (this.#deps.records.latest('end', aid)?.record.ue ?? []).flatMap(({ a }) => a);
  }

  /** What it says of prefixes behind it; undefined: there are none. */
  gatewayOf(aid: Aid): GatewayFields | undefined {
    return this.#deps.records.latest('nod', aid)?.record.x?.gw;
  }

  /** Prefixes behind this node, as it says itself. */
  ownSubnets(): readonly string[] {
    return this.gatewayOf(this.#deps.identity.aid)?.pre ?? [];
  }

  /** What a change from `former` to `view` is. */
  kindOf(former: TunnelView | undefined, view: TunnelView): ChangeKind {
    if (former === undefined) return 'first';
    const establishment = (said: Said) => {
      const record = this.#deps.records.get(said)?.record;
      return record?.t === 'tun' ? record.es.d : undefined;
    };
    const isSame =
      establishment(former.own) === establishment(view.own) &&
      establishment(former.peer) === establishment(view.peer);
    return isSame ? 'tunnel' : 'id';
  }
}

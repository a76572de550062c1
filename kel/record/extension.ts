/**
 * What a record of version 2 may say beside the fields of its type: extensions by name, so that a new fact is a new name and
 * never a third version. Names, order and encoding are those of the wire.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EdgeRule } from './edge-rule.ts';

/** The extensions that this version knows. Others stand beside them as they came, and mean nothing here. */
export interface RecordExtensions {
  nod: NodeExtensions;
  tun: TunnelKeyExtensions;
  end: EndpointExtensions;
  chr: CharterExtensions;
  log: NoExtensions;
  rvk: RevocationExtensions;
  ack: NoExtensions;
  tup: NoExtensions;
}

type NoExtensions = Readonly<Record<never, never>>;

export interface NodeExtensions {
  /** What this node can do: words such as `rec2`, `rosenpass`, `relay`, `hqc-256`, ascending, at most 64. */
  readonly cap?: readonly string[];
  /** This node is a gateway. */
  readonly gw?: GatewayFields;
  /** Name of the node, form of a member's name. */
  readonly name?: string;
}

export interface GatewayFields {
  /** The lowest of those that reach a prefix is used first, 0 to 255. */
  readonly rank: number;
  /** Prefixes behind the node in their one form, ascending, 1 to 64. */
  readonly pre: readonly string[];
}

export interface TunnelKeyExtensions {
  /** XEdDSA signature by the key `wg`, 64 bytes, over `possessionMessage`. In every `tun` record of version 2. */
  readonly pop?: Uint8Array;
  /** Rosenpass public key. */
  readonly rp?: RosenpassKeyFields;
  /** A device with a long-lived key, for stock clients. */
  readonly st?: StaticDeviceFields;
}

export interface RosenpassKeyFields {
  /** Algorithms on the wire, `v02-mceliece460896-188` or another such name. */
  readonly al: string;
  /** SHA-256 of the public key, 32 bytes. */
  readonly h: Uint8Array;
}

export interface StaticDeviceFields {
  /** WireGuard public key, 32 bytes. */
  readonly wg: Uint8Array;
  /** UDP ports, ascending, 1 to 4. */
  readonly p: readonly number[];
  /** Overlay prefixes that a stock client may reach, in their one form, ascending, at most 16. */
  readonly ov: readonly string[];
  /** XEdDSA signature by this key, 64 bytes, over the same as that of `wg` of the record. */
  readonly pop: Uint8Array;
}

export interface EndpointExtensions {
  /** At most 64, each address once of each kind and observer. */
  readonly cand?: readonly CandidateFields[];
  /** This member carries packets of others. */
  readonly relay?: RelayOfferFields;
  /** UDP endpoints of Rosenpass, `host:port`, 1 to 8. */
  readonly rpe?: readonly string[];
}

export type CandidateKind = 'own' | 'observed' | 'mapped' | 'configured' | 'lan';

/** A UDP address under which the WireGuard device may be reached. */
export interface CandidateFields {
  readonly k: CandidateKind;
  /** `host:port`. */
  readonly a: string;
  /** The highest is tried first. */
  readonly pr: number;
  /** Who saw it, for `observed`; empty otherwise. */
  readonly by: Aid | '';
}

export interface RelayOfferFields {
  /** `host:port`, 1 to 8. */
  readonly a: readonly string[];
  /** Quota of one pair: bytes per second, and bytes per day, each 0 for none said. The latter in units of 2^20. */
  readonly q: { readonly bps: number; readonly day: number };
}

export interface CharterExtensions {
  /** Brokers, unique by name, at most 64. */
  readonly brk?: readonly BrokerFields[];
  /** Edge policy, at most 256 rules: the first that matches a pair decides. */
  readonly pol?: readonly EdgeRule[];
  /** Relays, unique by name, at most 64. */
  readonly rel?: readonly RelayFields[];
  /** Version of the records that the mesh writes. */
  readonly rv?: 1 | 2;
  /** Who has a tunnel with whom: `full`, `regions`, or `hub:` and the name of a member. */
  readonly top?: Topology;
}

export type Topology = 'full' | 'regions' | `hub:${string}`;

/** Has an AID or a URL, not both. */
export interface BrokerFields {
  readonly n: string;
  readonly i: Aid | '';
  /** `https:` URL, or empty. */
  readonly u: string;
}

/** A relay that the charter names. */
export interface RelayFields {
  readonly n: string;
  readonly i: Aid;
  /** `host:port`, at most 8; none: where its `end` record says. */
  readonly a: readonly string[];
}

export interface RevocationExtensions {
  /** SAID of the record that takes the place of what is revoked. */
  readonly sup?: Said;
  /** The WireGuard public key that is out, 32 bytes. */
  readonly wg?: Uint8Array;
}

/** `x` and `cr` of a record of version 2. */
export interface Extensions<X> {
  /** By name, ascending. */
  readonly x: X;
  /** Names out of `x`, ascending: whoever does not know one of them does not take the record. */
  readonly cr: readonly string[];
}

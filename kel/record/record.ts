/**
 * Records: the facts that a key event log commits to (DESIGN 3).
 *
 * Field names are those of the wire, in wire order. SAIDs and AIDs are qb64, date-times have the form of
 * `formatDateTime`, byte strings are raw.
 */

import type { Aid, Said } from '#kel/identifiers';
import type { Brand } from '#src/brand';
import type { Extensions, RecordExtensions } from './extension.ts';
import type { NodeRole } from './node-role.ts';

/** The strategies of DESIGN: A pair PSK, B Rosenpass, C inner mTLS. */
export type Strategy = 'A' | 'B' | 'C';

/** The strategies that protect an edge, ascending: `A`, `AB`, `ABC`. */
export type ProtectionLevel = 'A' | 'B' | 'C' | 'AB' | 'AC' | 'BC' | 'ABC';

/** An establishment event of the record's `i`. */
export interface EstablishmentFields {
  /** Sequence number. */
  readonly s: number;
  readonly d: Said;
}

/** `nod`: a node of an organisation. */
export interface NodeFields {
  /** Organisation AID. */
  readonly o: Aid;
  readonly role: NodeRole;
  /** Up to 64 characters. */
  readonly region: string;
  /** Strategies offered, ascending. */
  readonly of: readonly Strategy[];
  /** Strategies required, ascending, each of them also offered. */
  readonly rq: readonly Strategy[];
  /** Overlay addresses, IPv6 or IPv4 text, at most 8. */
  readonly ov: readonly string[];
}

/** `tun`: the tunnel keys of one key epoch. */
export interface TunnelKeyFields {
  /** Key epoch. */
  readonly e: number;
  /** Establishment event from which the keys derive. */
  readonly es: EstablishmentFields;
  /** WireGuard public key, 32 bytes. */
  readonly wg: Uint8Array;
  /** KEM public keys by algorithm: ML-KEM-1024, 1,568 bytes. */
  readonly kem: { readonly 'ml-kem-1024': Uint8Array };
  /** Not before. */
  readonly nb: string;
  /** Not after, later than `nb`. */
  readonly na: string;
}

/** `end`: where a node is reached at the moment. */
export interface EndpointFields {
  readonly es: EstablishmentFields;
  /** libp2p peer id, base58btc. */
  readonly p: string;
  /** libp2p multiaddrs, at most 16. */
  readonly la: readonly string[];
  /** WireGuard UDP endpoints per tunnel-key record, at most 16 of at most 8 each. */
  readonly ue: readonly UdpEndpointFields[];
}

export interface UdpEndpointFields {
  /** SAID of the `tun` record. */
  readonly t: Said;
  /** `192.0.2.1:51820`, `[2001:db8::1]:51820` or `host.example:51820`. */
  readonly a: readonly string[];
}

/** `chr`: one version of the charter of a mesh. */
export interface CharterFields {
  /** Mesh id: the SAID of the first version; empty in the first version itself. */
  readonly m: Said | '';
  /** SAID of the prior version; empty in the first. */
  readonly p: Said | '';
  /** Version, 0 for the first. */
  readonly n: number;
  /** 1 to 64 characters. */
  readonly name: string;
  /** AIDs that govern, at least one. */
  readonly gov: readonly Aid[];
  /** At most 4,096, unique by AID and by name. */
  readonly mem: readonly MemberFields[];
  /** Edge policy: what every edge must have at least. */
  readonly edge: { readonly min: ProtectionLevel };
  /** PSK epochs: length in seconds (120 to 86,400), start of epoch 0 in Unix seconds. */
  readonly ep: { readonly len: number; readonly base: number };
}

export interface MemberFields {
  /** AID. */
  readonly i: Aid;
  /** 1 to 63 of a–z, 0–9 and hyphen. */
  readonly n: string;
  readonly role: NodeRole;
  readonly region: string;
}

/** `log`: the audit log of an AID. */
export interface AuditLogFields {
  /** Origin line of its checkpoints. */
  readonly o: string;
  /** Verifier keys, C2SP signed-note form, 1 to 8. */
  readonly vk: readonly string[];
  /** Cadence bounds of anchoring: most leaves, most seconds between two anchors. */
  readonly cad: { readonly n: number; readonly s: number };
  /** Retention, seconds. */
  readonly ret: number;
}

/** `rvk`: a node, key epoch or organisation is out. */
export interface RevocationFields {
  readonly k: 'node' | 'epoch' | 'organisation';
  /** The AID, or what names the key epoch. */
  readonly who: string;
  /** Date-time from which it holds. */
  readonly from: string;
  /** Up to 280 characters. */
  readonly why: string;
}

/** `ack`: the issuer has applied a revocation. Not sealed: it is told fast, and often. */
export interface AcknowledgementFields {
  /** SAID of the `rvk` record. */
  readonly r: Said;
  /** Date-time at which it was applied. */
  readonly at: string;
}

/** `tup`: tunnel proof, signed by both ends; the record's `i` is the lower AID and equals `a.i`. */
export interface TunnelProofFields {
  readonly a: TunnelEndFields;
  readonly b: TunnelEndFields;
  /** Mesh id. */
  readonly m: Said;
  /** SAID of the charter in force. */
  readonly ch: Said;
  /** PSK epoch. */
  readonly ep: number;
  /** Agreement id, 32 bytes. */
  readonly th: Uint8Array;
  readonly lv: ProtectionLevel;
  /** Tunnel generation. */
  readonly g: number;
  /** Nonce of `a`, 32 bytes. */
  readonly na: Uint8Array;
  /** Nonce of `b`, 32 bytes. */
  readonly nb: Uint8Array;
}

export interface TunnelEndFields {
  readonly i: Aid;
  /** Sequence number of the establishment event under which this end signs. */
  readonly s: number;
  /** Its SAID. */
  readonly d: Said;
  /** SAID of the `tun` record in use. */
  readonly t: Said;
  /** Handshake time as this end's device saw it. */
  readonly hs: string;
  /** Latest checkpoint of this end, as it gave it to the other. */
  readonly c: CheckpointFields;
}

export interface CheckpointFields {
  /** Origin. */
  readonly o: string;
  /** Tree size. */
  readonly n: number;
  /** Root hash, 32 bytes. */
  readonly r: Uint8Array;
}

/** What each type says, by its wire name `t`. */
export interface RecordFields {
  nod: NodeFields;
  tun: TunnelKeyFields;
  end: EndpointFields;
  chr: CharterFields;
  log: AuditLogFields;
  rvk: RevocationFields;
  ack: AcknowledgementFields;
  tup: TunnelProofFields;
}

export type RecordType = keyof RecordFields;

/** A record as decoded: its common fields, those of its type, and in version 2 `x` and `cr`. */
export type RecordOf<T extends RecordType> = {
  readonly v: string;
  readonly t: T;
  /** SAID, BLAKE3-256. */
  readonly d: Said;
  /** 128-bit salt, qb64 code 0A: without it the SAID cannot be confirmed by guessing the fields. */
  readonly u: string;
  /** Whose statement it is. */
  readonly i: Aid;
  /** When it was issued. */
  readonly dt: string;
} & RecordFields[T] &
  Partial<Extensions<RecordExtensions[T]>>;

export type NodRecord = RecordOf<'nod'>;
export type TunRecord = RecordOf<'tun'>;
export type EndRecord = RecordOf<'end'>;
export type ChrRecord = RecordOf<'chr'>;
export type LogRecord = RecordOf<'log'>;
export type RvkRecord = RecordOf<'rvk'>;
export type TupRecord = RecordOf<'tup'>;

/** Any record; switch on `t`. */
export type AnyRecord = { [T in RecordType]: RecordOf<T> }[RecordType];

/** A record whose digest and signatures were checked; made only by `verifyRecord` and by the record store. */
export type Verified<T> = Brand<T, 'VerifiedRecord'>;

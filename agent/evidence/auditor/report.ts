/** What an audit says: the JSON that `kelmesh audit verify` prints. Fields are added, never renamed. */
import type { Aid, Said } from '#kel/identifiers';
import type { SectionName } from '../format/bundle.ts';
import type { BundleProblemCode } from '../format/errors.ts';
import type { Verdict } from './verdict.ts';

export interface AuditReport {
  readonly schema: 'kelmesh.audit/1';
  readonly verdict: Verdict;
  /** How many tunnels the verdict is about. */
  readonly tunnelCount: number;
  /** One row per tunnel proof, by the time of the proof. */
  readonly tunnels: readonly TunnelRow[];
  /** One row per dossier. */
  readonly organisations: readonly OrganisationRow[];
  readonly problems: readonly Problem[];
}

export interface TunnelRow {
  /** SAID of the tunnel proof. */
  readonly proof: Said;
  readonly a: TunnelEnd;
  readonly b: TunnelEnd;
  readonly epoch: number;
  readonly level: string;
  readonly generation: number;
  readonly mesh: Said;
  readonly charter: Said;
  readonly interval: TunnelInterval;
  /**
   * What follows from signatures, digests and the order of the logs: `identities` (both signed), `membership`,
   * `psk-epoch`; per end `tunnel-key-a` (sealed in time), `log-a` (a leaf holds the proof), `anchor-a` (the key
   * event log commits to the leaf), `history-a` (the log extends what was shown to the peer).
   */
  readonly proven: readonly string[];
  /** What the signers say and nobody else can know. */
  readonly claimed: readonly string[];
  /** What is not in the bundle: the words of `proven`, `dossier-a`, `charter`. */
  readonly missing: readonly string[];
  /** Whether the log of that end shows the tunnel; false also when its dossier is not in the bundle. */
  readonly logged: { readonly a: boolean; readonly b: boolean };
  /** Where the evidence stands. */
  readonly evidence: { readonly a: EndEvidence; readonly b: EndEvidence };
}

export interface EndEvidence {
  /** SAID of the `tun` record. */
  readonly tunnelKey: Said;
  /** Sequence number of the key event that seals it. */
  readonly sealedAt: number | null;
  /** Index of the leaf in the audit log of this end. */
  readonly leaf: number | null;
  /** The entries of the same log right before and after the leaf; their order is proven, their times are this end's. */
  readonly neighbours: { readonly before: LeafPlace | null; readonly after: LeafPlace | null };
  /** Size of the first checkpoint that counts the leaf. */
  readonly checkpoint: number | null;
  /** Sequence number of the first key event that commits to the leaf. */
  readonly anchoredAt: number | null;
}

export interface LeafPlace {
  /** Index. */
  readonly leaf: number;
  /** Date-time, as the leaf says. */
  readonly time: string;
}

export interface TunnelEnd {
  readonly aid: Aid;
  /** In the latest charter of the bundle that names it. */
  readonly name?: string;
  /** The establishment event whose keys signed. */
  readonly sn: number;
  readonly said: Said;
}

/**
 * When the proof was made. That `from` precedes it and `to` follows it is proven by hashes and signatures;
 * the times themselves are claims of whoever wrote the bounding entries.
 */
export interface TunnelInterval {
  /** Date-time of the latest thing that the proof refers to. */
  readonly from: string | null;
  /** What that is. */
  readonly after: string | null;
  /** Date-time of the earliest thing that follows from the proof; null while no log shows it. */
  readonly to: string | null;
  readonly before: string | null;
  /** Handshake times as the two ends signed them. */
  readonly claimed: { readonly a: string; readonly b: string };
  readonly basis: 'order is proven, times are claims of the signers';
}

export interface OrganisationRow {
  readonly aid: Aid;
  /** In the latest charter that the bundle proves. */
  readonly name?: string;
  /** The last key event. */
  readonly sn: number;
  readonly said: Said;
  /** Leaves in the dossier. */
  readonly leaves: number;
  /** Size of the largest checkpoint. */
  readonly checkpointSize: number;
  /** Whether the key event log commits to that checkpoint. */
  readonly anchored: boolean;
  /** Events in the bundle that a recovery of this organisation replaced. */
  readonly superseded: number;
}

export type ProblemSection = 'envelope' | 'dossier' | 'header' | 'signature' | SectionName;

export interface Problem {
  readonly code: BundleProblemCode;
  /** The part of the bundle in which it shows. */
  readonly section: ProblemSection;
  readonly where: string;
  readonly message: string;
}

/** The problems found so far; those of one dossier know where they are. */
export class Problems {
  readonly list: Problem[];
  readonly #where: string;

  constructor(where = 'bundle', list: Problem[] = []) {
    this.#where = where;
    this.list = list;
  }

  /** The same list, under another place. */
  at(where: string): Problems {
    return new Problems(where, this.list);
  }

  add(code: BundleProblemCode, section: ProblemSection, message: string): void {
    this.list.push({ code, section, where: this.#where, message });
  }
}

/** What the checks of tunnels stand on: logs, records and dossiers that were checked before. */
import type { Aid } from '#kel/identifiers';
import type { TupRecord, Verified } from '#kel/record/record';
import type { Charter } from '../../mesh/membership/charter.ts';
import type { KelEvidence } from './kel-evidence.ts';
import type { CheckedLeaf, LogEvidence } from './log-evidence.ts';
import type { RecordEvidence } from './record-evidence.ts';
import type { Problems } from './report.ts';

/** A dossier that was read as far as its log. */
export interface CheckedDossier {
  readonly aid: Aid;
  /** Date-time of the export. */
  readonly time: string;
  readonly log: LogEvidence;
  readonly problems: Problems;
}

export interface Evidence {
  readonly kels: KelEvidence;
  readonly records: RecordEvidence;
  readonly dossiers: ReadonlyMap<Aid, CheckedDossier>;
}

/** A tunnel proof with two verified signatures, and the leaves that hold it, by the AID of the log. */
export interface TunnelProof {
  readonly record: Verified<TupRecord>;
  readonly leaves: ReadonlyMap<Aid, CheckedLeaf>;
}

/** What a row lists as proven and as missing; words are interface. */
export interface Words {
  readonly proven: string[];
  readonly missing: string[];
}

/** A node of a member is inside too: its delegator is the member. */
export function isMember(charter: Charter, aid: Aid, kels: KelEvidence): boolean {
  const delegator = kels.state(aid)?.delegator;
  return charter.members.has(aid) || (delegator !== undefined && charter.members.has(delegator));
}

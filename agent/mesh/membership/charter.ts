/**
 * The charter in force: a chain of `chr` records, each signed and sealed by a governor of the one before.
 *
 * Two records may name the same predecessor (a governor that restored a backup). The one that stands first
 * in the governor's log counts, so every member that holds the log comes to the same charter.
 *
 * The first governing AID governs. A second one is its successor as long as it has not accepted: it signs nothing but
 * its acceptance, a version that names it alone and takes nobody in.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import type { CharterExtensions } from '#kel/record/extension';
import type { NodeRole } from '#kel/record/node-role';
import type { ChrRecord, ProtectionLevel, Verified } from '#kel/record/record';

import type { RecordVersion } from '#kel/record/schemas';

import {
  type MeshPolicy,
  type PairPolicyTerms,
  policyFaultsOf,
  policyIn,
  termsOf,
} from './policy/mesh-policy.ts';

export interface Member {
  readonly aid: Aid;
  readonly name: string;
  readonly role: NodeRole;
  readonly region: string;
}

export interface Charter {
  readonly mesh: Said;
  /** SAID of this version. */
  readonly said: Said;
  readonly version: number;
  readonly name: string;
  readonly governors: readonly Aid[];
  readonly members: ReadonlyMap<Aid, Member>;
  /** Least protection that an edge must have. */
  readonly minimumLevel: ProtectionLevel;
  readonly policy: MeshPolicy;
  readonly epochs: { readonly lengthSeconds: number; readonly baseSeconds: number };
  /** In which its members write their records. */
  readonly recordVersion: RecordVersion;
  /** What it says beside; empty in a charter of version 1. */
  readonly extensions: CharterExtensions;
  /** Names of those that nobody may ignore. */
  readonly critical: readonly string[];
  /** The governor that signed this version. */
  readonly sealedBy: Aid;
  /** The event of its log that seals this version. */
  readonly sealedIn: EventReference;
}

/** The one that governs, and the successor that it names. */
const MAX_GOVERNORS = 2;

/** A verified charter record and the event that seals it. */
export interface SealedCharter {
  readonly record: Verified<ChrRecord>;
  readonly sealedIn: EventReference;
}

/** The chain from the first version, oldest first; empty when the first is not among `records`. */
export function charterChain(mesh: Said, records: readonly SealedCharter[]): readonly Charter[] {
  const first = records.find(({ record }) => record.d === mesh && record.m === '');
  if (first === undefined || !governsItself(first.record) || !canBeMeant(first.record)) return [];
  const chain = [toCharter(mesh, first)];
  for (let last = chain[0]; last !== undefined; ) {
    const next = successor(last, mesh, records);
    if (next !== undefined) chain.push(next);
    last = next;
  }
  return chain;
}

/**
 * A version on top of the last that would take the mesh back to an earlier version of records. It never counts: whoever has the
 * keys of a governor, or runs an old program with them, takes from nobody what the newer records prove.
 */
export function setBackOf(
  last: Charter,
  records: readonly SealedCharter[],
): Verified<ChrRecord> | undefined {
  return records.find(({ record }) => record.p === last.said && isSetBack(last, record))?.record;
}

function isSetBack(last: Charter, record: ChrRecord): boolean {
  return recordVersionOf(record) < last.recordVersion;
}

/** What a charter has for the tunnel of two; the same seen from both ends. Undefined unless it names both. */
export function termsBetween(charter: Charter, one: Aid, other: Aid): PairPolicyTerms | undefined {
  const [a, b] = [charter.members.get(one), charter.members.get(other)];
  return a === undefined || b === undefined ? undefined : termsOf(charter.policy, [a, b]);
}

function successor(
  last: Charter,
  mesh: Said,
  records: readonly SealedCharter[],
): Charter | undefined {
  const candidates = records.filter(
    ({ record }) =>
      record.m === mesh &&
      record.p === last.said &&
      record.n === last.version + 1 &&
      governsItself(record) &&
      !isSetBack(last, record) &&
      canBeMeant(record) &&
      (record.i === last.governors[0] ||
        (record.i === last.governors[1] && isAcceptance(last, record))),
  );
  candidates.sort((a, b) => a.sealedIn.sn - b.sealedIn.sn || (a.record.d < b.record.d ? -1 : 1));
  const [winner] = candidates;
  return winner === undefined ? undefined : toCharter(mesh, winner);
}

/** Whoever signs a version governs under it: nobody is made governor unasked. */
function governsItself({ gov, i }: ChrRecord): boolean {
  return gov[0] === i && gov.length <= MAX_GOVERNORS;
}

/** Its policy contradicts itself in nothing: two members must not read it in two ways. */
function canBeMeant(record: ChrRecord): boolean {
  return policyFaultsOf(policyIn(record), undefined).length === 0;
}

/** All stays as it was but the governor; members that are out by a revocation may be missing. */
function isAcceptance(last: Charter, record: ChrRecord): boolean {
  const isKept = ({ i, n, role, region }: ChrRecord['mem'][number]) => {
    const member = last.members.get(i);
    return member?.name === n && member.role === role && member.region === region;
  };
  return (
    record.gov.length === 1 &&
    record.mem.every(isKept) &&
    record.name === last.name &&
    record.edge.min === last.minimumLevel &&
    record.ep.len === last.epochs.lengthSeconds &&
    record.ep.base === last.epochs.baseSeconds &&
    isDeepStrictEqual(record.x ?? {}, last.extensions) &&
    isDeepStrictEqual(record.cr ?? [], last.critical)
  );
}

/** Whoever reads a charter of version 2 reads all records of that version. */
function recordVersionOf({ x }: ChrRecord): RecordVersion {
  return x === undefined ? 1 : (x.rv ?? 2);
}

function toCharter(mesh: Said, { record, sealedIn }: SealedCharter): Charter {
  return {
    mesh,
    said: record.d,
    version: record.n,
    name: record.name,
    governors: record.gov,
    members: new Map(
      record.mem.map((member) => [
        member.i,
        { aid: member.i, name: member.n, role: member.role, region: member.region },
      ]),
    ),
    minimumLevel: record.edge.min,
    policy: policyIn(record),
    epochs: { lengthSeconds: record.ep.len, baseSeconds: record.ep.base },
    recordVersion: recordVersionOf(record),
    extensions: record.x ?? {},
    critical: record.cr ?? [],
    sealedBy: record.i,
    sealedIn,
  };
}

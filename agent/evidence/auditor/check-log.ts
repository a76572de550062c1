/**
 * The checks of one audit log: checkpoints signed by an announced key and anchored in the key event log, each an
 * extension of the one before, and every leaf proven to stand in them.
 */
import type { KeyEvent } from '#kel/event/key-event';
import type { Aid } from '#kel/identifiers';
import type { LogRecord } from '#kel/record/record';
import { type Checkpoint, parseCheckpoint } from '#src/audit/checkpoint';
import { leafHash, MerkleTree, verifyConsistency, verifyInclusion } from '#src/audit/merkle';
import { parseNote, parseVerifierKey, verifyNote } from '#src/audit/note';
import { equalBytes } from '#src/bytes';
import type { Ed25519 } from '#src/crypto/suite';
import { type Leaf, parseLeaf, wrongOpenings } from '../format/leaf.ts';
import type { LeafEvidence, Sections } from '../format/sections.ts';
import { checkAnchors } from './anchor-evidence.ts';
import { type CheckedLeaf, LogEvidence, valuesOf } from './log-evidence.ts';
import type { Problems } from './report.ts';

/** What a log says about itself in a dossier, before it is checked. */
export interface LogClaim {
  readonly aid: Aid;
  readonly sections: Sections;
  /** The verified, sealed `log` records of the AID. */
  readonly announcements: readonly LogRecord[];
  /** The accepted key events of the AID, oldest first. */
  readonly events: readonly KeyEvent[];
}

/** Everything that differs is reported; the result is what the rest of the audit may rely on. */
export function checkLog(
  claim: LogClaim,
  ed25519: Pick<Ed25519, 'verify'>,
  problems: Problems,
): LogEvidence {
  const signed = checkCheckpoints(claim, ed25519, problems);
  checkConsistency(signed, claim.sections, problems);
  const checkpoints = checkAnchors(signed, claim.events, problems);
  const size = checkpoints.at(-1)?.size ?? 0;
  const leaves = claim.sections.leaves.flatMap((evidence) =>
    checkLeaf(evidence, claim.aid, size, problems),
  );
  checkInclusion(claim.sections, checkpoints, problems);
  checkContiguous(claim.sections.leaves, size, problems);
  checkKelLeaves(leaves, claim.events, problems);
  const tree = new MerkleTree();
  for (const { index, leaf } of claim.sections.leaves) {
    if (index === tree.size) tree.append(leafHash(leaf));
  }
  return new LogEvidence(claim.aid, checkpoints, leaves, tree);
}

function checkCheckpoints(
  claim: LogClaim,
  ed25519: Pick<Ed25519, 'verify'>,
  problems: Problems,
): readonly Checkpoint[] {
  const { announcements, sections } = claim;
  if (sections.checkpoints.length > 0 && announcements.length === 0) {
    problems.add(
      'BUNDLE_LOG_KEY',
      'records',
      `no sealed log record of ${claim.aid} announces a log key`,
    );
    return [];
  }
  return sections.checkpoints.flatMap((text, i) => {
    try {
      const note = parseNote(text);
      const checkpoint = parseCheckpoint(note.text);
      const keys = announcements
        .filter(({ o }) => o === checkpoint.origin)
        .flatMap(({ vk }) => vk.map(parseVerifierKey));
      verifyNote(note, keys, ed25519);
      return [checkpoint];
    } catch (error) {
      problems.add(
        'BUNDLE_CHECKPOINT',
        'checkpoints',
        `checkpoint ${i}: ${(error as Error).message}`,
      );
      return [];
    }
  });
}

function checkConsistency(
  checkpoints: readonly Checkpoint[],
  { proofs }: Sections,
  problems: Problems,
): void {
  const byOlder = new Map(proofs.consistency.map((proof) => [proof.older, proof]));
  for (const [i, newer] of checkpoints.entries()) {
    const older = checkpoints[i - 1];
    if (older === undefined || older.size === 0) continue;
    const pair = `checkpoints of size ${older.size} and ${newer.size}`;
    if (older.origin !== newer.origin || older.size > newer.size) {
      problems.add('BUNDLE_CHECKPOINT', 'checkpoints', `${pair}: not one log in ascending order`);
    } else if (older.size === newer.size) {
      if (!equalBytes(older.root, newer.root))
        problems.add('BUNDLE_FORK', 'checkpoints', `${pair}: two roots`);
    } else {
      const proof = byOlder.get(older.size);
      if (proof?.newer !== newer.size)
        problems.add('BUNDLE_PROOF_MISSING', 'proofs', `${pair}: no consistency proof`);
      else if (!verifyConsistency(older.size, newer.size, older.root, newer.root, proof.hashes)) {
        problems.add(
          'BUNDLE_CONSISTENCY',
          'proofs',
          `${pair}: the newer is not shown to extend the older`,
        );
      }
    }
  }
}

function checkLeaf(
  evidence: LeafEvidence,
  aid: Aid,
  size: number,
  problems: Problems,
): readonly CheckedLeaf[] {
  const { index, openings } = evidence;
  let leaf: Leaf;
  try {
    leaf = parseLeaf(evidence.leaf);
  } catch (error) {
    problems.add('BUNDLE_LEAF', 'leaves', `leaf ${index}: ${(error as Error).message}`);
    return [];
  }
  if (leaf.aid !== aid || leaf.sequence !== index || index >= size) {
    problems.add(
      'BUNDLE_LEAF',
      'leaves',
      `leaf ${index} of ${size} says it is leaf ${leaf.sequence} of ${leaf.aid}`,
    );
    return [];
  }
  const wrong = wrongOpenings(leaf, openings);
  if (wrong.length > 0) {
    problems.add(
      'BUNDLE_OPENING',
      'leaves',
      `leaf ${index}: ${wrong.join(', ')} does not open its commitment`,
    );
    return [];
  }
  return [{ index, leaf, openings }];
}

function checkInclusion(
  { leaves, proofs }: Sections,
  checkpoints: readonly Checkpoint[],
  problems: Problems,
): void {
  const byIndex = new Map(proofs.inclusion.map((proof) => [proof.index, proof]));
  const bySize = new Map(checkpoints.map((checkpoint) => [checkpoint.size, checkpoint]));
  for (const { index, leaf } of leaves) {
    const proof = byIndex.get(index);
    const checkpoint = proof === undefined ? undefined : bySize.get(proof.size);
    if (proof === undefined || checkpoint === undefined) {
      problems.add(
        'BUNDLE_PROOF_MISSING',
        'proofs',
        `leaf ${index}: no inclusion proof for a checkpoint that is here`,
      );
    } else if (!verifyInclusion(leafHash(leaf), index, proof.size, proof.hashes, checkpoint.root)) {
      problems.add(
        'BUNDLE_INCLUSION',
        'proofs',
        `leaf ${index} is not shown to stand in the checkpoint of size ${proof.size}`,
      );
    }
  }
}

function checkContiguous(leaves: readonly LeafEvidence[], size: number, problems: Problems): void {
  let next = 0;
  for (const index of [...leaves.map((leaf) => leaf.index), size]) {
    if (index > next)
      problems.add(
        'BUNDLE_LEAF_MISSING',
        'leaves',
        `leaves ${next} to ${index - 1} of ${size} are not here`,
      );
    next = index + 1;
  }
}

/** A leaf that names a key event of its own log must name one that is in it. */
function checkKelLeaves(
  leaves: readonly CheckedLeaf[],
  events: readonly KeyEvent[],
  problems: Problems,
): void {
  const sns = new Map(events.map(({ said, sn }) => [said, sn]));
  for (const item of leaves) {
    const { index } = item;
    const values = valuesOf('kel-event', item);
    if (values === undefined || sns.get(values.said) === values.sn) continue;
    problems.add(
      'BUNDLE_LEAF',
      'leaves',
      `leaf ${index} names key event ${values.sn} ${values.said}, which is not in the log`,
    );
  }
}

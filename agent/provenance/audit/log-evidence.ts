/**
 * One organisation's audit log as its dossier shows it: checkpoints signed by an announced key and anchored in
 * the key event log, each an extension of the one before, and every leaf proven to stand in them.
 */
import type { BodyValue } from '#kel/cesr/body-value';
import { isBodyMap } from '#kel/cesr/body-value';
import type { KeyEvent } from '#kel/event/key-event';
import type { Aid } from '#kel/identifiers';
import type { LogRecord } from '#kel/record/record';
import type { EventReference } from '#kel/state/key-state';
import { type Checkpoint, parseCheckpoint } from '#src/audit/checkpoint';
import {
  completeSubtrees,
  foldSubtrees,
  leafHash,
  subtreeRoot,
  verifyConsistency,
  verifyInclusion,
} from '#src/audit/merkle';
import { parseNote, parseVerifierKey, verifyNote } from '#src/audit/note';
import { equalBytes } from '#src/bytes';
import type { Ed25519 } from '#src/crypto/suite';
import { checkpointSeals } from '../anchor.ts';
import { type Leaf, type Openings, openedValues, parseLeaf, wrongOpenings } from '../leaf.ts';
import type { LeafEvidence, Sections } from '../sections.ts';
import type { Problems } from './report.ts';

export interface AnchoredCheckpoint extends Checkpoint {
  /** The key event that commits to it; undefined while none does. */
  readonly anchor: EventReference | undefined;
}

export interface CheckedLeaf {
  readonly index: number;
  readonly leaf: Leaf;
  readonly openings: Openings;
}

/** What a log says about itself in a dossier, before it is checked. */
export interface LogClaim {
  readonly aid: Aid;
  readonly sections: Sections;
  /** The verified, sealed `log` records of the AID. */
  readonly announcements: readonly LogRecord[];
  /** The accepted key events of the AID, oldest first. */
  readonly events: readonly KeyEvent[];
}

export class LogEvidence {
  readonly aid: Aid;
  /** By size, ascending. */
  readonly checkpoints: readonly AnchoredCheckpoint[];
  /** By index, ascending. */
  readonly leaves: readonly CheckedLeaf[];
  readonly #hashes: readonly Uint8Array[];

  /** @param hashes of the leaves from index 0, as far as they are there without a gap */
  constructor(
    aid: Aid,
    checkpoints: readonly AnchoredCheckpoint[],
    leaves: readonly CheckedLeaf[],
    hashes: readonly Uint8Array[],
  ) {
    this.aid = aid;
    this.checkpoints = checkpoints;
    this.leaves = leaves;
    this.#hashes = hashes;
  }

  /** Size of the largest checkpoint. */
  get size(): number {
    return this.checkpoints.at(-1)?.size ?? 0;
  }

  get isAnchored(): boolean {
    return this.checkpoints.at(-1)?.anchor !== undefined;
  }

  /** Root of the first `size` leaves; undefined when the dossier does not show them all. */
  rootAt(size: number): Uint8Array | undefined {
    const known = this.checkpoints.find((checkpoint) => checkpoint.size === size);
    if (known !== undefined) return known.root;
    if (size > this.#hashes.length) return undefined;
    return foldSubtrees(
      completeSubtrees({ start: 0, end: size }).map(({ level, index }) => {
        const width = 2 ** level;
        return subtreeRoot(this.#hashes.slice(index * width, (index + 1) * width));
      }),
    );
  }

  /** The first key event that commits to leaf `index`, and the checkpoint by which it does. */
  anchorAfter(index: number): AnchoredCheckpoint | undefined {
    return this.checkpoints.find(({ size, anchor }) => size > index && anchor !== undefined);
  }

  /** The last anchored checkpoint that does not count leaf `index`. */
  anchorBefore(index: number): AnchoredCheckpoint | undefined {
    return this.checkpoints.findLast(({ size, anchor }) => size <= index && anchor !== undefined);
  }

  leaf(index: number): CheckedLeaf | undefined {
    return this.leaves.find((leaf) => leaf.index === index);
  }
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
  const contiguous = claim.sections.leaves.filter(({ index }, i) => index === i);
  return new LogEvidence(
    claim.aid,
    checkpoints,
    leaves,
    contiguous.map(({ leaf }) => leafHash(leaf)),
  );
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
      const proof = proofs.consistency.find(
        (item) => item.older === older.size && item.newer === newer.size,
      );
      if (proof === undefined)
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

/** Both seals stand in one event; an anchored root without its checkpoint is a checkpoint that was held back. */
function checkAnchors(
  checkpoints: readonly Checkpoint[],
  events: readonly KeyEvent[],
  problems: Problems,
): readonly AnchoredCheckpoint[] {
  const anchors = new Map<Checkpoint, EventReference>();
  let largest = 0;
  for (const { sn, said, anchors: seals } of events) {
    const values = seals.flatMap(sealedValue);
    for (const root of values.filter((value) => value.startsWith('rd:'))) {
      const checkpoint = checkpoints.find((item) => {
        const [{ rd }, { d }] = checkpointSeals(item);
        return root === `rd:${rd}` && values.includes(`d:${d}`);
      });
      if (checkpoint === undefined) {
        problems.add(
          'BUNDLE_ANCHOR',
          'checkpoints',
          `key event ${sn} anchors root ${root.slice(3)}, which no checkpoint has`,
        );
        continue;
      }
      if (checkpoint.size < largest) {
        problems.add(
          'BUNDLE_ANCHOR',
          'kels',
          `key event ${sn} anchors size ${checkpoint.size} after size ${largest}`,
        );
      }
      largest = Math.max(largest, checkpoint.size);
      if (!anchors.has(checkpoint)) anchors.set(checkpoint, { sn, said });
    }
  }
  const last = checkpoints.at(-1);
  if (last !== undefined && !anchors.has(last)) {
    problems.add(
      'BUNDLE_NOT_ANCHORED',
      'kels',
      `no key event commits to the checkpoint of size ${last.size}`,
    );
  }
  return checkpoints.map((checkpoint) => ({ ...checkpoint, anchor: anchors.get(checkpoint) }));
}

/** `rd:…` or `d:…` of a seal with that one field. */
function sealedValue(seal: BodyValue): readonly string[] {
  if (!isBodyMap(seal) || seal.size !== 1) return [];
  return [...seal].flatMap(([name, value]) =>
    typeof value === 'string' ? [`${name}:${value}`] : [],
  );
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
  for (const { index, leaf, openings } of leaves) {
    const values = leaf.type === 'kel-event' ? openedValues('kel-event', openings) : undefined;
    if (values === undefined) continue;
    const event = events.find(({ said }) => said === values.said);
    if (event !== undefined && event.sn === values.sn) continue;
    problems.add(
      'BUNDLE_LEAF',
      'leaves',
      `leaf ${index} names key event ${values.sn} ${values.said}, which is not in the log`,
    );
  }
}

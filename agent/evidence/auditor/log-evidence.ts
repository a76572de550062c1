/** One organisation's audit log as its dossier shows it, after `checkLog` has looked at it. */
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import type { Checkpoint } from '#src/audit/checkpoint';
import type { MerkleTree } from '#src/audit/merkle';
import {
  type Leaf,
  type LeafType,
  type LeafValues,
  type Openings,
  openedValues,
} from '../format/leaf.ts';

export interface AnchoredCheckpoint extends Checkpoint {
  /** The key event that commits to it; undefined while none does. */
  readonly anchor: EventReference | undefined;
}

export interface CheckedLeaf {
  readonly index: number;
  readonly leaf: Leaf;
  readonly openings: Openings;
}

export class LogEvidence {
  readonly aid: Aid;
  /** By size, ascending. */
  readonly checkpoints: readonly AnchoredCheckpoint[];
  /** By index, ascending. */
  readonly leaves: readonly CheckedLeaf[];
  /** The charters that the log recorded, by index, ascending. */
  readonly memberships: readonly { readonly index: number; readonly charter: Said }[];
  readonly #byIndex: ReadonlyMap<number, CheckedLeaf>;
  readonly #keyEventTimes: ReadonlyMap<Said, string>;
  readonly #tree: MerkleTree;

  /** @param tree of the leaves from index 0, as far as they are there without a gap */
  constructor(
    aid: Aid,
    checkpoints: readonly AnchoredCheckpoint[],
    leaves: readonly CheckedLeaf[],
    tree: MerkleTree,
  ) {
    this.aid = aid;
    this.checkpoints = checkpoints;
    this.leaves = leaves;
    this.#tree = tree;
    this.#byIndex = new Map(leaves.map((leaf) => [leaf.index, leaf]));
    this.memberships = leaves.flatMap((item) => {
      const values = valuesOf('membership', item);
      return values === undefined ? [] : [{ index: item.index, charter: values.charter }];
    });
    this.#keyEventTimes = new Map(
      leaves.flatMap((item) => {
        const values = valuesOf('kel-event', item);
        return values === undefined ? [] : [[values.said, item.leaf.time] as const];
      }),
    );
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
    return known?.root ?? this.#tree.root(size);
  }

  /** The first checkpoint that counts leaf `index`. */
  checkpointAfter(index: number): AnchoredCheckpoint | undefined {
    return this.checkpoints.find(({ size }) => size > index);
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
    return this.#byIndex.get(index);
  }

  /** Date-time of the leaf that records key event `said`. */
  timeOfKeyEvent(said: Said): string | undefined {
    return this.#keyEventTimes.get(said);
  }
}

/** What a leaf says, when it is of that type and all its fields are open. */
export function valuesOf<T extends LeafType>(
  type: T,
  { leaf, openings }: CheckedLeaf,
): LeafValues[T] | undefined {
  return leaf.type === type ? openedValues(type, openings) : undefined;
}

/** What the audit log of a running agent says, as it exports it. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { decodeBundle, decodeDossier } from '#agent/evidence/format/bundle';
import {
  type LeafType,
  type LeafValues,
  openedValues,
  parseLeaf,
} from '#agent/evidence/format/leaf';
import { decodeLeaves } from '#agent/evidence/format/sections';
import { parseDateTime } from '#src/clock';
import type { Site } from './site.ts';

/** Of one type, in order. */
export interface ReadLeaf<T extends LeafType> {
  /** Milliseconds since the Unix epoch, of the writer's clock. */
  readonly at: number;
  readonly values: LeafValues[T];
}

export class AuditLeaves {
  readonly #leaves: readonly {
    readonly leaf: ReturnType<typeof parseLeaf>;
    readonly openings: Parameters<typeof openedValues>[1];
  }[];

  private constructor(bundle: Uint8Array) {
    this.#leaves = decodeBundle(bundle)
      .flatMap((dossier) => decodeLeaves(decodeDossier(dossier).sections.leaves))
      .map(({ leaf, openings }) => ({ leaf: parseLeaf(leaf), openings }));
  }

  /** Anchors the log, as every export does. */
  static async of(site: Site): Promise<AuditLeaves> {
    const file = join(site.dir, 'evidence');
    await site.ask('audit.export', { file });
    try {
      return new AuditLeaves(readFileSync(file));
    } finally {
      rmSync(file);
    }
  }

  list<T extends LeafType>(type: T): readonly ReadLeaf<T>[] {
    return this.#leaves.flatMap(({ leaf, openings }) => {
      const values = leaf.type === type ? openedValues(type, openings) : undefined;
      return values === undefined ? [] : [{ at: parseDateTime(leaf.time) ?? 0, values }];
    });
  }
}

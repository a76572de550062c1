/** Which checkpoints the key event log commits to, and whether any that it commits to is held back. */
import type { BodyValue } from '#kel/cesr/body-value';
import { isBodyMap } from '#kel/cesr/body-value';
import type { KeyEvent } from '#kel/event/key-event';
import type { EventReference } from '#kel/key-state/key-state';
import type { Checkpoint } from '#src/audit/checkpoint';
import { checkpointSeals } from '../format/anchor.ts';
import type { AnchoredCheckpoint } from './log-evidence.ts';
import type { Problems } from './report.ts';

/** @param events the accepted events of the log's owner, oldest first */
export function checkAnchors(
  checkpoints: readonly Checkpoint[],
  events: readonly KeyEvent[],
  problems: Problems,
): readonly AnchoredCheckpoint[] {
  const byRoot = new Map(checkpoints.map((checkpoint) => [sealsOf(checkpoint).rd, checkpoint]));
  const anchors = new Map<number, EventReference>();
  let largest = 0;
  for (const { sn, said, anchors: seals } of events) {
    const digests = seals.flatMap((seal) => sealedValue(seal, 'd'));
    for (const root of seals.flatMap((seal) => sealedValue(seal, 'rd'))) {
      const checkpoint = byRoot.get(root);
      // Both seals stand in one event; only together they name size and origin.
      if (checkpoint === undefined || !digests.includes(sealsOf(checkpoint).d)) {
        const message = `key event ${sn} anchors root ${root}, which no checkpoint here has`;
        problems.add('BUNDLE_ANCHOR', 'checkpoints', message);
        continue;
      }
      if (checkpoint.size < largest) {
        const message = `key event ${sn} anchors size ${checkpoint.size} after size ${largest}`;
        problems.add('BUNDLE_ANCHOR', 'kels', message);
      }
      largest = Math.max(largest, checkpoint.size);
      if (!anchors.has(checkpoint.size)) anchors.set(checkpoint.size, { sn, said });
    }
  }
  const last = checkpoints.at(-1);
  if (last !== undefined && !anchors.has(last.size)) {
    const message = `no key event commits to the checkpoint of size ${last.size}`;
    problems.add('BUNDLE_NOT_ANCHORED', 'kels', message);
  }
  return checkpoints.map((checkpoint) => ({ ...checkpoint, anchor: anchors.get(checkpoint.size) }));
}

function sealsOf(checkpoint: Checkpoint): { readonly rd: string; readonly d: string } {
  const [{ rd }, { d }] = checkpointSeals(checkpoint);
  return { rd, d };
}

/** The value of a seal that has this one field. */
function sealedValue(seal: BodyValue, field: 'rd' | 'd'): readonly string[] {
  if (!isBodyMap(seal) || seal.size !== 1) return [];
  const value = seal.get(field);
  return typeof value === 'string' ? [value] : [];
}

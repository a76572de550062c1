/** Builds interaction events: seals under the keys in force. */
import type { KeyState, SerializationKind } from '#kel/key-state/key-state';
import { type BuiltEvent, finishEvent } from './built-event.ts';
import type { Seal } from './seal.ts';

/** @throws KelError as a verifier would */
export function buildInteraction(input: {
  readonly prior: KeyState;
  readonly anchors: readonly Seal[];
  /** Default: as the last event. */
  readonly kind?: SerializationKind;
}): BuiltEvent {
  const { prior, anchors, kind = prior.kind } = input;
  return finishEvent(kind, [
    ['t', 'ixn'],
    ['d', ''],
    ['i', prior.aid],
    ['s', (prior.sn + 1).toString(16)],
    ['p', prior.said],
    ['a', anchors],
  ]);
}

/** The last step of every builder: encode, then read back with the parser that strangers use. */
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeWithSaid } from '#kel/cesr/said';
import type { Aid, Said } from '#kel/identifiers';
import type { SerializationKind } from '#kel/key-state/key-state';
import { parseKeyEvent } from './parse.ts';

export interface BuiltEvent {
  /** What the signatures go over. */
  readonly bytes: Uint8Array;
  readonly said: Said;
  readonly aid: Aid;
  readonly sn: number;
}

/** @throws KelError with the code that a verifier would give */
export function finishEvent(
  kind: SerializationKind,
  fields: readonly (readonly [string, BodyValue])[],
  labels: readonly string[] = ['d'],
): BuiltEvent {
  const { bytes } = encodeWithSaid('KERI', kind, fields, labels);
  const { said, aid, sn } = parseKeyEvent(bytes);
  return { bytes, said, aid, sn };
}

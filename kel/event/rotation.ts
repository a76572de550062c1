/** Builds rotation events: the pre-rotated keys come into force, new ones are committed to. */
import type { Aid, VerificationKey } from '#kel/identifiers';
import type {
  EventReference,
  KeyState,
  SerializationKind,
  ThresholdForm,
} from '#kel/state/key-state';
import { type BuiltEvent, finishEvent } from './built-event.ts';
import { ampleWitnesses, majority } from './defaults.ts';
import type { Seal } from './seal.ts';

export interface RotationInput {
  readonly prior: KeyState;
  readonly keys: readonly VerificationKey[];
  /** Default: the majority of the keys. */
  readonly signingThreshold?: ThresholdForm;
  /** Empty: the AID ends with this event. */
  readonly nextDigests: readonly string[];
  readonly nextThreshold?: ThresholdForm;
  readonly witnessCuts?: readonly Aid[];
  readonly witnessAdds?: readonly Aid[];
  /** Default: as before, or ample when the list changes. */
  readonly witnessThreshold?: number;
  readonly anchors?: readonly Seal[];
  /** Recovery: the event to follow instead of the last one; the interactions after it are superseded. */
  readonly after?: EventReference;
  /** Default: as the last event. */
  readonly kind?: SerializationKind;
}

/** A delegated AID gets a `drt`. @throws KelError as a verifier would */
export function buildRotation(input: RotationInput): BuiltEvent {
  const { prior, keys, nextDigests, witnessCuts = [], witnessAdds = [] } = input;
  const after = input.after ?? prior;
  return finishEvent(input.kind ?? prior.kind, [
    ['t', prior.delegator === undefined ? 'rot' : 'drt'],
    ['d', ''],
    ['i', prior.aid],
    ['s', (after.sn + 1).toString(16)],
    ['p', after.said],
    ['kt', input.signingThreshold ?? majority(keys.length)],
    ['k', keys],
    ['nt', input.nextThreshold ?? majority(nextDigests.length)],
    ['n', nextDigests],
    ['bt', witnessThreshold(input).toString(16)],
    ['br', witnessCuts],
    ['ba', witnessAdds],
    ['a', input.anchors ?? []],
  ]);
}

function witnessThreshold({
  prior,
  witnessCuts = [],
  witnessAdds = [],
  witnessThreshold,
}: RotationInput): number {
  if (witnessThreshold !== undefined) return witnessThreshold;
  if (witnessCuts.length + witnessAdds.length === 0) return prior.witnessThreshold;
  return ampleWitnesses(prior.witnesses.length - witnessCuts.length + witnessAdds.length);
}

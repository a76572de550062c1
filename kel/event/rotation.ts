/** Builds rotation events: the pre-rotated keys come into force, new ones are committed to. */
import type { Aid, VerificationKey } from '#kel/identifiers';
import type {
  EventReference,
  KeyState,
  SerializationKind,
  ThresholdForm,
} from '#kel/key-state/key-state';
import { type BuiltEvent, finishEvent } from './built-event.ts';
import { carriedThreshold, carriedWitnessThreshold } from './defaults.ts';
import type { Seal } from './seal.ts';

export interface RotationInput {
  readonly prior: KeyState;
  readonly keys: readonly VerificationKey[];
  /** Default: as before where it stands over as many keys, else their majority. */
  readonly signingThreshold?: ThresholdForm;
  /** Empty: the AID ends with this event. */
  readonly nextDigests: readonly string[];
  /** Default: as before where it stands over as many digests, else their majority. */
  readonly nextThreshold?: ThresholdForm;
  readonly witnessCuts?: readonly Aid[];
  readonly witnessAdds?: readonly Aid[];
  /** Default: as before, and more where witnesses are added to an ample number. */
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
    ['kt', input.signingThreshold ?? carriedThreshold(prior.signingThreshold, prior.keys, keys)],
    ['k', keys],
    [
      'nt',
      input.nextThreshold ?? carriedThreshold(prior.nextThreshold, prior.nextDigests, nextDigests),
    ],
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
  const count = prior.witnesses.length - witnessCuts.length + witnessAdds.length;
  return carriedWitnessThreshold(prior, count);
}

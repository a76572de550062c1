/** Builds inception events: the birth of an AID, self-addressing unless a basic key is asked for. */
import type { BodyValue } from '#kel/cesr/body-value';
import type { Aid, VerificationKey } from '#kel/identifiers';
import type { SerializationKind, ThresholdForm } from '#kel/key-state/key-state';
import { type BuiltEvent, finishEvent } from './built-event.ts';
import { ampleWitnesses, majority } from './defaults.ts';
import type { Seal } from './seal.ts';

export interface InceptionInput {
  readonly keys: readonly VerificationKey[];
  /** Default: the majority of the keys. */
  readonly signingThreshold?: ThresholdForm;
  /** Digests of the pre-rotated keys, from `keyDigest`; empty for an AID that never rotates. */
  readonly nextDigests: readonly string[];
  /** Default: the majority of the digests. */
  readonly nextThreshold?: ThresholdForm;
  readonly witnesses?: readonly Aid[];
  /** Default: ample against faulty witnesses. */
  readonly witnessThreshold?: number;
  readonly configTraits?: readonly string[];
  readonly anchors?: readonly Seal[];
  /** Makes the AID a delegated one (`dip`). */
  readonly delegator?: Aid;
  /** `D…` or `B…` AID that is its one key, instead of a self-addressing one. */
  readonly isBasic?: boolean;
  /** Default `CBOR`. */
  readonly kind?: SerializationKind;
}

/** @throws KelError as a verifier would */
export function buildInception(input: InceptionInput): BuiltEvent {
  const { keys, nextDigests, witnesses = [], delegator } = input;
  const fields: (readonly [string, BodyValue])[] = [
    ['t', delegator === undefined ? 'icp' : 'dip'],
    ['d', ''],
    ['i', keys[0] ?? ''],
    ['s', '0'],
    ['kt', input.signingThreshold ?? majority(keys.length)],
    ['k', keys],
    ['nt', input.nextThreshold ?? majority(nextDigests.length)],
    ['n', nextDigests],
    ['bt', (input.witnessThreshold ?? ampleWitnesses(witnesses.length)).toString(16)],
    ['b', witnesses],
    ['c', input.configTraits ?? []],
    ['a', input.anchors ?? []],
  ];
  if (delegator !== undefined) fields.push(['di', delegator]);
  return finishEvent(input.kind ?? 'CBOR', fields, input.isBasic ? ['d'] : ['d', 'i']);
}

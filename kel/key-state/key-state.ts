/** The state of an AID after its last accepted event. */
import type { Aid, Said, VerificationKey } from '#kel/identifiers';

/** Exactly as in the event (`kt`, `nt`): lower-case hex without leading zeros, or weights, one list per clause. */
export type ThresholdForm = string | readonly string[] | readonly (readonly string[])[];

export type SerializationKind = 'JSON' | 'CBOR' | 'MGPK';

/** An establishment event, named. */
export interface EventReference {
  readonly sn: number;
  readonly said: Said;
}

export interface KeyState {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
  readonly eventType: 'icp' | 'rot' | 'ixn' | 'dip' | 'drt';
  readonly kind: SerializationKind;
  readonly establishment: EventReference;
  readonly keys: readonly VerificationKey[];
  readonly signingThreshold: ThresholdForm;
  readonly nextDigests: readonly string[];
  readonly nextThreshold: ThresholdForm;
  readonly witnesses: readonly Aid[];
  readonly witnessThreshold: number;
  readonly delegator: Aid | undefined;
  readonly configTraits: readonly string[];
}

/** What an accepted log says to whoever verifies a record or a signature by it. */
import type { Aid, Said, VerificationKey } from '#kel/identifiers';
import type { EventReference, ThresholdForm } from './key-state.ts';

/** An accepted establishment event, as far as verifying a signature made under it needs. */
export interface EstablishedKeys {
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
  readonly keys: readonly VerificationKey[];
  readonly signingThreshold: ThresholdForm;
}

/** A seal `{d: SAID}` in an accepted event, and the event that carries it. */
export interface SealSource {
  readonly aid: Aid;
  readonly event: EventReference;
}

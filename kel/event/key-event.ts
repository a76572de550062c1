/** Key events of protocol 1.0, well formed and self-addressed; nothing here says that they are signed. */

import type { Attachments } from '#kel/cesr/attachments';
import type { BodyValue } from '#kel/cesr/body-value';
import type { Aid, Said, VerificationKey } from '#kel/identifiers';
import type { SerializationKind, ThresholdForm } from '#kel/key-state/key-state';

interface EventBase {
  readonly said: Said;
  readonly aid: Aid;
  readonly sn: number;
  readonly kind: SerializationKind;
  readonly anchors: readonly BodyValue[];
}

interface Establishment extends EventBase {
  readonly keys: readonly VerificationKey[];
  readonly signingThreshold: ThresholdForm;
  /** Empty: the AID ends here. */
  readonly nextDigests: readonly string[];
  readonly nextThreshold: ThresholdForm;
  readonly witnessThreshold: number;
}

export interface InceptionEvent extends Establishment {
  readonly type: 'icp' | 'dip';
  readonly witnesses: readonly Aid[];
  /** `EO` establishment only, `DND` do not delegate; others are carried and not enforced. */
  readonly configTraits: readonly string[];
  /** Of a `dip`. */
  readonly delegator: Aid | undefined;
}

export interface RotationEvent extends Establishment {
  readonly type: 'rot' | 'drt';
  readonly prior: Said;
  readonly witnessCuts: readonly Aid[];
  readonly witnessAdds: readonly Aid[];
}

export interface InteractionEvent extends EventBase {
  readonly type: 'ixn';
  readonly prior: Said;
}

export type KeyEvent = InceptionEvent | RotationEvent | InteractionEvent;

/** An event as it was received: the exact bytes that its signatures are over, and what came with them. */
export interface KeyEventMessage {
  readonly event: KeyEvent;
  readonly bytes: Uint8Array;
  readonly attachments: Attachments;
}

export function isInception(event: KeyEvent): event is InceptionEvent {
  return event.type === 'icp' || event.type === 'dip';
}

export function isRotation(event: KeyEvent): event is RotationEvent {
  return event.type === 'rot' || event.type === 'drt';
}

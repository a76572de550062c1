/**
 * An event that follows a known state: signatures, pre-rotation, delegation, witnesses.
 *
 * The order is prior event, witness list, own signatures, pre-rotation, delegation, witness signatures: an
 * event that waits for witnesses has passed everything else.
 */
import { verifyDigest } from '#kel/cesr/digest';
import type { IndexedSignature } from '#kel/cesr/indexer';
import { KelError } from '#kel/errors';
import { checkWitnessThreshold } from '#kel/event/fields';
import {
  type InceptionEvent,
  type InteractionEvent,
  isRotation,
  type KeyEventMessage,
  type RotationEvent,
} from '#kel/event/key-event';
import type { Aid, VerificationKey } from '#kel/identifiers';
import { quote } from '#kel/quote';
import { utf8 } from '#src/bytes';
import type { KeyState } from '../key-state/key-state.ts';
import { satisfies } from '../key-state/threshold.ts';
import { type Decision, escrow, reject } from './decision.ts';
import { checkDelegation } from './delegation.ts';
import type { EvaluationContext } from './evaluation-context.ts';
import { verifyKeySignatures } from './key-signatures.ts';
import { witnessesAfter } from './witness-list.ts';
import { verifyWitnessSignatures } from './witness-signatures.ts';

/** The event follows `before`, or claims to. @param supersedesFrom set when accepted events give way to it */
export function evaluateAfter(
  before: KeyState,
  message: KeyEventMessage,
  context: EvaluationContext,
  supersedesFrom?: number,
): Decision {
  const { event } = message;
  if (before.nextDigests.length === 0) {
    return reject(
      'KEL_NOT_TRANSFERABLE',
      `${before.aid} has had no next keys since event ${before.establishment.sn}`,
    );
  }
  if (event.type === 'ixn') return evaluateInteraction(before, event, message, context);
  if (isRotation(event)) return evaluateRotation(before, event, message, context, supersedesFrom);
  return reject('KEL_BAD_VALUE', `inception at sequence number ${event.sn}`);
}

/** The first event of an AID. */
export function evaluateInception(
  event: InceptionEvent,
  message: KeyEventMessage,
  context: EvaluationContext,
): Decision {
  return conclude(message, context, {
    aid: event.aid,
    sn: 0,
    said: event.said,
    eventType: event.type,
    kind: event.kind,
    establishment: { sn: 0, said: event.said },
    keys: event.keys,
    signingThreshold: event.signingThreshold,
    nextDigests: event.nextDigests,
    nextThreshold: event.nextThreshold,
    witnesses: event.witnesses,
    witnessThreshold: event.witnessThreshold,
    delegator: event.delegator,
    configTraits: event.configTraits,
  });
}

function evaluateInteraction(
  before: KeyState,
  event: InteractionEvent,
  message: KeyEventMessage,
  context: EvaluationContext,
): Decision {
  if (before.configTraits.includes('EO')) {
    return reject(
      'KEL_ESTABLISHMENT_ONLY',
      `interaction ${event.sn} of ${event.aid}, which has trait EO`,
    );
  }
  return conclude(message, context, {
    ...before,
    sn: event.sn,
    said: event.said,
    eventType: 'ixn',
    kind: event.kind,
  });
}

function evaluateRotation(
  before: KeyState,
  event: RotationEvent,
  message: KeyEventMessage,
  context: EvaluationContext,
  supersedesFrom: number | undefined,
): Decision {
  const isDelegated = before.delegator !== undefined;
  if (isDelegated !== (event.type === 'drt')) {
    return reject(
      'KEL_BAD_DELEGATION',
      `${event.type} of ${event.aid}, which is ${isDelegated ? '' : 'not '}delegated`,
    );
  }
  let witnesses: readonly Aid[];
  try {
    witnesses = rotatedWitnesses(before.witnesses, event);
  } catch (error) {
    if (error instanceof KelError) return reject('KEL_BAD_WITNESSES', error.message);
    throw error;
  }
  const after: KeyState = {
    ...before,
    sn: event.sn,
    said: event.said,
    eventType: event.type,
    kind: event.kind,
    establishment: { sn: event.sn, said: event.said },
    keys: event.keys,
    signingThreshold: event.signingThreshold,
    nextDigests: event.nextDigests,
    nextThreshold: event.nextThreshold,
    witnesses,
    witnessThreshold: event.witnessThreshold,
  };
  return conclude(message, context, after, before, supersedesFrom);
}

/** Cuts in place, adds behind. @throws KEL_BAD_WITNESSES */
function rotatedWitnesses(current: readonly Aid[], event: RotationEvent): readonly Aid[] {
  const { witnessCuts, witnessAdds, witnessThreshold } = event;
  const held = new Set(current);
  const stray = witnessCuts.find((witness) => !held.has(witness));
  if (stray !== undefined) throw new KelError('KEL_BAD_WITNESSES', `cut witness ${stray} is none`);
  const twice = witnessAdds.find((witness) => held.has(witness));
  if (twice !== undefined)
    throw new KelError('KEL_BAD_WITNESSES', `added witness ${twice} is one already`);
  const witnesses = witnessesAfter(current, event);
  checkWitnessThreshold(witnessThreshold, witnesses.length);
  return witnesses;
}

/**
 * True when the controller has provably signed the event under the keys that `before` puts in force,
 * whatever it says about its prior event: the proof that a conflicting event is the controller's own.
 */
export function isSignedAfter(
  before: KeyState,
  message: KeyEventMessage,
  { verifySignature }: EvaluationContext,
): boolean {
  const { event, bytes, attachments } = message;
  if (before.nextDigests.length === 0) return false;
  const { keys, signingThreshold } = event.type === 'ixn' ? before : event;
  const { valid, isSatisfied } = verifyKeySignatures(
    verifySignature,
    keys,
    signingThreshold,
    bytes,
    attachments.signatures,
  );
  if (!isSatisfied || event.type === 'ixn') return isSatisfied;
  return satisfies(before.nextThreshold, exposedDigests(before, keys, valid));
}

/** All signatures and approvals of an event that is otherwise in order. @param rotated state before, of a rotation */
function conclude(
  message: KeyEventMessage,
  context: EvaluationContext,
  after: KeyState,
  rotated?: KeyState,
  supersedesFrom?: number,
): Decision {
  const { event, bytes, attachments } = message;
  const name = `event ${event.sn} of ${event.aid}`;
  const { valid, isSatisfied } = verifyKeySignatures(
    context.verifySignature,
    after.keys,
    after.signingThreshold,
    bytes,
    attachments.signatures,
  );
  if (valid.length === 0) {
    return reject(
      'KEL_BAD_SIGNATURE',
      `${name}: none of ${attachments.signatures.length} signatures verifies`,
    );
  }
  if (!isSatisfied) {
    return escrow(
      'KEL_AWAITS_SIGNATURES',
      `${name}: ${valid.length} valid signatures do not meet threshold ${quote(after.signingThreshold)}`,
    );
  }
  if (
    rotated !== undefined &&
    !satisfies(rotated.nextThreshold, exposedDigests(rotated, after.keys, valid))
  ) {
    return escrow(
      'KEL_AWAITS_NEXT_KEYS',
      `${name}: the signing pre-rotated keys do not meet threshold ${quote(rotated.nextThreshold)}`,
    );
  }
  const delegation = checkDelegation(message, after, context);
  if (delegation.kind !== 'approved') return delegation;
  const witnessSignatures = verifyWitnessSignatures(
    context.verifySignature,
    after.witnesses,
    bytes,
    attachments,
  );
  if (witnessSignatures.length < after.witnessThreshold) {
    return escrow(
      'KEL_AWAITS_WITNESSES',
      `${name}: ${witnessSignatures.length} of ${after.witnessThreshold} witness receipts`,
      {
        witnesses: after.witnesses,
        threshold: after.witnessThreshold,
        valid: witnessSignatures,
      },
    );
  }
  return {
    kind: 'accept',
    state: after,
    signatures: valid,
    witnessSignatures,
    approval: delegation.approval,
    supersedesFrom,
  };
}

/**
 * Positions in the prior next-key digests whose keys have signed: partial, augmented and reordered rotations included.
 * One key exposes one position, the first, also where two digests (of two algorithms) commit to it.
 */
function exposedDigests(
  before: KeyState,
  keys: readonly VerificationKey[],
  valid: readonly IndexedSignature[],
): ReadonlySet<number> {
  const exposed = new Set<number>();
  const exposing = new Set<number>();
  for (const { index, ondex } of byOndex(valid)) {
    if (ondex === undefined || exposed.has(ondex) || exposing.has(index)) continue;
    const digest = before.nextDigests[ondex];
    const key = keys[index];
    if (digest === undefined || key === undefined || !verifyDigest(digest, utf8(key))) continue;
    exposed.add(ondex);
    exposing.add(index);
  }
  return exposed;
}

/** In one order, so that the order of the attachments decides nothing. */
function byOndex(signatures: readonly IndexedSignature[]): readonly IndexedSignature[] {
  if (signatures.length < 2) return signatures;
  return signatures.toSorted((a, b) => (a.ondex ?? -1) - (b.ondex ?? -1) || a.index - b.index);
}

/** Makes proposals: the event from cards and from the log as it stands, with all that its signers need to see. */

import { verifyDigest } from '#kel/cesr/digest';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal, eventSeal, type Seal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { SerializationKind, ThresholdForm } from '#kel/key-state/key-state';
import type { VerifySignature } from '#kel/state/key-signatures';
import { utf8 } from '#src/bytes';
import { type CustodianCard, encodeCard } from './card.ts';
import { parseEnclosure } from './enclosure.ts';
import { CustodyError } from './errors.ts';
import { MAX_PROPOSAL_BYTES, type Proposal } from './proposal.ts';
import { type Review, reviewProposal, stateOfLog } from './review.ts';
import { thresholdWords } from './threshold-text.ts';

interface Thresholds {
  /** Default: as in force; of an inception the majority of the keys. */
  readonly signingThreshold?: ThresholdForm;
  /** Default: as in force; of an inception as the signing threshold. */
  readonly nextThreshold?: ThresholdForm;
}

export interface InceptionDraft extends Thresholds {
  readonly cards: readonly CustodianCard[];
  readonly kind: SerializationKind;
}

/** What an event seals: SAIDs of anything, and bodies that are enclosed and sealed by their own SAID. */
export interface Sealed {
  readonly saids: readonly Said[];
  readonly enclosures: readonly Uint8Array[];
}

export interface RotationDraft extends Thresholds, Sealed {
  /** The whole log as it stands. */
  readonly log: Uint8Array;
  /** In the order of the keys, and of the weights of a threshold. */
  readonly cards: readonly CustodianCard[];
  /** Digests of now that stay committed to without being used. */
  readonly reserves: readonly string[];
}

export interface InteractionDraft extends Sealed {
  readonly log: Uint8Array;
  /** Those that are known; for names only. */
  readonly cards: readonly CustodianCard[];
}

/** Throws KEL_BAD_…, CUSTODY_… */
export function proposeInception(
  { cards, kind, ...thresholds }: InceptionDraft,
  verifySignature: VerifySignature,
): Review {
  const { bytes } = buildInception({
    keys: cards.map(({ key }) => key),
    nextDigests: cards.map(({ next }) => next),
    kind,
    ...thresholds,
    ...(thresholds.nextThreshold === undefined && thresholds.signingThreshold !== undefined
      ? { nextThreshold: thresholds.signingThreshold }
      : {}),
  });
  return checked({ event: bytes, log: new Uint8Array(0), cards, enclosures: [] }, verifySignature);
}

/** Throws KEL_BAD_…, CUSTODY_… */
export function proposeRotation(draft: RotationDraft, verifySignature: VerifySignature): Review {
  const { log, cards, reserves } = draft;
  const prior = stateOfLog(log, verifySignature);
  const stray = reserves.find((digest) => !prior.nextDigests.includes(digest));
  if (stray !== undefined)
    throw new CustodyError(
      'CUSTODY_BAD_PROPOSAL',
      `reserve ${stray} is not one of the next keys ${prior.nextDigests.join(', ')}`,
    );
  const nextDigests = [...cards.map(({ next }) => next), ...reserves];
  const isInPlace =
    cards.length === prior.nextDigests.length &&
    cards.every(({ key }, i) => verifyDigest(prior.nextDigests[i] ?? '', utf8(key)));
  const { bytes } = buildRotation({
    prior,
    keys: cards.map(({ key }) => key),
    nextDigests,
    anchors: sealsOf(draft),
    signingThreshold:
      draft.signingThreshold ??
      inForce('--threshold', prior.signingThreshold, prior.keys.length, cards, isInPlace),
    nextThreshold:
      draft.nextThreshold ??
      inForce(
        '--next-threshold',
        prior.nextThreshold,
        prior.nextDigests.length,
        nextDigests,
        isInPlace && reserves.length === 0,
      ),
  });
  return checked({ event: bytes, log, cards, enclosures: draft.enclosures }, verifySignature);
}

/** Throws KEL_BAD_…, CUSTODY_… */
export function proposeInteraction(
  draft: InteractionDraft,
  verifySignature: VerifySignature,
): Review {
  const { log } = draft;
  const prior = stateOfLog(log, verifySignature);
  const anchors = sealsOf(draft);
  if (anchors.length === 0)
    throw new CustodyError('CUSTODY_BAD_PROPOSAL', 'an interaction that seals nothing');
  const cards = prior.keys.flatMap((key) => draft.cards.find((card) => card.key === key) ?? []);
  const { bytes } = buildInteraction({ prior, anchors });
  return checked({ event: bytes, log, cards, enclosures: draft.enclosures }, verifySignature);
}

/**
 * The threshold in force, where it says the same about those who come. A number does over as many keys, weights do where
 * each stays with its custodian. Anything else is for people to say. Throws CUSTODY_BAD_PROPOSAL
 */
function inForce(
  option: string,
  threshold: ThresholdForm,
  count: number,
  now: readonly unknown[],
  isInPlace: boolean,
): ThresholdForm {
  if (count === now.length && (typeof threshold === 'string' || isInPlace)) return threshold;
  const words = thresholdWords(
    threshold,
    Array.from({ length: count }, (_, i) => `key ${i + 1}`),
  );
  throw new CustodyError(
    'CUSTODY_BAD_PROPOSAL',
    count === now.length
      ? `the threshold in force, ${words}, belongs to custodians in another order`
      : `the threshold in force, ${words}, stands over ${count} keys, and ${now.length} come`,
    { hint: `Say what is to hold from then on: ${option}` },
  );
}

function sealsOf({ saids, enclosures }: Sealed): readonly Seal[] {
  return [
    ...saids.map((said) => digestSeal(said)),
    ...enclosures.map((bytes) => {
      const enclosure = parseEnclosure(bytes);
      return enclosure.kind === 'record'
        ? digestSeal(enclosure.record.d)
        : eventSeal(enclosure.event);
    }),
  ];
}

/** What nobody could sign is not proposed. */
function checked(
  {
    event,
    log,
    cards,
    enclosures,
  }: {
    readonly event: Uint8Array;
    readonly log: Uint8Array;
    readonly cards: readonly CustodianCard[];
    readonly enclosures: readonly Uint8Array[];
  },
  verifySignature: VerifySignature,
): Review {
  const proposal: Proposal = {
    event,
    log,
    cards: cards.map(encodeCard),
    enclosures,
    signatures: [],
  };
  const size = event.length + log.length + enclosures.reduce((sum, { length }) => sum + length, 0);
  if (size > MAX_PROPOSAL_BYTES - (1 << 17))
    throw new CustodyError(
      'CUSTODY_BAD_PROPOSAL',
      `event, log and enclosures have ${size} bytes, a proposal holds ${MAX_PROPOSAL_BYTES - (1 << 17)}`,
    );
  return reviewProposal(proposal, verifySignature);
}

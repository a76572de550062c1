/**
 * What a proposal is, judged from nothing but its file: the log before it verified as a stranger's, the event
 * read by the parser of strangers, every key and every commitment accounted for, every signature verified.
 */
import { verifyDigest } from '#kel/cesr/digest';
import type { IndexedSignatureInput } from '#kel/cesr/indexer';
import { KelError } from '#kel/errors';
import {
  type InceptionEvent,
  type InteractionEvent,
  isInception,
  isRotation,
  type KeyEvent,
  type RotationEvent,
} from '#kel/event/key-event';
import { parseKeyEvent } from '#kel/event/parse';
import { sealedDigest, sealedEvent } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { VerificationKey } from '#kel/identifiers';
import type { KeyState, ThresholdForm } from '#kel/key-state/key-state';
import { satisfies } from '#kel/key-state/threshold';
import { algorithmOfKey, type VerifySignature } from '#kel/state/key-signatures';
import { LogVerifier } from '#kel/verify/log-verifier';
import { utf8 } from '#src/bytes';
import { type CustodianCard, parseCard } from './card.ts';
import { type Enclosure, parseEnclosure } from './enclosure.ts';
import { CustodyError } from './errors.ts';
import { MAX_CUSTODIANS, type Proposal } from './proposal.ts';

/** A key that can sign the event. */
export interface ReviewedSigner {
  readonly index: number;
  readonly key: VerificationKey;
  readonly card: CustodianCard | undefined;
  /** Place of the key in the next-key digests before a rotation; undefined for a key that was not committed to. */
  readonly ondex: number | undefined;
  readonly hasSigned: boolean;
}

export interface Review {
  readonly proposal: Proposal;
  readonly event: InceptionEvent | RotationEvent | InteractionEvent;
  /** Before the event; undefined for an inception. */
  readonly prior: KeyState | undefined;
  /** In the order of the keys. */
  readonly signers: readonly ReviewedSigner[];
  readonly signingThreshold: ThresholdForm;
  /** By the SAID that a seal names. */
  readonly enclosures: ReadonlyMap<string, Enclosure>;
  /** Of `event.anchors`, places that nothing in the file explains. */
  readonly unexplained: readonly number[];
  /** Enough custodians have signed; witnesses may still be missing. */
  readonly isComplete: boolean;
}

/** Throws CUSTODY_…: nothing of a proposal that throws may be signed or submitted. */
export function reviewProposal(proposal: Proposal, verifySignature: VerifySignature): Review {
  const event = eventOf(proposal.event);
  const prior = priorOf(proposal, event, verifySignature);
  const keys = event.type === 'ixn' ? (prior?.keys ?? []) : event.keys;
  const cards = proposal.cards.map((card) => parseCard(card, verifySignature));
  const signers = signersOf(proposal, event, prior, keys, cards);
  expectExplainedKeys(event, prior, signers, cards);
  const enclosures = enclosuresOf(proposal, event);
  const review: Review = {
    proposal,
    event,
    prior,
    signers,
    signingThreshold:
      event.type === 'ixn' ? (prior?.signingThreshold ?? '0') : event.signingThreshold,
    enclosures,
    unexplained: event.anchors.flatMap((seal, at) => (enclosedBy(seal, enclosures) ? [] : [at])),
    isComplete: false,
  };
  expectSignatures(review, verifySignature);
  return { ...review, isComplete: judge(review, verifySignature) };
}

/** The event with its signatures, as it goes into the log. */
export function signedMessage({ proposal, event, signers }: Review): Uint8Array {
  const signatures = proposal.signatures.map(({ index, signature }): IndexedSignatureInput => {
    const { key, ondex } = signers[index] as ReviewedSigner;
    const algorithm = algorithmOfKey(key) ?? 'ed25519';
    const base = { index, raw: signature, algorithm };
    if (!isRotation(event)) return base;
    return ondex === undefined ? { ...base, currentOnly: true } : { ...base, ondex };
  });
  return encodeSignedEvent(proposal.event, signatures);
}

/** The enclosure that a seal names. */
export function enclosedBy(
  seal: KeyEvent['anchors'][number],
  enclosures: ReadonlyMap<string, Enclosure>,
): Enclosure | undefined {
  const said = sealedDigest(seal);
  const record = said === undefined ? undefined : enclosures.get(said);
  if (record?.kind === 'record') return record;
  const named = sealedEvent(seal);
  const enclosed = named === undefined ? undefined : enclosures.get(named.said);
  if (named === undefined || enclosed?.kind !== 'event') return undefined;
  const { aid, sn } = enclosed.event;
  return named.aid === aid && named.sn === sn.toString(16) ? enclosed : undefined;
}

/** The state after a whole log of one AID, every event accepted. Throws CUSTODY_BAD_PROPOSAL */
export function stateOfLog(log: Uint8Array, verifySignature: VerifySignature): KeyState {
  const verifier = new LogVerifier(verifySignature);
  verifier.feed(log);
  const { aids, refused, waiting } = verifier.finish();
  const [left] = [...refused, ...waiting];
  if (left !== undefined)
    throw bad(`the log before the event does not verify: ${left.code} ${left.reason}`);
  const [state, ...others] = aids;
  if (state === undefined || others.length > 0)
    throw bad(`the log before the event is that of ${aids.length} AIDs, wanted 1`);
  return state;
}

function eventOf(bytes: Uint8Array): Review['event'] {
  let event: KeyEvent;
  try {
    event = parseKeyEvent(bytes);
  } catch (cause) {
    if (!(cause instanceof KelError)) throw cause;
    throw new CustodyError('CUSTODY_BAD_PROPOSAL', `event: ${cause.code} ${cause.message}`, {
      cause,
    });
  }
  if (event.type === 'dip' || event.type === 'drt')
    throw bad(`${event.type} of ${event.aid}: custodians sign for AIDs that nobody delegates`);
  return event;
}

function priorOf(
  { log }: Proposal,
  event: KeyEvent,
  verifySignature: VerifySignature,
): KeyState | undefined {
  if (isInception(event)) {
    if (log.length > 0) throw bad('an inception with a log before it');
    return undefined;
  }
  const state = stateOfLog(log, verifySignature);
  if (state.aid !== event.aid)
    throw bad(`the event is of ${event.aid}, the log before it of ${state.aid}`);
  if (event.sn !== state.sn + 1 || event.prior !== state.said)
    throw bad(
      `event ${event.sn} follows ${event.prior}, the log ends with event ${state.sn} ${state.said}`,
    );
  return state;
}

function signersOf(
  proposal: Proposal,
  event: KeyEvent,
  prior: KeyState | undefined,
  keys: readonly VerificationKey[],
  cards: readonly CustodianCard[],
): readonly ReviewedSigner[] {
  if (keys.length > MAX_CUSTODIANS)
    throw bad(`${keys.length} keys are above ${MAX_CUSTODIANS} custodians`);
  const places = cards.map(({ key }) => keys.indexOf(key));
  places.reduce((last, place, i) => {
    if (place <= last) throw bad(`the card of ${cards[i]?.name} has no place among the keys`);
    return place;
  }, -1);
  if (new Set(cards.map(({ name }) => name)).size !== cards.length)
    throw bad('two custodians have one name');
  const signed = new Set(proposal.signatures.map(({ index }) => index));
  return keys.map((key, index) => {
    const ondex = isRotation(event)
      ? (prior?.nextDigests.findIndex((digest) => verifyDigest(digest, utf8(key))) ?? -1)
      : -1;
    return {
      index,
      key,
      card: cards[places.indexOf(index)],
      ondex: ondex === -1 ? undefined : ondex,
      hasSigned: signed.has(index),
    };
  });
}

/** Of an establishment event: every key has a card, every commitment is that of a card or was one before. */
function expectExplainedKeys(
  event: Review['event'],
  prior: KeyState | undefined,
  signers: readonly ReviewedSigner[],
  cards: readonly CustodianCard[],
): void {
  if (event.type === 'ixn') return;
  const stranger = signers.find(({ card }) => card === undefined);
  if (stranger !== undefined)
    throw bad(`no card is enclosed for key ${stranger.index + 1}, ${stranger.key}`);
  const known = new Set([...cards.map(({ next }) => next), ...(prior?.nextDigests ?? [])]);
  const digest = event.nextDigests.find((next) => !known.has(next));
  if (digest !== undefined) throw bad(`next key ${digest} is nobody's in this file`);
  if (prior === undefined || !isRotation(event)) return;
  const kept = event.keys.find((key) => prior.keys.includes(key));
  if (kept !== undefined) throw bad(`key ${kept} was in force before and would stay`);
  const exposable = signers.flatMap(({ ondex }) => ondex ?? []);
  if (!satisfies(prior.nextThreshold, exposable))
    throw bad(
      `${exposable.length} of the keys were committed to before: they cannot meet the next threshold ${JSON.stringify(prior.nextThreshold)}`,
    );
}

function enclosuresOf(
  { enclosures }: Proposal,
  event: Review['event'],
): ReadonlyMap<string, Enclosure> {
  const found = new Map<string, Enclosure>();
  for (const bytes of enclosures) {
    const enclosure = parseEnclosure(bytes);
    const said = enclosure.kind === 'event' ? enclosure.event.said : enclosure.record.d;
    if (found.has(said)) throw bad(`${said} is enclosed twice`);
    found.set(said, enclosure);
  }
  const used = new Set(event.anchors.map((seal) => enclosedBy(seal, found)));
  for (const [said, enclosure] of found)
    if (!used.has(enclosure)) throw bad(`${said} is enclosed and no seal of the event names it`);
  return found;
}

function expectSignatures({ proposal, signers }: Review, verifySignature: VerifySignature): void {
  for (const { index, signature } of proposal.signatures) {
    const signer = signers[index];
    if (signer === undefined || !verifySignature(signer.key, signature, proposal.event))
      throw new CustodyError(
        'CUSTODY_BAD_SIGNATURE',
        `signature ${index + 1} is not one of ${signer === undefined ? 'any key of the event' : nameOf(signer)}`,
      );
  }
}

export function nameOf({ index, key, card }: ReviewedSigner): string {
  return card?.name ?? `custodian ${index + 1} (${key})`;
}

/** The same verifier as a stranger's. @returns whether the custodians' signatures are enough */
function judge(review: Review, verifySignature: VerifySignature): boolean {
  const { proposal, event } = review;
  const verifier = new LogVerifier(verifySignature);
  verifier.feed(proposal.log);
  verifier.feed(signedMessage(review));
  const { refused, waiting } = verifier.finish();
  const [refusal] = refused;
  if (refusal !== undefined) {
    if (proposal.signatures.length === 0 && refusal.code === 'KEL_BAD_SIGNATURE') return false;
    throw bad(`the log would refuse the event: ${refusal.code} ${refusal.reason}`);
  }
  const wait = waiting.find(({ said }) => said === event.said);
  return wait === undefined || wait.code === 'KEL_AWAITS_WITNESSES';
}

function bad(message: string): CustodyError {
  return new CustodyError('CUSTODY_BAD_PROPOSAL', message);
}

/** What a proposal is about, for messages. */
export function eventName({ event }: Review): string {
  return `event ${event.sn} of ${event.aid}`;
}

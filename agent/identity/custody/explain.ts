/** A proposal in words: what is signed, what changes, and what cannot be undone. */
import { encodeJson } from '#kel/cesr/json-body';
import { type InceptionEvent, isInception, type RotationEvent } from '#kel/event/key-event';
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { AnyRecord } from '#kel/record/record';
import type { Enclosure } from './enclosure.ts';
import { lowerings } from './lowered.ts';
import { enclosedBy, nameOf, type Review, type ReviewedSigner } from './review.ts';
import { thresholdWords } from './threshold-text.ts';

/** @param own keys of this machine  @returns lines, plain ASCII */
export function explainProposal(review: Review, own: ReadonlySet<string>): readonly string[] {
  const { event, prior, signers } = review;
  const lines =
    event.type === 'ixn'
      ? explainInteraction(review, prior as KeyState)
      : isInception(event)
        ? explainInception(event, signers)
        : explainRotation(event, prior as KeyState, signers);
  return [
    ...lines,
    ...explainSeals(review),
    ...explainLosses(review),
    '',
    `Who can sign, needed ${thresholdWords(review.signingThreshold, signers.map(nameOf))}:`,
    ...signers.map(
      (signer) =>
        `  ${signer.index + 1}. ${shortName(signer)}  ${signer.key}  ${signer.hasSigned ? 'has signed' : 'has not signed'}${own.has(signer.key) ? '  <- this machine' : ''}`,
    ),
    ...(review.isComplete ? ['Enough have signed: it can be submitted.'] : []),
    '',
    'Names are what the cards say. Compare the keys with the custodians themselves before the first signature.',
  ];
}

function explainInception(event: InceptionEvent, signers: readonly ReviewedSigner[]): string[] {
  const names = signers.map(shortName);
  return [
    `INCEPTION: a new organisation, ${event.aid}`,
    `  written in ${event.kind}; the AID is the digest of this event and stays its name for ever`,
    `  everyday events need ${thresholdWords(event.signingThreshold, names)}`,
    ...keyLines('keys that count from now on', signers),
    `  the next rotation needs ${thresholdWords(event.nextThreshold, nextNames(event, signers))} of these next keys:`,
    ...nextLines(event, signers),
    `  witnesses: ${witnessWords(event.witnesses, event.witnessThreshold)}`,
    ...(event.configTraits.length === 0
      ? []
      : [`  traits: ${event.configTraits.map(traitWords).join('; ')}`]),
  ];
}

function explainRotation(
  event: RotationEvent,
  prior: KeyState,
  signers: readonly ReviewedSigner[],
): string[] {
  const names = signers.map(shortName);
  const known = prior.nextDigests.map((_, at) => signers.find(({ ondex }) => ondex === at));
  const unused = prior.nextDigests.filter((_, at) => known[at] === undefined);
  const witnesses = [
    ...prior.witnesses.filter((witness) => !event.witnessCuts.includes(witness)),
    ...event.witnessAdds,
  ];
  return [
    `ROTATION: event ${event.sn} of ${event.aid}`,
    `  follows event ${prior.sn} ${prior.said}`,
    ...loweredBy(event, prior, signers).map((line) => `  LOWERED: ${line}`),
    `  everyday events need ${thresholdWords(event.signingThreshold, names)} (before: ${thresholdWords(prior.signingThreshold, prior.keys.map(shortKey))})`,
    ...keyLines('keys that count from now on', signers),
    `  keys that stop counting: ${prior.keys.join(', ')}`,
    ...unused.map((digest) =>
      event.nextDigests.includes(digest)
        ? `  next key ${digest} is not used now and stays committed to`
        : `  next key ${digest} is given up: its custodian leaves, or comes back only as a new one`,
    ),
    `  it is valid when ${thresholdWords(
      prior.nextThreshold,
      known.map((signer, at) =>
        signer === undefined ? shortKey(prior.nextDigests[at] ?? '') : shortName(signer),
      ),
    )} of the next keys of before sign`,
    `  the next rotation needs ${thresholdWords(event.nextThreshold, nextNames(event, signers))} (before: ${thresholdWords(prior.nextThreshold, prior.nextDigests.map(shortKey))}) of these next keys:`,
    ...nextLines(event, signers),
    ...event.witnessCuts.map((witness) => `  witness ${witness} is cut`),
    ...event.witnessAdds.map((witness) => `  witness ${witness} is added`),
    `  witnesses: ${witnessWords(witnesses, event.witnessThreshold)}`,
  ];
}

/** What a signer must not overlook: a line for each thing that is weaker than it is in force. */
export function loweredBy(
  event: Review['event'],
  prior: KeyState | undefined,
  signers: readonly ReviewedSigner[],
): readonly string[] {
  if (prior === undefined || event.type === 'ixn' || isInception(event)) return [];
  const names = { signing: signers.map(shortName), next: nextNames(event, signers) };
  return lowerings(event, prior, names);
}

function explainInteraction({ event }: Review, prior: KeyState): string[] {
  return [
    `INTERACTION: event ${event.sn} of ${event.aid}`,
    `  follows event ${prior.sn} ${prior.said}`,
    '  keys, thresholds and witnesses stay as they are; it only seals what follows',
  ];
}

function keyLines(title: string, signers: readonly ReviewedSigner[]): string[] {
  return [
    `  ${title}:`,
    ...signers.map(
      (signer) => `    ${signer.index + 1}. ${shortName(signer)}  ${signer.key}${origin(signer)}`,
    ),
  ];
}

function origin({ ondex }: ReviewedSigner): string {
  return ondex === undefined ? '' : `  (next key ${ondex + 1} of before)`;
}

function nextLines(
  event: InceptionEvent | RotationEvent,
  signers: readonly ReviewedSigner[],
): string[] {
  const names = nextNames(event, signers);
  const left = signers.filter(({ card }) => !event.nextDigests.includes(card?.next ?? ''));
  return [
    ...event.nextDigests.map((digest, at) => `    ${at + 1}. ${names[at]}  ${digest}`),
    ...left.map((signer) => `    ${shortName(signer)} is NOT among them`),
  ];
}

function nextNames(
  { nextDigests }: InceptionEvent | RotationEvent,
  signers: readonly ReviewedSigner[],
): readonly string[] {
  return nextDigests.map(
    (digest) => signers.find(({ card }) => card?.next === digest)?.card?.name ?? 'in reserve',
  );
}

function explainSeals(review: Review): string[] {
  const { event, enclosures } = review;
  if (event.anchors.length === 0) return ['  it seals nothing'];
  return [
    `  it seals ${event.anchors.length === 1 ? 'one thing' : `${event.anchors.length} things`}:`,
    ...event.anchors.flatMap((seal, at) => {
      const enclosure = enclosedBy(seal, enclosures);
      const lines =
        enclosure === undefined
          ? [`UNKNOWN: ${ascii(encodeJson(seal))}: what it commits to is not in the file`]
          : explainEnclosure(enclosure, event.aid);
      return lines.map((line, i) => (i === 0 ? `    ${at + 1}. ${line}` : `       ${line}`));
    }),
  ];
}

function explainEnclosure(enclosure: Enclosure, aid: Aid): string[] {
  if (enclosure.kind === 'record') return explainRecord(enclosure.record);
  const { event } = enclosure;
  const names = event.keys.map(shortKey);
  const lines = [
    `its keys: ${event.keys.join(', ')}; everyday events need ${thresholdWords(event.signingThreshold, names)}`,
  ];
  if (!isInception(event))
    return [
      `approves the rotation ${event.sn} ${event.said} of the delegated AID ${event.aid}`,
      ...lines,
    ];
  return [
    event.delegator === aid
      ? `approves the birth of the node AID ${event.aid}, which then acts under this organisation`
      : `names the inception of ${event.aid}, whose delegator is ${event.delegator} and not this organisation`,
    ...lines,
  ];
}

const RECORD_WORDS: Readonly<Record<AnyRecord['t'], string>> = {
  nod: 'a node',
  tun: 'tunnel keys',
  end: 'endpoints',
  chr: 'a charter of the mesh',
  rvk: 'a revocation',
  log: 'an audit log',
  ack: 'an acknowledgement',
  tup: 'a tunnel proof',
};

/** Field by field, as the record has them. */
function explainRecord(record: AnyRecord): string[] {
  const { t, d, i, v: _version, u: _salt, ...fields } = record;
  return [
    `${RECORD_WORDS[t] ?? `a record ${t}`} stated by ${i}, ${d}`,
    ...Object.entries(fields).map(([name, value]) => `${name}: ${plain(value)}`),
  ];
}

function plain(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) =>
    inner instanceof Uint8Array
      ? Buffer.from(inner).toString('hex')
      : inner instanceof Map
        ? Object.fromEntries(inner)
        : inner,
  );
  return ascii(text);
}

/** Escaped, so that no text of a stranger moves the cursor or looks like another. */
function ascii(text: string): string {
  return text.replaceAll(/[^ -~]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

function explainLosses({ event, signers, unexplained }: Review): string[] {
  const lines = ['', 'What cannot be undone:'];
  if (event.type === 'ixn') {
    lines.push(
      '  - a seal stays in the log for ever; only a rotation by the next keys can set it aside',
    );
  } else {
    lines.push('  - an establishment event stays for ever; nothing can replace it');
    if (isInception(event))
      lines.push(
        '  - the choice of these keys: they change only by a rotation that enough next keys sign',
      );
    else
      lines.push(
        '  - the keys of before lose all power, also those of custodians who did not sign',
      );
    if (event.nextDigests.length === 0)
      lines.push('  - THE ORGANISATION ENDS: no next keys, so no event can ever follow');
    else
      lines.push(
        `  - when so many next keys are lost that ${thresholdWords(event.nextThreshold, nextNames(event, signers))} cannot be met, no rotation is possible any more`,
      );
  }
  if (unexplained.length > 0)
    lines.push(
      `  - ${unexplained.length} of the seals commit to something that nobody can read here`,
    );
  return lines;
}

function witnessWords(witnesses: readonly string[], threshold: number): string {
  return witnesses.length === 0
    ? 'none, an event is final when enough custodians have signed'
    : `${threshold} of ${witnesses.length} must receipt: ${witnesses.join(', ')}`;
}

function traitWords(trait: string): string {
  if (trait === 'EO') return 'EO, no interactions ever';
  return trait === 'DND' ? 'DND, it may not delegate' : JSON.stringify(trait);
}

function shortName({ card, key }: ReviewedSigner): string {
  return card?.name ?? shortKey(key);
}

function shortKey(key: string): string {
  return `${key.slice(0, 8)}...`;
}

import { isSaid } from '#kel/record/qualified';
import type { VerifySignature } from '#kel/state/key-signatures';
import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import { type CustodianCard, parseCard } from '../../identity/custody/card.ts';
import {
  proposeInception,
  proposeInteraction,
  proposeRotation,
} from '../../identity/custody/draft.ts';
import { bodyOf } from '../../identity/custody/enclosure.ts';
import { explainProposal } from '../../identity/custody/explain.ts';
import { readBounded, readProposals } from '../../identity/custody/files.ts';
import { encodeProposal } from '../../identity/custody/proposal.ts';
import { type Review, reviewProposal } from '../../identity/custody/review.ts';
import { thresholdOf } from '../../identity/custody/threshold-text.ts';
import { parseNodeRequest } from '../../identity/node/request.ts';
import { readConfig } from '../../organisation/config/config.ts';
import { ask } from '../ask.ts';
import { type Command, type Invocation, type Option, optionList, optionText } from '../command.ts';
import { exitCodes, note, print, printJson, UsageError } from '../io.ts';
import { newFile, outOption } from '../new-file.ts';
import { reviewJson } from '../review-report.ts';
import { verifier } from '../verifier.ts';

const custodianOption: Option = {
  type: 'string',
  multiple: true,
  value: 'CARD',
  does: 'card of a custodian; one for each key',
};

const thresholdOptions = {
  threshold: {
    type: 'string',
    value: 'T',
    does: 'who can sign: a number, or weights 1/2,1/2,1/2 (clauses separated by ;); default: as in force, of an inception the majority',
  },
  'next-threshold': {
    type: 'string',
    value: 'T',
    does: 'who can rotate next; default: as in force, of an inception as --threshold',
  },
} as const satisfies Readonly<Record<string, Option>>;

const logOptions = {
  log: {
    type: 'string',
    value: 'FILE',
    does: 'the log as it stands, from a file; default: that of this state directory',
  },
  aid: { type: 'string', value: 'AID', does: 'the organisation, where several are here' },
} as const satisfies Readonly<Record<string, Option>>;

const sealOptions = {
  seal: {
    type: 'string',
    multiple: true,
    value: 'SAID',
    does: 'seal a SAID of anything; custodians cannot read what it commits to',
  },
  approve: {
    type: 'string',
    multiple: true,
    value: 'FILE',
    does: 'seal and enclose the request of a node (`kelmesh node add`)',
  },
  record: {
    type: 'string',
    multiple: true,
    value: 'FILE',
    does: 'seal and enclose a record',
  },
} as const satisfies Readonly<Record<string, Option>>;

export const idProposeInception: Command = {
  name: 'id propose inception',
  summary: 'propose an organisation of several custodians, from their cards',
  options: { custodian: custodianOption, ...thresholdOptions, out: outOption },
  async run(invocation) {
    const config = readConfig(invocation.config);
    const out = newFile(invocation);
    const verifySignature = await verifier();
    const cards = cardsOf(invocation, verifySignature);
    const review = proposeInception(
      { cards, kind: config.log.kind, ...thresholdsOf(invocation) },
      verifySignature,
    );
    return writeProposal(invocation, out, review);
  },
};

export const idProposeRotation: Command = {
  name: 'id propose rotation',
  summary: 'propose new keys, from the cards that the custodians made for it',
  details: `Who stays gives a card of \`kelmesh id custodian next\`, who is new one of \`kelmesh id custodian init\`. Who gives none
is no custodian any more, unless its next key stays committed to with --reserve.`,
  options: {
    custodian: custodianOption,
    reserve: {
      type: 'string',
      multiple: true,
      value: 'DIGEST',
      does: 'next key of now that is not used and stays committed to',
    },
    ...thresholdOptions,
    ...sealOptions,
    ...logOptions,
    out: outOption,
  },
  async run(invocation) {
    const out = newFile(invocation);
    const verifySignature = await verifier();
    const { log } = await currentLog(invocation, verifySignature);
    const review = proposeRotation(
      {
        log,
        cards: cardsOf(invocation, verifySignature),
        reserves: optionList(invocation, 'reserve'),
        ...thresholdsOf(invocation),
        ...sealedOf(invocation),
      },
      verifySignature,
    );
    return writeProposal(invocation, out, review);
  },
};

export const idProposeInteraction: Command = {
  name: 'id propose interaction',
  summary: 'propose to seal something: the approval of a node, a record',
  options: { ...sealOptions, ...logOptions, out: outOption },
  async run(invocation) {
    const out = newFile(invocation);
    const verifySignature = await verifier();
    const { log, cards } = await currentLog(invocation, verifySignature);
    const review = proposeInteraction({ log, cards, ...sealedOf(invocation) }, verifySignature);
    return writeProposal(invocation, out, review);
  },
};

export const idProposeShow: Command = {
  name: 'id propose show',
  usage: 'FILE...',
  summary: 'what a proposal does, in words, and who has signed; copies are taken together',
  details: 'Needs nothing but the files: no configuration and no key.',
  minPositionals: 1,
  maxPositionals: 64,
  async run(invocation) {
    const review = reviewProposal(readProposals(invocation.positionals), await verifier());
    return showReview(invocation, review, new Set());
  },
};

async function currentLog(
  invocation: Invocation,
  verifySignature: VerifySignature,
): Promise<{ readonly log: Uint8Array; readonly cards: readonly CustodianCard[] }> {
  const file = optionText(invocation, 'log');
  if (file !== undefined) return { log: readBounded(file), cards: [] };
  const aid = optionText(invocation, 'aid');
  const result = await ask(invocation, 'custody.log', { aid });
  return {
    log: new Uint8Array(Buffer.from(result.cesr, 'base64')),
    cards: result.cards.map((card) => parseCard(Buffer.from(card, 'base64'), verifySignature)),
  };
}

function cardsOf(
  invocation: Invocation,
  verifySignature: VerifySignature,
): readonly CustodianCard[] {
  const files = optionList(invocation, 'custodian');
  if (files.length === 0)
    throw new UsageError('give the cards of the custodians: --custodian CARD');
  return files.map((file) => parseCard(readBounded(file), verifySignature));
}

function thresholdsOf(invocation: Invocation) {
  const signing = optionText(invocation, 'threshold');
  const next = optionText(invocation, 'next-threshold');
  return {
    ...(signing === undefined ? {} : { signingThreshold: thresholdOf(signing) }),
    ...(next === undefined ? {} : { nextThreshold: thresholdOf(next) }),
  };
}

function sealedOf(invocation: Invocation) {
  return {
    saids: optionList(invocation, 'seal').map((said) => {
      if (!isSaid(said)) throw new UsageError(`--seal takes a SAID, got ${said.slice(0, 64)}`);
      return said;
    }),
    enclosures: [
      ...optionList(invocation, 'approve').map((file) =>
        bodyOf(parseNodeRequest(Buffer.from(readBounded(file)).toString('utf8')).message),
      ),
      ...optionList(invocation, 'record').map((file) => bodyOf(readBounded(file))),
    ],
  };
}

async function writeProposal(
  invocation: Invocation,
  file: string,
  review: Review,
): Promise<number> {
  await writeOutput(file, encodeProposal(review.proposal), { mode: PUBLIC, isNew: true });
  if (invocation.json) printJson(invocation.io, { ...reviewJson(review, new Set()), file });
  else {
    print(invocation.io, explainProposal(review, new Set()));
    note(invocation.io, `next: \`kelmesh id sign ${file}\` at each custodian`);
  }
  return exitCodes.ok;
}

function showReview(invocation: Invocation, review: Review, own: ReadonlySet<string>): number {
  if (invocation.json) printJson(invocation.io, reviewJson(review, own));
  else print(invocation.io, explainProposal(review, own));
  return exitCodes.ok;
}

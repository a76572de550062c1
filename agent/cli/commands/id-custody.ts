import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isSaid } from '#kel/record/qualified';
import type { VerifySignature } from '#kel/state/key-signatures';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { Secret } from '#src/secret';
import { createKeyStore, hasKeyStore, openKeyStore } from '../../compose.ts';
import { type Config, readConfig } from '../../config/config.ts';
import { ConfigError } from '../../config/errors.ts';
import { askSecret } from '../../config/secrets.ts';
import { ControlError } from '../../control/errors.ts';
import { askWithoutKeys } from '../../custody/at-rest.ts';
import { type CustodianCard, encodeCard, parseCard } from '../../custody/card.ts';
import { Custodian } from '../../custody/custodian.ts';
import { proposeInception, proposeInteraction, proposeRotation } from '../../custody/draft.ts';
import { bodyOf } from '../../custody/enclosure.ts';
import { CustodyError } from '../../custody/errors.ts';
import { explainProposal } from '../../custody/explain.ts';
import { readBounded, readProposals, writePublicFile } from '../../custody/files.ts';
import { encodeProposal } from '../../custody/proposal.ts';
import { type Review, reviewProposal } from '../../custody/review.ts';
import { thresholdOf } from '../../custody/threshold-text.ts';
import { missingNames } from '../../custody/verbs.ts';
import { parseNodeRequest } from '../../node/request.ts';
import { ask, type JsonObject, keyStoreSecret } from '../ask.ts';
import { type Command, type Invocation, type Option, optionText } from '../command.ts';

import { exitCodes, type Io, note, print, printJson, table, UsageError } from '../io.ts';
import { readYes } from '../read-answer.ts';

const outOption: Option = { type: 'string', short: 'o', value: 'FILE', does: 'file to write' };

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
    does: 'who can sign: a number, or weights 1/2,1/2,1/2 (clauses separated by ;); default: the majority',
  },
  'next-threshold': {
    type: 'string',
    value: 'T',
    does: 'who can rotate next; default: as --threshold where it fits, else the majority',
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

export const idCustodianInit: Command = {
  name: 'id custodian init',
  summary: 'make this machine a custodian: own keys, and a card that tells of them',
  details: `Needs a configuration with a name and a key store; the key store is made when there is none. The card is public:
bring it to whoever makes the proposal, and compare its key with them by another way.`,
  options: {
    name: {
      type: 'string',
      value: 'NAME',
      does: 'name on the card; default: that of the configuration',
    },
    out: outOption,
  },
  async run(invocation) {
    const config = readConfig(invocation.config);
    const out = newFile(invocation);
    return withKeyStore(config, invocation.io, true, async (keyStore, verifySignature) => {
      const { custodian, card } = await Custodian.create(
        { keyStore, path: custodianFile(config), verifySignature },
        {
          name: optionText(invocation, 'name') ?? config.name,
          algorithm: config.keyStore.algorithm,
        },
      );
      await using _ = custodian;
      return await writeCard(invocation, out, card);
    });
  },
};

export const idCustodianNext: Command = {
  name: 'id custodian next',
  summary: 'a card for a rotation: the next key comes into the open, a fresh one is committed to',
  details: `The same card until the rotation is in the log. Keep it among the custodians until then: it shows a key that the log
still hides.`,
  options: {
    log: {
      type: 'string',
      value: 'FILE',
      does: 'the log as it stands (`kelmesh id export`); needed once a rotation was signed here',
    },
    out: outOption,
  },
  async run(invocation) {
    const config = readConfig(invocation.config);
    const out = newFile(invocation);
    const log = optionText(invocation, 'log');
    const bytes = log === undefined ? undefined : readBounded(log);
    return withCustodian(config, invocation.io, async (custodian) =>
      writeCard(invocation, out, await custodian.nextCard(bytes)),
    );
  },
};

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

export const idSign: Command = {
  name: 'id sign',
  usage: 'FILE',
  summary: 'read what a proposal does, and sign it with the keys of this custodian',
  details: `The signature goes into the file, or with --out into a copy: copies that were signed apart are submitted together.
Refused: a proposal that seals what its file does not show, an older log than was seen before, and a second event for a place
of the log that was signed already.`,
  minPositionals: 1,
  options: {
    out: { ...outOption, does: 'write the signed copy to FILE' },
    yes: { type: 'boolean', short: 'y', does: 'do not ask' },
    'allow-unknown-seals': {
      type: 'boolean',
      does: 'sign although nothing in the file tells what a seal commits to',
    },
    'instead-of': {
      type: 'string',
      value: 'SAID',
      does: 'sign although SAID was signed for this place; only when it can never be submitted',
    },
  },
  async run(invocation) {
    const { io } = invocation;
    const [file = ''] = invocation.positionals;
    const config = readConfig(invocation.config);
    const out = optionText(invocation, 'out') === undefined ? resolve(file) : newFile(invocation);
    return withCustodian(config, io, async (custodian, verifySignature) => {
      const review = reviewProposal(readProposals([file]), verifySignature);
      const options = {
        allowUnknownSeals: invocation.options['allow-unknown-seals'] === true,
        insteadOf: optionText(invocation, 'instead-of'),
      };
      const own = new Set<string>((await custodian.keys()).keys());
      note(io, explainProposal(review, own).join('\n'));
      await custodian.expectSignable(review, options);
      if (invocation.options['yes'] !== true) await expectYes(io, custodian.name);
      const signed = reviewProposal(await custodian.sign(review, options), verifySignature);
      await writePublicFile(out, encodeProposal(signed.proposal));
      if (invocation.json) printJson(io, { ...reviewJson(signed, own), file: out });
      else print(io, `signed by ${custodian.name}, in ${out}`);
      tellNext(io, signed);
      return exitCodes.ok;
    });
  },
};

export const idSubmit: Command = {
  name: 'id submit',
  usage: 'FILE...',
  summary: 'put a signed proposal into the log of the organisation, or tell who is missing',
  details: `Copies that were signed apart are merged. The log is kept by the running agent, or in the state directory, which is made
for it; no key is needed.`,
  minPositionals: 1,
  maxPositionals: 64,
  async run(invocation) {
    const { io } = invocation;
    const files = invocation.positionals.map((file) => resolve(file));
    const result = await askLog(invocation, 'custody.submit', { files });
    if (invocation.json) printJson(io, result);
    else {
      print(
        io,
        `${result['verdict']}: event ${result['sn']}, ${result['said']}, of ${result['aid']}`,
      );
      if (result['reason'] !== null) note(io, String(result['reason']));
      note(io, 'next: `kelmesh id export` gives the log to custodians and nodes');
    }
    return exitCodes.ok;
  },
};

async function expectYes(io: Io, name: string): Promise<void> {
  const answer = await readYes(io, `\nSign this as ${name}?`);
  if (answer === true) return;
  throw new CustodyError(
    'CUSTODY_NOT_CONFIRMED',
    answer === undefined ? 'there is no terminal to ask on' : 'the answer was not yes',
  );
}

function tellNext(io: Io, review: Review): void {
  note(
    io,
    review.isComplete
      ? 'next: enough have signed; `kelmesh id submit FILE` on the machine that holds the log'
      : `next: bring it to ${missingNames(review).join(', ')}; not all of them may be needed`,
  );
}

/** At the running agent, or in the state directory, with no key of it. */
async function askLog(invocation: Invocation, verb: string, args: JsonObject): Promise<JsonObject> {
  try {
    return await ask(invocation, verb, args, { atRest: false });
  } catch (error) {
    if (!(error instanceof ControlError) || error.code !== 'CONTROL_NOT_RUNNING') throw error;
  }
  return askWithoutKeys(readConfig(invocation.config), verb, args);
}

async function currentLog(
  invocation: Invocation,
  verifySignature: VerifySignature,
): Promise<{ readonly log: Uint8Array; readonly cards: readonly CustodianCard[] }> {
  const file = optionText(invocation, 'log');
  if (file !== undefined) return { log: readBounded(file), cards: [] };
  const aid = optionText(invocation, 'aid');
  const result = await askLog(invocation, 'custody.log', aid === undefined ? {} : { aid });
  return {
    log: new Uint8Array(Buffer.from(String(result['cesr']), 'base64')),
    cards: (result['cards'] as readonly string[]).map((card) =>
      parseCard(Buffer.from(card, 'base64'), verifySignature),
    ),
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

function optionList(invocation: Invocation, name: string): readonly string[] {
  const value = invocation.options[name];
  return Array.isArray(value) ? value : [];
}

/** Nothing is overwritten. */
function newFile(invocation: Invocation): string {
  const out = optionText(invocation, 'out');
  if (out === undefined) throw new UsageError('give a file to write: --out FILE');
  if (existsSync(out)) throw new UsageError(`${out} exists already`);
  return resolve(out);
}

async function writeCard(
  invocation: Invocation,
  file: string,
  card: CustodianCard,
): Promise<number> {
  await writePublicFile(file, encodeCard(card));
  const { name, key, next } = card;
  if (invocation.json)
    printJson(invocation.io, { schema: 'kelmesh.custodian-card/1', name, key, next, file });
  else
    print(
      invocation.io,
      table([
        ['custodian', name],
        ['key', key],
        ['next', next],
        ['card', file],
      ]),
    );
  return exitCodes.ok;
}

async function writeProposal(
  invocation: Invocation,
  file: string,
  review: Review,
): Promise<number> {
  await writePublicFile(file, encodeProposal(review.proposal));
  if (invocation.json) printJson(invocation.io, { ...reviewJson(review, new Set()), file });
  else {
    print(invocation.io, explainProposal(review, new Set()).join('\n'));
    note(invocation.io, `next: \`kelmesh id sign ${file}\` at each custodian`);
  }
  return exitCodes.ok;
}

function showReview(invocation: Invocation, review: Review, own: ReadonlySet<string>): number {
  if (invocation.json) printJson(invocation.io, reviewJson(review, own));
  else print(invocation.io, explainProposal(review, own).join('\n'));
  return exitCodes.ok;
}

function reviewJson(review: Review, own: ReadonlySet<string>) {
  const { event, signers, isComplete, unexplained } = review;
  return {
    schema: 'kelmesh.proposal/1',
    aid: event.aid,
    sn: event.sn,
    said: event.said,
    type: event.type,
    signingThreshold: review.signingThreshold,
    signers: signers.map(({ index, key, card, hasSigned }) => ({
      index,
      name: card?.name ?? null,
      key,
      signed: hasSigned,
    })),
    complete: isComplete,
    unknownSeals: unexplained.length,
    explanation: explainProposal(review, own),
  };
}

async function verifier(): Promise<VerifySignature> {
  const { ed25519 } = await loadCryptoSuite();
  return createSignatureVerifier(ed25519);
}

function custodianFile(config: Config): string {
  return join(config.stateDir, 'custodian');
}

function withCustodian<T>(
  config: Config,
  io: Io,
  task: (custodian: Custodian, verifySignature: VerifySignature) => Promise<T>,
): Promise<T> {
  const path = custodianFile(config);
  if (!existsSync(path)) throw new CustodyError('CUSTODY_MISSING', `${path} does not exist`);
  return withKeyStore(config, io, false, async (keyStore, verifySignature) => {
    await using custodian = await Custodian.open({ keyStore, path, verifySignature });
    // Awaited here: the lock is held until it is done.
    return await task(custodian, verifySignature);
  });
}

async function withKeyStore<T>(
  config: Config,
  io: Io,
  mayCreate: boolean,
  task: (
    keyStore: Awaited<ReturnType<typeof openKeyStore>>,
    verifySignature: VerifySignature,
  ) => Promise<T>,
): Promise<T> {
  const isNew = mayCreate && !hasKeyStore(config);
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  using secret = isNew ? await newSecret(config, io) : await keyStoreSecret(config, io);
  const keyStore = await (isNew ? createKeyStore(config, secret) : openKeyStore(config, secret));
  try {
    return await task(keyStore, await verifier());
  } finally {
    await keyStore.close();
  }
}

async function newSecret(config: Config, io: Io): Promise<Secret> {
  if (config.keyStore.secretFile !== undefined) return keyStoreSecret(config, io);
  const secret = await askSecret('new passphrase or PIN', io.stdin, io.stderr);
  using again = await askSecret('the same again', io.stdin, io.stderr);
  if (secret.length === 0 || !secret.equals(again))
    throw new ConfigError('CONFIG_SECRET_MISSING', 'the two differ, or are empty');
  return secret;
}

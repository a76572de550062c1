/** What can be asked of the log of an organisation with custodians, at a running agent or in a state directory at rest. */
import type { VerifySignature } from '#kel/state/key-signatures';
import { StateTable } from '#src/store/state-table';
import { encodeCard } from '../identity/custody/card.ts';
import { CustodyError } from '../identity/custody/errors.ts';
import { malformed } from '../identity/custody/fields.ts';
import { readProposals } from '../identity/custody/files.ts';
import {
  type OrganisationLogDeps,
  organisationLog,
  submitEvent,
} from '../identity/custody/organisation-log.ts';
import { nameOf, type Review, reviewProposal } from '../identity/custody/review.ts';
import { absolutePath } from './log-verbs.ts';
import type { Json } from './protocol.ts';
import { optionalText, type Verb, type VerbContext } from './verb.ts';

type JsonMap = { readonly [key: string]: Json };

const MAX_COPIES = 64;

export const custodyVerbs: Readonly<Record<string, Verb>> = {
  'custody.log': async ({ organisation, args }) =>
    logJson(await depsOf(organisation), optionalText(args['aid'])),
  'custody.submit': async ({ organisation, args }) => {
    const review = readComplete(args['files'], organisation.verifySignature);
    const result = await submitJson(await depsOf(organisation), review);
    await organisation.watch.add(review.event.aid, { kind: 'import' });
    return result;
  },
};

export async function logJson(
  deps: OrganisationLogDeps,
  aid: string | undefined,
): Promise<JsonMap> {
  const { state, log, cards } = await organisationLog(deps, aid);
  return {
    aid: state.aid,
    cesr: Buffer.from(log).toString('base64'),
    cards: cards.map((card) => Buffer.from(encodeCard(card)).toString('base64')),
  };
}

/** @param files absolute paths of copies of one proposal. Throws CUSTODY_AWAITS_SIGNATURES, CUSTODY_… */
export function readComplete(files: Json | undefined, verifySignature: VerifySignature): Review {
  const review = reviewProposal(readProposals(paths(files)), verifySignature);
  if (review.isComplete) return review;
  throw new CustodyError(
    'CUSTODY_AWAITS_SIGNATURES',
    `${review.proposal.signatures.length} of ${review.signers.length} custodians have signed event ${review.event.sn} of ${review.event.aid}; missing: ${missingNames(review).join(', ')}`,
  );
}

/** @param review complete. Throws CUSTODY_REFUSED */
export async function submitJson(deps: OrganisationLogDeps, review: Review): Promise<JsonMap> {
  const { aid, sn, said } = review.event;
  const { verdict, reason } = await submitEvent(deps, review);
  return { schema: 'kelmesh.id-submit/1', aid, sn, said, verdict, reason };
}

export function missingNames({ signers }: Review): readonly string[] {
  return signers.flatMap((signer) => (signer.hasSigned ? [] : [nameOf(signer)]));
}

function paths(files: Json | undefined): readonly string[] {
  if (!Array.isArray(files) || files.length === 0 || files.length > MAX_COPIES)
    throw malformed(`expected 1 to ${MAX_COPIES} files`);
  return files.map((file: Json) => absolutePath(String(file)));
}

async function depsOf({
  kel,
  drivers,
  verifySignature,
}: {
  readonly kel: OrganisationLogDeps['kel'];
  readonly drivers: VerbContext['organisation']['drivers'];
  readonly verifySignature: VerifySignature;
}): Promise<OrganisationLogDeps> {
  return { kel, table: await StateTable.open(drivers.db, 'custody'), verifySignature };
}

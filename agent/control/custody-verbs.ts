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
import type { LocalDrivers } from '../organisation/drivers.ts';
import { absolutePath, listOf, optional, text } from './arguments.ts';
import { verbsOf } from './verb.ts';

const MAX_COPIES = 64;

export const custodyArgs = {
  log: { aid: optional(text) },
  /** Copies of one proposal. */
  submit: { files: listOf(absolutePath, MAX_COPIES) },
};

const { needsNothing } = verbsOf({ organisation: ['kel', 'drivers', 'verifySignature', 'watch'] });

export const custodyVerbs = {
  'custody.log': needsNothing({
    args: custodyArgs.log,
    run: async ({ organisation }, { aid }) => logJson(await depsOf(organisation), aid),
  }),
  'custody.submit': needsNothing({
    args: custodyArgs.submit,
    async run({ organisation }, { files }) {
      const review = readComplete(files, organisation.verifySignature);
      const result = await submitJson(await depsOf(organisation), review);
      await organisation.watch.add(review.event.aid, { kind: 'import' });
      return result;
    },
  }),
};

export async function logJson(deps: OrganisationLogDeps, aid: string | undefined) {
  const { state, log, cards } = await organisationLog(deps, aid);
  return {
    aid: state.aid,
    cesr: Buffer.from(log).toString('base64'),
    cards: cards.map((card) => Buffer.from(encodeCard(card)).toString('base64')),
  };
}

/** @param files absolute paths of copies of one proposal. Throws CUSTODY_AWAITS_SIGNATURES, CUSTODY_… */
export function readComplete(files: readonly string[], verifySignature: VerifySignature): Review {
  if (files.length === 0) throw malformed('expected at least one file');
  const review = reviewProposal(readProposals(files), verifySignature);
  if (review.isComplete) return review;
  throw new CustodyError(
    'CUSTODY_AWAITS_SIGNATURES',
    `${review.proposal.signatures.length} of ${review.signers.length} custodians have signed event ${review.event.sn} of ${review.event.aid}; missing: ${missingNames(review).join(', ')}`,
  );
}

/** @param review complete. Throws CUSTODY_REFUSED */
export async function submitJson(deps: OrganisationLogDeps, review: Review) {
  const { aid, sn, said } = review.event;
  const { verdict, reason } = await submitEvent(deps, review);
  return { schema: 'kelmesh.id-submit/1', aid, sn, said, verdict, reason };
}

export function missingNames({ signers }: Review): readonly string[] {
  return signers.flatMap((signer) => (signer.hasSigned ? [] : [nameOf(signer)]));
}

async function depsOf({
  kel,
  drivers,
  verifySignature,
}: {
  readonly kel: OrganisationLogDeps['kel'];
  readonly drivers: Pick<LocalDrivers, 'db'>;
  readonly verifySignature: VerifySignature;
}): Promise<OrganisationLogDeps> {
  return { kel, table: await StateTable.open(drivers.db, 'custody'), verifySignature };
}

import { resolve } from 'node:path';
import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import { missingNames } from '../../control/custody-verbs.ts';
import { CustodyError } from '../../identity/custody/errors.ts';
import { explainProposal } from '../../identity/custody/explain.ts';
import { readProposals } from '../../identity/custody/files.ts';
import { encodeProposal } from '../../identity/custody/proposal.ts';
import { type Review, reviewProposal } from '../../identity/custody/review.ts';
import { readConfig } from '../../organisation/config/config.ts';
import { type Command, optionText } from '../command.ts';
import { withCustodian } from '../custodian.ts';
import { exitCodes, type Io, note, print, printJson } from '../io.ts';
import { newFile, outOption } from '../new-file.ts';
import { readYes } from '../read-answer.ts';
import { reviewJson } from '../review-report.ts';

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
      note(io, [...explainProposal(review, own), '']);
      await custodian.expectSignable(review, options);
      if (invocation.options['yes'] !== true) await expectYes(io, custodian.name);
      const signed = reviewProposal(await custodian.sign(review, options), verifySignature);
      const isNew = optionText(invocation, 'out') !== undefined;
      await writeOutput(out, encodeProposal(signed.proposal), { mode: PUBLIC, isNew });
      if (invocation.json) printJson(io, { ...reviewJson(signed, own), file: out });
      else print(io, `signed by ${custodian.name}, in ${out}`);
      tellNext(io, signed);
      return exitCodes.ok;
    });
  },
};

async function expectYes(io: Io, name: string): Promise<void> {
  const answer = await readYes(io, `Sign this as ${name}?`);
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

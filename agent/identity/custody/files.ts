/** Cards, proposals and logs as files: bounded reading, and writing that leaves the old file or the new one. */
import { FileError, fileError } from '#src/files/errors';
import { readRegularFile } from '#src/files/regular-file';
import { malformed } from './fields.ts';
import { MAX_PROPOSAL_BYTES, mergeProposals, type Proposal, parseProposal } from './proposal.ts';

/** Throws FILE_…, CUSTODY_MALFORMED for a file that is too large */
export function readBounded(file: string): Uint8Array {
  try {
    return new Uint8Array(readRegularFile(file, MAX_PROPOSAL_BYTES));
  } catch (cause) {
    if (cause instanceof FileError && cause.code === 'FILE_TOO_LARGE')
      throw malformed(cause.message);
    throw fileError(file, cause);
  }
}

/** Copies of one proposal, merged. Throws CUSTODY_MALFORMED, CUSTODY_DIFFERENT_EVENTS */
export function readProposals(files: readonly string[]): Proposal {
  return mergeProposals(files.map((file) => parseProposal(readBounded(file))));
}

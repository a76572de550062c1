/** Cards, proposals and logs as files: bounded reading, and writing that leaves the old file or the new one. */
import { FileError } from '#src/files/errors';
import { readRegularFile } from '#src/files/regular-file';
import { ConfigError } from '../config/errors.ts';
import { malformed } from './fields.ts';
import { MAX_PROPOSAL_BYTES, mergeProposals, type Proposal, parseProposal } from './proposal.ts';

/** Throws CONFIG_UNREADABLE, CUSTODY_MALFORMED for a file that is too large */
export function readBounded(file: string): Uint8Array {
  try {
    return new Uint8Array(readRegularFile(file, MAX_PROPOSAL_BYTES));
  } catch (cause) {
    if (cause instanceof FileError && cause.code === 'FILE_TOO_LARGE')
      throw malformed(cause.message);
    if (cause instanceof FileError) throw cause;
    throw new ConfigError('CONFIG_UNREADABLE', `cannot read ${file}`, {
      cause,
      hint: 'Check the path and its permissions',
    });
  }
}

/** Copies of one proposal, merged. Throws CUSTODY_MALFORMED, CUSTODY_DIFFERENT_EVENTS */
export function readProposals(files: readonly string[]): Proposal {
  return mergeProposals(files.map((file) => parseProposal(readBounded(file))));
}

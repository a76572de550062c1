/** Cards, proposals and logs as files: bounded reading, and writing that leaves the old file or the new one. */
import { readFileSync, statSync } from 'node:fs';
import { ConfigError } from '../config/errors.ts';
import { malformed } from './fields.ts';
import { MAX_PROPOSAL_BYTES, mergeProposals, type Proposal, parseProposal } from './proposal.ts';

/** Throws CONFIG_UNREADABLE, CUSTODY_MALFORMED for a file that is too large */
export function readBounded(file: string): Uint8Array {
  let size: number;
  try {
    size = statSync(file).size;
    if (size <= MAX_PROPOSAL_BYTES) return new Uint8Array(readFileSync(file));
  } catch (cause) {
    throw new ConfigError('CONFIG_UNREADABLE', `cannot read ${file}`, {
      cause,
      hint: 'Check the path and its permissions',
    });
  }
  throw malformed(`${file} has ${size} bytes, at most ${MAX_PROPOSAL_BYTES} are read`);
}

/** Copies of one proposal, merged. Throws CUSTODY_MALFORMED, CUSTODY_DIFFERENT_EVENTS */
export function readProposals(files: readonly string[]): Proposal {
  return mergeProposals(files.map((file) => parseProposal(readBounded(file))));
}

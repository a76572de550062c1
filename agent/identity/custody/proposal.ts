/**
 * Proposal: a key event that waits for the signatures of its custodians, as a file that travels. Public.
 *
 * `kelmesh.proposal/1`, deterministic CBOR: `type`; `event`, the bytes that are signed; `log`, the log before it as
 * a CESR stream; `cards`, in the order of the keys; `enclosures`, what the event seals; `signatures`, one map of
 * `index` and `signature` per custodian, by index; `digest`, SHA-256 of the map without it. The digest finds
 * damage; what an attacker could change as well as the digest is checked against the event in `review.ts`.
 */
import { createHash } from 'node:crypto';
import { equalBytes } from '#src/bytes';
import { type CborValue, encodeCbor } from '#src/cbor';
import { CustodyError } from './errors.ts';
import {
  byteListOf,
  bytesOf,
  expectLabels,
  listOf,
  malformed,
  numberOf,
  readMap,
} from './fields.ts';

export interface CustodianSignature {
  /** Place of the key in the event's key list; for an interaction, in that of the state before it. */
  readonly index: number;
  /** 64 bytes over `event`. */
  readonly signature: Uint8Array;
}

export interface Proposal {
  readonly event: Uint8Array;
  /** Empty for an inception. */
  readonly log: Uint8Array;
  readonly cards: readonly Uint8Array[];
  readonly enclosures: readonly Uint8Array[];
  /** Ascending by index, each index once. */
  readonly signatures: readonly CustodianSignature[];
}

const PROPOSAL = 'kelmesh.proposal/1';
/** Governing logs are short: this holds some tens of thousands of events. */
export const MAX_PROPOSAL_BYTES = 16 << 20;
export const MAX_CUSTODIANS = 64;
const MAX_ENCLOSURES = 64;

export function encodeProposal(proposal: Proposal): Uint8Array {
  const fields = fieldsOf(proposal);
  return encodeCbor(new Map<string, CborValue>([...fields, ['digest', digestOf(fields)]]));
}

/** @param bytes of any origin. Throws CUSTODY_MALFORMED */
export function parseProposal(bytes: Uint8Array): Proposal {
  const map = readMap(bytes, {
    type: PROPOSAL,
    labels: ['event', 'log', 'cards', 'enclosures', 'signatures', 'digest'],
    max: MAX_PROPOSAL_BYTES,
  });
  const proposal: Proposal = {
    event: bytesOf(map, 'event'),
    log: bytesOf(map, 'log'),
    cards: byteListOf(map, 'cards', MAX_CUSTODIANS),
    enclosures: byteListOf(map, 'enclosures', MAX_ENCLOSURES),
    signatures: listOf(map, 'signatures', MAX_CUSTODIANS).map(signatureOf),
  };
  proposal.signatures.reduce((last, { index }) => {
    if (index <= last || index >= MAX_CUSTODIANS)
      throw malformed(`signatures: index ${index} follows ${last}`);
    return index;
  }, -1);
  if (!equalBytes(bytesOf(map, 'digest', 32), digestOf(fieldsOf(proposal))))
    throw malformed('the digest of the proposal is not that of its fields');
  return proposal;
}

export function withSignatures(proposal: Proposal, added: readonly CustodianSignature[]): Proposal {
  const byIndex = new Map(proposal.signatures.map((entry) => [entry.index, entry]));
  // The earlier of two stays: P-256 signatures of one event differ each time.
  for (const entry of added) if (!byIndex.has(entry.index)) byIndex.set(entry.index, entry);
  return {
    ...proposal,
    signatures: [...byIndex.values()].sort((a, b) => a.index - b.index),
  };
}

/** One proposal with the signatures of all copies. Throws CUSTODY_DIFFERENT_EVENTS */
export function mergeProposals(copies: readonly Proposal[]): Proposal {
  const [first] = copies;
  if (first === undefined) throw malformed('no proposal was given');
  const unsigned = encodeProposal({ ...first, signatures: [] });
  if (copies.some((copy) => !equalBytes(encodeProposal({ ...copy, signatures: [] }), unsigned)))
    throw new CustodyError(
      'CUSTODY_DIFFERENT_EVENTS',
      'the files are not copies of one proposal: what they propose or enclose differs',
    );
  return withSignatures(
    first,
    copies.flatMap(({ signatures }) => signatures),
  );
}

function signatureOf(value: CborValue): CustodianSignature {
  const map = expectLabels(value, ['index', 'signature']);
  return { index: numberOf(map, 'index'), signature: bytesOf(map, 'signature', 64) };
}

function fieldsOf(proposal: Proposal): [string, CborValue][] {
  return [
    ['type', PROPOSAL],
    ['event', proposal.event],
    ['log', proposal.log],
    ['cards', proposal.cards],
    ['enclosures', proposal.enclosures],
    [
      'signatures',
      proposal.signatures.map(
        ({ index, signature }) =>
          new Map<string, CborValue>([
            ['index', index],
            ['signature', signature],
          ]),
      ),
    ],
  ];
}

function digestOf(fields: readonly [string, CborValue][]): Uint8Array {
  return new Uint8Array(
    createHash('sha256')
      .update(encodeCbor(new Map(fields)))
      .digest(),
  );
}

/**
 * What a pair agrees to mix into its key, and over which time it counts (DESIGN 5).
 *
 * Both ends hold the same policy before they start; it is part of the transcript, so a difference ends in
 * two different keys and no confirmation, never in a weaker key.
 */
import { type Contribution, isContribution } from '#kel/record/edge-rule';
import { lengthPrefixed, uint64be, utf8 } from '#src/bytes';
import type { PairContribution } from '#src/crypto/labels';
import { MAX_EPOCH, MAX_EPOCH_SECONDS, MIN_EPOCH_SECONDS } from '../../mesh/membership/epoch.ts';
import { inOrder } from '../../mesh/membership/policy/contribution.ts';
import { AgreementError } from './errors.ts';
import { FieldReader } from './fields.ts';

export type { PairContribution };

/** What the two ends configure alike. */
export interface PairPolicy {
  /** Present contributions in the order of the table; all others are refused. */
  readonly contributions: readonly PairContribution[];
  /** Length of an epoch in seconds, 120 to 86,400. */
  readonly epochSeconds: number;
}

/** The policy of one agreement. */
export interface AgreementPolicy extends PairPolicy {
  /** Number of the epoch for which chain(0) counts. */
  readonly baseEpoch: number;
}

/**
 * Every contribution, in the order in which HKDF takes them. `required` ones are in each agreement.
 * A contribution that is not `available` has its place and its label, and is refused until a driver for it exists.
 */
const contributionTable: readonly {
  readonly name: PairContribution;
  readonly required: boolean;
  readonly available: boolean;
}[] = [
  { name: 'ml-kem-1024-responder', required: true, available: true },
  { name: 'ml-kem-1024-initiator', required: true, available: true },
  { name: 'ml-kem-1024-ephemeral', required: true, available: true },
  { name: 'x25519', required: true, available: true },
  { name: 'hqc-256-responder', required: false, available: false },
  { name: 'hqc-256-initiator', required: false, available: false },
  { name: 'hardware', required: false, available: false },
  { name: 'broker', required: false, available: false },
  { name: 'qkd', required: false, available: false },
  { name: 'manual', required: false, available: false },
];

const MAX_NAME_LENGTH = 32;

/** Longest encoding of a policy, bytes. */
export const MAX_POLICY_BYTES = 12 + 12 + contributionTable.length * (4 + MAX_NAME_LENGTH);

/** The contributions that every agreement has. */
export const requiredContributions: readonly PairContribution[] = contributionTable
  .filter((row) => row.required)
  .map((row) => row.name);

/** The same as edge policy and `status` name them: of a KEM that several keys of the pair take part in, once. */
export function sourcesOf(contributions: readonly PairContribution[]): readonly Contribution[] {
  return inOrder(
    contributions
      .map((name) => name.replace(/-(responder|initiator|ephemeral)$/, ''))
      .filter(isContribution),
  );
}

/** Those that this version can take part in, in the order of the table: all that every agreement has, and of the others what is offered. */
export function permittedContributions(
  offered: readonly Contribution[],
): readonly PairContribution[] {
  return contributionTable
    .filter(
      ({ name, required, available }) =>
        available && (required || sourcesOf([name]).some((source) => offered.includes(source))),
    )
    .map(({ name }) => name);
}

/** What a key can be made of in this version, as edge policy names it. */
export const mixableSources: readonly Contribution[] = sourcesOf(
  contributionTable.filter(({ available }) => available).map(({ name }) => name),
);

/** @throws AGREEMENT_POLICY, AGREEMENT_CONTRIBUTION */
export function checkPolicy(policy: AgreementPolicy): void {
  checkCounter('epoch length', policy.epochSeconds, MIN_EPOCH_SECONDS, MAX_EPOCH_SECONDS);
  checkCounter('base epoch', policy.baseEpoch, 0, MAX_EPOCH);
  checkContributions(policy.contributions);
}

function checkCounter(name: string, value: number, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new AgreementError(
      'AGREEMENT_POLICY',
      `${name}: expected ${min} to ${max}, got ${value}`,
    );
  }
}

function checkContributions(names: readonly string[]): void {
  for (const name of names) {
    const row = contributionTable.find((entry) => entry.name === name);
    if (row === undefined)
      throw new AgreementError(
        'AGREEMENT_CONTRIBUTION',
        `contribution ${JSON.stringify(name)} is unknown`,
      );
    if (!row.available)
      throw new AgreementError(
        'AGREEMENT_CONTRIBUTION',
        `contribution ${name} is not available in this version`,
      );
  }
  const expected = contributionTable
    .filter((row) => row.required || names.includes(row.name))
    .map((row) => row.name);
  if (expected.join() !== names.join()) {
    throw new AgreementError(
      'AGREEMENT_POLICY',
      `contributions: expected ${expected.join(', ')}, got ${names.join(', ') || 'none'}`,
    );
  }
}

/** One field: epoch length, base epoch, and the name of each present contribution in the table's order. */
export function encodePolicy(policy: AgreementPolicy): Uint8Array {
  return lengthPrefixed(
    uint64be(BigInt(policy.epochSeconds)),
    uint64be(BigInt(policy.baseEpoch)),
    ...policy.contributions.map(utf8),
  );
}

/** Accepts what {@link encodePolicy} makes of a valid policy. @throws AGREEMENT_BAD_MESSAGE, AGREEMENT_POLICY, AGREEMENT_CONTRIBUTION */
export function decodePolicy(bytes: Uint8Array): AgreementPolicy {
  const reader = new FieldReader(bytes, 'policy');
  const epochSeconds = reader.counter('epoch length');
  const baseEpoch = reader.counter('base epoch');
  const names: string[] = [];
  while (!reader.isAtEnd) names.push(reader.text('contribution', /^[a-z0-9-]+$/, MAX_NAME_LENGTH));
  checkContributions(names);
  const policy = { contributions: names as PairContribution[], epochSeconds, baseEpoch };
  checkPolicy(policy);
  return policy;
}

/** The policy of the mesh: what it is, and what holds for a pair. */
import type { Said } from '#kel/identifiers';
import { sha256 } from '#src/crypto/hash';
import { readRegularFile } from '#src/files/regular-file';
import type { Charter } from '../mesh/membership/charter.ts';
import { MembershipError } from '../mesh/membership/errors.ts';
import { DEFAULT_RULES } from '../mesh/membership/policy/edge-policy.ts';
import { termsOf } from '../mesh/membership/policy/mesh-policy.ts';
import { MAX_POLICY_BYTES, readPolicy } from '../mesh/membership/policy/policy-file.ts';
import type { Organisation } from '../organisation/organisation.ts';
import { absolutePath, optional, text } from './arguments.ts';
import { verbsOf } from './verb.ts';

const { needsState } = verbsOf({ organisation: ['membership', 'governing'] });

export const policyVerbs = {
  'mesh.policy.show': needsState({
    args: {
      /** Both by AID or name; neither: no pair. */
      one: optional(text),
      other: optional(text),
    },
    reads: true,
    async run({ organisation }, { one, other }) {
      const charter = charterOf(organisation);
      const pair =
        one === undefined || other === undefined
          ? null
          : pairJson(charter, organisation, one, other);
      return { ...policyJson(charter, organisation), pair };
    },
  }),
  'mesh.policy.set': needsState({
    args: {
      file: absolutePath,
      /** SHA-256 of the file as it was read, in hex. */
      digest: text,
      /** SAID of the charter with which it was compared. */
      charter: text,
    },
    async run({ organisation }, { file, digest, charter: seen }) {
      const reading = readPolicy(fileAs(file, digest));
      if (reading.kind === 'faults') {
        const [{ line, why } = { line: 1, why: '' }] = reading.faults;
        throw new MembershipError('MESH_BAD_POLICY', `${file}:${line}: ${why}`);
      }
      const charter = await organisation.governing.setPolicy(reading, seen as Said);
      return policyJson(charter, organisation);
    },
  }),
};

/** Throws MESH_POLICY_MOVED, FILE_NOT_REGULAR, FILE_TOO_LARGE. */
function fileAs(file: string, digest: string): string {
  const bytes = readRegularFile(file, MAX_POLICY_BYTES);
  if (Buffer.from(sha256(bytes)).toString('hex') !== digest)
    throw new MembershipError('MESH_POLICY_MOVED', `${file} is not as it was when it was read`);
  return bytes.toString('utf8');
}

function charterOf({ membership }: Pick<Organisation, 'membership'>): Charter {
  const { charter } = membership;
  if (charter === undefined)
    throw new MembershipError('MESH_NONE', 'there is no charter yet, so there is no policy');
  return charter;
}

function policyJson(charter: Charter, { membership }: Pick<Organisation, 'membership'>) {
  const { topology, rules, minimumLevel, brokers } = charter.policy;
  return {
    schema: 'kelmesh.policy/1' as const,
    mesh: charter.mesh,
    charter: charter.said,
    version: charter.version,
    recordVersion: charter.recordVersion,
    isGovernor: charter.governors[0] === membership.standing.self,
    topology,
    rules,
    /** For pairs that no rule matches. */
    defaults: DEFAULT_RULES,
    minimumLevel,
    brokers,
    members: [...charter.members.values()].map(({ aid, name, role, region }) => ({
      aid,
      name,
      role,
      region,
    })),
  };
}

function pairJson(
  charter: Charter,
  { governing }: Pick<Organisation, 'governing'>,
  one: string,
  other: string,
) {
  const [a, b] = [governing.find(one), governing.find(other)];
  if (a.aid === b.aid)
    throw new MembershipError('MESH_NOT_A_MEMBER', `a pair has two members, got ${a.name} twice`);
  return { a: a.name, b: b.name, ...termsOf(charter.policy, [a, b]) };
}

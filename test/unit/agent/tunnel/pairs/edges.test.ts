import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  OPEN_MESH,
  type PairPolicyTerms,
  termsOf,
} from '#agent/mesh/membership/policy/mesh-policy';
import { readPolicy } from '#agent/mesh/membership/policy/policy-file';
import { Edges, type EdgesDeps } from '#agent/tunnel/pairs/edges';
import type { Aid } from '#kel/identifiers';
import type { Contribution } from '#kel/record/edge-rule';

const AIDS = ['A', 'B', 'C'] as unknown as readonly Aid[];
const [A, B, C] = AIDS as [Aid, Aid, Aid];
const base: readonly Contribution[] = ['ml-kem-1024', 'x25519'];

/** Of member `self`; the terms with each other member are those that `lines` of a policy file have. */
function edgesOf(lines: readonly string[], mixable = base, standing = AIDS): Edges {
  const reading = readPolicy(lines.join('\n'));
  assert.ok(reading.kind === 'rules', JSON.stringify(reading));
  const policy = { ...OPEN_MESH, ...reading };
  const end = (name: string) => ({ name: name.toLowerCase(), role: 'server', region: '' }) as const;
  const terms = (aid: Aid): PairPolicyTerms => termsOf(policy, [end('self'), end(aid)]);
  const others = standing.map((aid) => ({ aid, ...end(aid) }));
  const membership = {
    standing: {
      others,
      other: (aid: Aid) => others.find((one) => one.aid === aid),
      termsWith: terms,
    },
  };
  return new Edges({ membership, mixable: () => mixable } as unknown as EdgesDeps);
}

describe('edges of a node', () => {
  const lines = [
    '[[edge]]\nbetween = ["name:a", "*"]\npeer = false',
    '[[edge]]\nbetween = ["name:b", "*"]\nrequired = ["ml-kem-1024", "x25519", "hqc-256", "manual"]',
  ];

  it('are open with whom the policy has a tunnel and this node can do what it requires, and with nobody else', () => {
    const edges = edgesOf(lines);
    assert.deepEqual(
      edges.open().map(({ aid }) => aid),
      [C],
    );
    assert.equal(edges.of(A).kind, 'closed');
    assert.deepEqual(edges.of(B), { kind: 'lacking', lacking: ['hqc-256', 'manual'] });
    assert.equal(edgesOf(lines, [...base, 'hqc-256', 'manual']).of(B).kind, 'open');
    assert.equal(edgesOf(lines, base, [A, B]).of(C).kind, 'none', 'out, or suspended');
  });

  it('take a key that has all that is required, and none that lacks some of it', () => {
    const edges = edgesOf(lines, [...base, 'hqc-256', 'manual']);
    assert.equal(edges.suffices(B, base), false);
    assert.equal(edges.suffices(B, [...base, 'hqc-256']), false);
    assert.equal(edges.suffices(B, [...base, 'hqc-256', 'manual']), true);
    assert.equal(edges.suffices(C, base), true);
    assert.equal(edges.suffices(A, [...base, 'hqc-256', 'manual']), false, 'closed');
  });
});

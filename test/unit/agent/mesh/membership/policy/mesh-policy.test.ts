import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { EdgeEnd } from '#agent/mesh/membership/policy/edge-policy';
import {
  type MeshPolicy,
  OPEN_MESH,
  policyFaultsOf,
  termsOf,
} from '#agent/mesh/membership/policy/mesh-policy';
import { formatPolicy, readPolicy } from '#agent/mesh/membership/policy/policy-file';
import type { EdgeRule } from '#kel/record/edge-rule';
import type { Topology } from '#kel/record/extension';

const end = (name: string, region = '', role: EdgeEnd['role'] = 'server'): EdgeEnd => ({
  name,
  region,
  role,
});
const madrid = end('madrid', 'eu');
const lisbon = end('lisbon', 'eu');
const boston = end('boston', 'us');
const gateEu = end('gate-eu', 'eu', 'relay');
const gateUs = end('gate-us', 'us', 'relay');
const all = [madrid, lisbon, boston, gateEu, gateUs];

function rulesOf(...lines: readonly string[]): readonly EdgeRule[] {
  const reading = readPolicy(lines.join('\n'));
  assert.equal(reading.kind, 'rules', JSON.stringify(reading));
  return reading.kind === 'rules' ? reading.rules : [];
}

describe('policy of a mesh', () => {
  const rows: readonly (readonly [Topology, EdgeEnd, EdgeEnd, boolean])[] = [
    ['full', madrid, boston, true],
    ['regions', madrid, lisbon, true],
    ['regions', madrid, gateEu, true],
    ['regions', gateEu, gateUs, true],
    ['regions', madrid, gateUs, false],
    ['regions', madrid, boston, false],
    ['hub:madrid', madrid, boston, true],
    ['hub:madrid', gateEu, madrid, true],
    ['hub:madrid', lisbon, boston, false],
    ['hub:gone', madrid, boston, false],
  ];
  for (const [topology, a, b, isOpen] of rows)
    it(`with topology ${topology} has ${isOpen ? 'a' : 'no'} tunnel between ${a.name} and ${b.name}, seen from both ends`, () => {
      const policy = { ...OPEN_MESH, topology };
      const terms = termsOf(policy, [a, b]);
      assert.deepEqual([terms.peer, terms.closedBy], [isOpen, isOpen ? null : 'topology']);
      assert.deepEqual(termsOf(policy, [b, a]), terms);
    });

  it('opens no pair by a rule that the topology closes, and closes by a rule what the topology opens', () => {
    const rules = rulesOf(
      '[[edge]]\nbetween = ["name:madrid", "name:boston"]',
      '[[edge]]\nbetween = ["name:madrid", "name:lisbon"]\npeer = false',
    );
    const policy: MeshPolicy = { ...OPEN_MESH, topology: 'regions', rules };
    assert.equal(termsOf(policy, [madrid, boston]).closedBy, 'topology');
    assert.equal(termsOf(policy, [lisbon, madrid]).closedBy, 'rule');
    assert.equal(termsOf(policy, [lisbon, gateEu]).closedBy, null);
  });

  it('requires what the least level of the mesh needs, whatever a rule says', () => {
    const rules = rulesOf('[[edge]]\nbetween = ["role:relay", "*"]');
    const policy: MeshPolicy = { ...OPEN_MESH, rules, minimumLevel: 'ABC' };
    for (const other of [madrid, gateUs])
      for (const list of ['required', 'offered'] as const)
        assert.deepEqual(termsOf(policy, [gateEu, other])[list], [
          'ml-kem-1024',
          'x25519',
          'rosenpass',
        ]);
    assert.ok(
      !termsOf({ ...policy, minimumLevel: 'AC' }, [gateEu, madrid]).required.includes('rosenpass'),
    );
  });

  it('must not be signed where it contradicts itself or the charter, and says which key has to change', () => {
    const faults = (policy: Partial<MeshPolicy>) =>
      policyFaultsOf({ ...OPEN_MESH, ...policy }, { members: all, brokers: ['north'] });
    assert.deepEqual(faults({ topology: 'hub:madrid' }), []);
    assert.deepEqual(
      faults({ topology: 'hub:gone' }).map(({ rule, key }) => [rule, key]),
      [[null, 'topology']],
    );
    const rules = rulesOf('[[edge]]\nbetween = ["*", "*"]\nrefused = ["rosenpass"]');
    assert.deepEqual(faults({ rules }), []);
    assert.deepEqual(
      faults({ rules, minimumLevel: 'AB' }).map(({ rule, key }) => [rule, key]),
      [[0, 'refused']],
    );
    const named = rulesOf('[[edge]]\nbetween = ["name:paris", "*"]\noffered = ["broker:south"]');
    assert.deepEqual(
      faults({ rules: named }).map(({ key }) => key),
      ['offered', 'between'],
    );
    const unknown = policyFaultsOf({ ...OPEN_MESH, rules: named, topology: 'hub:gone' }, undefined);
    assert.deepEqual(unknown, [], 'names are not compared with what is not known');
  });

  it('reads back from its file with its topology, and takes no other', () => {
    for (const topology of ['full', 'regions', 'hub:madrid'] as const) {
      const reading = readPolicy(formatPolicy({ topology, rules: [] }));
      assert.ok(reading.kind === 'rules');
      assert.equal(reading.topology, topology);
    }
    for (const topology of ['star', 'hub:', 'hub:-a', 'hub:A', 'hub', ''])
      assert.deepEqual(readPolicy(`\ntopology = "${topology}"\n`), {
        kind: 'faults',
        faults: [
          {
            line: 2,
            why: `topology: expected full, regions, or hub: and the name of a member, got "${topology}"`,
          },
        ],
      });
  });
});

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { EdgeEnd } from '#agent/mesh/membership/policy/edge-policy';
import { type MeshPolicy, OPEN_MESH, termsOf } from '#agent/mesh/membership/policy/mesh-policy';
import { comparePolicies } from '#agent/mesh/membership/policy/policy-comparison';
import { readPolicy } from '#agent/mesh/membership/policy/policy-file';

function policyOf(...lines: readonly string[]): MeshPolicy {
  const reading = readPolicy(lines.join('\n'));
  assert.ok(reading.kind === 'rules', JSON.stringify(reading));
  const { topology, rules } = reading;
  return { ...OPEN_MESH, topology, rules };
}

const rule = (a: string, b: string, ...lines: readonly string[]) =>
  ['[[edge]]', `between = ["${a}", "${b}"]`, ...lines, ''].join('\n');

const members: readonly EdgeEnd[] = [
  { name: 'madrid', role: 'server', region: 'eu' },
  { name: 'lisbon', role: 'server', region: 'eu' },
  { name: 'boston', role: 'server', region: 'us' },
  { name: 'gate', role: 'relay', region: 'eu' },
  { name: 'phone', role: 'device', region: 'us' },
];

describe('a policy compared with the one in force', () => {
  it('is told rule by rule: what goes and what comes, and what stays is not named', () => {
    const stays = rule('region:eu', 'region:us', 'offered = ["hqc-256"]');
    const before = policyOf(rule('name:boston', '*', 'peer = false'), stays);
    const after = policyOf('topology = "regions"', stays, rule('*', '*', 'start = "lazy"'));
    const { topology, rules } = comparePolicies(before, after, members);
    assert.deepEqual(topology, { before: 'full', after: 'regions' });
    assert.deepEqual(
      rules.map(({ kind, rule: at }) => [kind, at]),
      [
        ['removed', 0],
        ['added', 1],
      ],
    );
    assert.match(rules[0]?.text ?? '', /name:boston.*peer = false/s);
  });

  it('names the pairs for which something else would hold, and for no other', () => {
    const before = policyOf();
    const after = policyOf(
      rule('name:madrid', 'role:relay', 'required = ["ml-kem-1024", "x25519", "rosenpass"]'),
      rule('role:device', 'role:server', 'peer = false'),
    );
    const { pairs } = comparePolicies(before, after, members);
    const told = pairs.map(({ some, others, after: then }) => [
      [...some, ...others].sort().join(),
      then.peer,
      then.level?.least,
    ]);
    assert.deepEqual(
      told.sort(),
      [
        ['boston,phone', false, undefined],
        ['gate,madrid', true, 'AB'],
        ['lisbon,phone', false, undefined],
        ['madrid,phone', false, undefined],
      ].sort(),
    );
  });

  it('counts members that no rule tells apart together, to the same pairs as one by one', () => {
    const word = fc.constantFrom('*', 'role:device', 'region:r1', 'name:m0', 'name:m3');
    const line = fc
      .tuple(
        word,
        word,
        fc.constantFrom('peer = false', 'required = ["ml-kem-1024", "x25519", "manual"]', ''),
      )
      .map(([a, b, more]) => rule(a, b, more));
    const topology = fc.constantFrom('full', 'regions', 'hub:m1');
    const policy = fc
      .tuple(topology, fc.array(line, { maxLength: 3 }))
      .map(([top, lines]) => policyOf(`topology = "${top}"`, ...lines));
    const many = Array.from(
      { length: 12 },
      (_, n): EdgeEnd => ({
        name: `m${n}`,
        role: (['server', 'relay', 'device'] as const)[n % 3] as EdgeEnd['role'],
        region: `r${n % 2}`,
      }),
    );
    fc.assert(
      fc.property(policy, policy, (before, after) => {
        const told = comparePolicies(before, after, many).pairs.reduce(
          (sum, { pairs }) => sum + pairs,
          0,
        );
        let counted = 0;
        for (const [i, a] of many.entries())
          for (const b of many.slice(i + 1)) {
            const [was, is] = [termsOf(before, [a, b]), termsOf(after, [a, b])];
            const shown = ({ peer, required, offered }: typeof was) =>
              peer ? `${required} ${offered.includes('rosenpass')}` : 'none';
            if (shown(was) !== shown(is)) counted += 1;
          }
        assert.equal(told, counted);
      }),
    );
  });
});

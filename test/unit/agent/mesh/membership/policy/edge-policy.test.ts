import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { inOrder, levelOf } from '#agent/mesh/membership/policy/contribution';
import {
  contradictionsOf,
  type EdgeEnd,
  lackingOf,
  policyOf,
} from '#agent/mesh/membership/policy/edge-policy';
import { formatPolicy, readPolicy } from '#agent/mesh/membership/policy/policy-file';
import { type Contribution, type EdgeRule, isContribution } from '#kel/record/edge-rule';

const ends = {
  hospital: { name: 'hospital', role: 'server', region: 'eu' },
  bank: { name: 'bank', role: 'server', region: 'us' },
  relay: { name: 'exchange', role: 'relay', region: 'eu' },
  laptop: { name: 'laptop', role: 'device', region: 'eu' },
} as const satisfies Record<string, EdgeEnd>;
const all: readonly EdgeEnd[] = Object.values(ends);
const world = { members: all, brokers: ['north'] };

const base: readonly Contribution[] = ['ml-kem-1024', 'x25519'];

function rules(text: string): readonly EdgeRule[] {
  const reading = readPolicy(text);
  assert.equal(reading.kind, 'rules', JSON.stringify(reading));
  return reading.kind === 'rules' ? reading.rules : [];
}

const rule = (between: string, ...lines: string[]): string =>
  ['[[edge]]', `between = ${between}`, ...lines, ''].join('\n');

describe('edge policy', () => {
  it('by default offers B between servers and relays, A alone to devices, and requires A everywhere', () => {
    for (const [a, b, offered] of [
      [ends.hospital, ends.bank, [...base, 'rosenpass']],
      [ends.hospital, ends.relay, [...base, 'rosenpass']],
      [ends.relay, ends.relay, [...base, 'rosenpass']],
      [ends.hospital, ends.laptop, base],
      [ends.laptop, ends.laptop, base],
    ] as const) {
      const terms = policyOf([], [a, b]);
      assert.equal(terms.rule, null);
      assert.equal(terms.peer, true);
      assert.deepEqual(terms.required, base);
      assert.deepEqual(terms.offered, offered);
    }
  });

  it('is decided by the first rule that matches, as a whole, and is the same seen from both ends', () => {
    const list = rules(
      rule('["name:hospital", "name:bank"]', 'required = ["x25519", "rosenpass", "ml-kem-1024"]') +
        rule('["region:eu", "*"]', 'offered = ["hqc-256"]', 'start = "lazy"') +
        rule('["role:device", "role:device"]', 'peer = false'),
    );
    const expected = new Map<string, number | null>([
      ['hospital bank', 0],
      ['hospital exchange', 1],
      ['bank laptop', 1],
      ['bank bank', null],
    ]);
    for (const a of all)
      for (const b of all) {
        const terms = policyOf(list, [a, b]);
        assert.deepEqual(policyOf(list, [b, a]), terms);
        const known = expected.get(`${a.name} ${b.name}`);
        if (known !== undefined) assert.equal(terms.rule, known, `${a.name} ${b.name}`);
      }
    const first = policyOf(list, [ends.bank, ends.hospital]);
    assert.deepEqual(first.required, ['ml-kem-1024', 'x25519', 'rosenpass']);
    assert.equal(first.start, 'eager');
    assert.equal(policyOf(list, [ends.laptop, ends.bank]).start, 'lazy');
  });

  it('keeps an edge down that lacks what is required, and names it', () => {
    const [terms] = [
      policyOf(
        rules(
          rule('["*", "*"]', 'required = ["ml-kem-1024", "x25519", "rosenpass", "broker:north"]'),
        ),
        [ends.bank, ends.hospital],
      ),
    ];
    assert.deepEqual(lackingOf(terms, base), ['rosenpass', 'broker:north']);
    assert.deepEqual(lackingOf(terms, [...base, 'broker:north', 'rosenpass']), []);
  });

  it('calls an edge AB only when Rosenpass is in its key', () => {
    assert.equal(levelOf(base), 'A');
    assert.equal(levelOf([...base, 'hqc-256', 'hardware', 'broker:north', 'manual']), 'A');
    assert.equal(levelOf([...base, 'rosenpass']), 'AB');
  });

  it('lists contributions by kind and name, each once', () => {
    assert.deepEqual(
      inOrder([
        'manual',
        'skip:b',
        'qkd:z',
        'qkd:a',
        'broker:n',
        'hardware',
        'rosenpass',
        'x25519',
        'hqc-256',
        'ml-kem-1024',
        'manual',
      ]),
      [
        'ml-kem-1024',
        'x25519',
        'hqc-256',
        'rosenpass',
        'hardware',
        'broker:n',
        'qkd:a',
        'qkd:z',
        'skip:b',
        'manual',
      ],
    );
    for (const text of [
      '',
      'broker',
      'broker:',
      'broker:a:b',
      'broker:A',
      'ML-KEM-1024',
      'rosenpass:x',
      'toString',
    ])
      assert.equal(isContribution(text), false, text);
  });
});

describe('a policy that cannot be meant', () => {
  const table: readonly (readonly [string, string, string, RegExp])[] = [
    [
      'required and refused',
      rule(
        '["*", "*"]',
        'required = ["ml-kem-1024", "x25519", "hqc-256"]',
        'refused = ["hqc-256"]',
      ),
      'refused',
      /required and refused/,
    ],
    [
      'offered and refused',
      rule('["*", "*"]', 'offered = ["manual"]', 'refused = ["manual"]'),
      'refused',
      /offered and refused/,
    ],
    [
      'without what every agreement has',
      rule('["*", "*"]', 'required = ["hqc-256"]'),
      'required',
      /require it/,
    ],
    [
      'refusing what every agreement has',
      rule('["*", "*"]', 'required = ["ml-kem-1024"]', 'refused = ["x25519"]'),
      'refused',
      /in every agreement/,
    ],
    [
      'a broker that the charter does not name',
      rule('["*", "*"]', 'offered = ["broker:south"]'),
      'offered',
      /no broker south/,
    ],
    [
      'a member that is none',
      rule('["name:nobody", "*"]'),
      'between',
      /no member is called nobody/,
    ],
    [
      'terms for a pair without a tunnel',
      rule('["*", "*"]', 'peer = false', 'prefixes = ["10.0.0.0/8"]'),
      'prefixes',
      /no tunnel/,
    ],
    [
      'a relay for a pair without a tunnel',
      rule('["*", "*"]', 'peer = false', 'relay = "required"'),
      'relay',
      /no tunnel to relay/,
    ],
    [
      'a rule that never decides',
      rule('["*", "role:device"]') + rule('["role:device", "region:eu"]'),
      'between',
      /rule 1 matches/,
    ],
  ];
  for (const [what, text, key, why] of table)
    it(`is refused: ${what}`, () => {
      const found = contradictionsOf(rules(text), world);
      assert.ok(
        found.some((one) => one.key === key && why.test(one.why)),
        JSON.stringify(found),
      );
    });

  it('is nothing in rules that can be meant', () => {
    const text =
      rule(
        '["name:hospital", "name:bank"]',
        'required = ["ml-kem-1024", "x25519", "broker:north"]',
        'refused = ["manual"]',
      ) +
      rule('["role:device", "role:device"]', 'peer = false') +
      rule('["*", "*"]', 'offered = ["hqc-256", "rosenpass"]', 'obfuscation = ["mask", "pad"]');
    assert.deepEqual(contradictionsOf(rules(text), world), []);
  });
});

describe('a policy file', () => {
  it('names the line of what it cannot take', () => {
    const table: readonly (readonly [string, number, RegExp])[] = [
      ['[[edge]]\nbetween = ["*"]\n', 2, /two selectors/],
      ['[[edge]]\n\nbetween = ["*", "role:king"]\n', 3, /selector/],
      [
        '[[edge]]\nbetween = ["*", "*"]\n[[edge]]\nbetween = ["*", "*"]\noffered = ["rot13"]\n',
        5,
        /contribution/,
      ],
      ['[[edge]]\nbetween = ["*", "*"]\nprefixes = ["10.0.0.1/8"]\n', 3, /prefix/],
      ['[[edge]]\nbetween = ["*", "*"]\nstart = "soon"\n', 3, /eager, lazy/],
      ['[[edge]]\nbetween = ["*", "*"]\nrelay = true\n', 3, /refused, offered/],
      ['[[edge]]\nbetween = ["*", "*"]\npeer = "yes"\n', 3, /true or false/],
      ['[[edge]]\nbetween = ["*", "*"]\ncolour = "red"\n', 3, /one of between/],
      ['[[edge]]\nbetween = ["*", "*"]\noffered = ["manual", "manual"]\n', 3, /each entry once/],
      ['[[edge]]\nbetween = ["*", "*"\n', 3, /^expected/],
      ['\n\n[edges]\n', 3, /expected topology or \[\[edge\]\]/],
      ['[[edge]]\n', 1, /two selectors/],
    ];
    for (const [text, line, why] of table) {
      const reading = readPolicy(text);
      assert.equal(reading.kind, 'faults', text);
      if (reading.kind !== 'faults') continue;
      assert.ok(
        reading.faults.some((fault) => fault.line === line && why.test(fault.why)),
        `${JSON.stringify(text)}: ${JSON.stringify(reading.faults)}`,
      );
    }
  });

  it('is bounded in bytes, rules and entries', () => {
    for (const text of [
      `# ${'x'.repeat(300_000)}`,
      rule('["*", "*"]').repeat(300),
      rule(
        '["*", "*"]',
        `prefixes = [${Array.from({ length: 80 }, (_, i) => `"10.${i}.0.0/16"`).join(', ')}]`,
      ),
    ])
      assert.equal(readPolicy(text).kind, 'faults');
  });

  it('reads back as it was written', () => {
    const contribution = fc.constantFrom<Contribution>(
      'ml-kem-1024',
      'x25519',
      'hqc-256',
      'rosenpass',
      'hardware',
      'broker:north',
      'qkd:a-1',
      'skip:b',
      'manual',
    );
    const several = fc.uniqueArray(contribution);
    const selector = fc.constantFrom(
      '*',
      'role:server',
      'role:device',
      'region:eu west',
      'name:hospital',
    ) as fc.Arbitrary<EdgeRule['between'][0]>;
    const openRule = fc.record(
      {
        between: fc.tuple(selector, selector),
        peer: fc.constant(true),
        required: several,
        offered: several,
        refused: several,
        start: fc.constantFrom('eager' as const, 'lazy' as const),
        prefixes: fc.uniqueArray(fc.constantFrom('10.0.0.0/8', 'fd00::/8', '192.0.2.1/32')),
        obfuscation: fc.uniqueArray(fc.constantFrom('mask' as const, 'hop' as const)),
        relay: fc.constantFrom('refused' as const, 'offered' as const, 'required' as const),
      },
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(fc.array(openRule, { maxLength: 5 }), (list) => {
        assert.deepEqual(rules(formatPolicy({ topology: 'full', rules: list })), list);
      }),
    );
  });

  it('never ends in anything but rules or faults, whatever it says', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 120 }), fc.nat(40), (noise, at) => {
        const text = rule('["*", "*"]', 'offered = ["manual"]');
        readPolicy(text.slice(0, at) + noise + text.slice(at));
      }),
    );
  });
});

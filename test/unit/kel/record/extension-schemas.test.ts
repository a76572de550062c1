import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { decodeRecordBody, encodeRecordBody } from '#kel/record/cbor';
import type { RecordType } from '#kel/record/record';
import type { FieldSchema, WireMap } from '#kel/record/schema';
import { recordSchemas } from '#kel/record/schemas';
import {
  dt,
  highAid,
  lowAid,
  sampleExtensions,
  samples,
  someSaid,
} from '../../../support/kit/record-samples.ts';

type Wire = Map<string, unknown>;

function wireOf(
  type: RecordType,
  x: unknown = sampleExtensions[type],
  cr: readonly string[] = [],
): Wire {
  const schema = recordSchemas[2][type] as FieldSchema<unknown>;
  const common = { v: 'KMSH20CBOR000000_', t: type, d: someSaid, u: '0AAAAAAAAAAAAAAAAAAAAAAA' };
  return new Map(
    schema.wire({ ...common, i: lowAid, dt, ...samples[type], x, cr }) as ReadonlyMap<
      string,
      unknown
    >,
  );
}

function parse(type: RecordType, wire: unknown): { x: object; cr: readonly string[] } {
  return recordSchemas[2][type].parse(wire, '') as never;
}

const bytes = (length: number) => new Uint8Array(length).fill(1);
const wireMap = (entries: object) => new Map(Object.entries(entries));
const candidate = (change: object) =>
  wireMap({ k: 'own', a: '192.0.2.1:51820', pr: 3, by: '', ...change });
const rule = (change: object) => wireMap({ ...(sampleExtensions.chr.pol?.[0] ?? {}), ...change });

/** By type and extension: what its schema does not take. */
const refused: readonly (readonly [RecordType, string, unknown])[] = [
  ['nod', 'cap', ['b', 'a']],
  ['nod', 'cap', ['a', 'a']],
  ['nod', 'cap', ['A']],
  ['nod', 'cap', Array.from({ length: 65 }, (_, at) => `w${100 + at}`)],
  ['nod', 'gw', wireMap({ rank: 256, pre: ['10.0.0.0/8'] })],
  ['nod', 'gw', wireMap({ rank: 1, pre: [] })],
  ['nod', 'gw', wireMap({ rank: 1, pre: ['10.0.0.1/8'] })],
  ['nod', 'gw', wireMap({ rank: 1, pre: ['fd00:0::/16'] })],
  ['nod', 'gw', wireMap({ rank: 1, pre: ['fd00::/8', '10.0.0.0/8'] })],
  ['nod', 'gw', wireMap({ pre: ['10.0.0.0/8'], rank: 1 })],
  ['nod', 'name', '-one'],
  ['tun', 'pop', bytes(63)],
  ['tun', 'rp', wireMap({ al: 'V02', h: bytes(32) })],
  ['tun', 'rp', wireMap({ al: 'v02', h: bytes(31) })],
  ['tun', 'st', wireMap({ wg: bytes(32), p: [], ov: [], pop: bytes(64) })],
  ['tun', 'st', wireMap({ wg: bytes(32), p: [0], ov: [], pop: bytes(64) })],
  ['tun', 'st', wireMap({ wg: bytes(32), p: [2, 1], ov: [], pop: bytes(64) })],
  ['tun', 'st', wireMap({ wg: bytes(32), p: [1], ov: [] })],
  ['end', 'cand', [candidate({ k: 'guessed' })]],
  ['end', 'cand', [candidate({ a: '192.0.2.1' })]],
  ['end', 'cand', [candidate({ pr: -1 })]],
  ['end', 'cand', [candidate({ by: lowAid })]],
  ['end', 'cand', [candidate({ k: 'observed' })]],
  ['end', 'cand', [candidate({}), candidate({ pr: 4 })]],
  ['end', 'relay', wireMap({ a: [], q: wireMap({ bps: 0, day: 0 }) })],
  ['end', 'relay', wireMap({ a: ['192.0.2.1:1'], q: wireMap({ bps: 0 }) })],
  ['end', 'rpe', []],
  ['end', 'rpe', ['192.0.2.1']],
  ['chr', 'rv', 0],
  ['chr', 'rv', 3],
  ['chr', 'top', 'star'],
  ['chr', 'top', 'hub:'],
  ['chr', 'top', 'hub:A'],
  ['chr', 'brk', [wireMap({ n: 'a', i: '', u: '' })]],
  ['chr', 'brk', [wireMap({ n: 'a', i: lowAid, u: 'https://a.example' })]],
  ['chr', 'brk', [wireMap({ n: 'a', i: '', u: 'http://a.example' })]],
  ['chr', 'brk', new Array(2).fill(wireMap({ n: 'a', i: lowAid, u: '' }))],
  ['chr', 'rel', [wireMap({ n: 'a', i: '', a: [] })]],
  ['chr', 'rel', new Array(2).fill(wireMap({ n: 'a', i: lowAid, a: [] }))],
  ['chr', 'pol', [rule({ between: ['*'] })]],
  ['chr', 'pol', [rule({ between: ['*', 'role:king'] })]],
  ['chr', 'pol', [rule({ between: ['*', 'region:\ud800'] })]],
  ['chr', 'pol', [rule({ peer: 1 })]],
  ['chr', 'pol', [rule({ required: ['ml-kem-768'] })]],
  ['chr', 'pol', [rule({ required: ['x25519', 'x25519'] })]],
  ['chr', 'pol', [rule({ start: 'now' })]],
  ['chr', 'pol', [rule({ prefixes: ['10.0.0.1/8'] })]],
  ['chr', 'pol', [rule({ obfuscation: ['rot13'] })]],
  ['chr', 'pol', [rule({ relay: 'maybe' })]],
  ['chr', 'pol', [rule({ more: 1 })]],
  ['chr', 'pol', new Array(257).fill(rule({}))],
  ['rvk', 'sup', `D${'A'.repeat(43)}`],
  ['rvk', 'wg', bytes(33)],
];

describe('records of version 2', () => {
  for (const type of Object.keys(samples) as RecordType[]) {
    it(`${type}: read what they write, with every known extension`, () => {
      const names = Object.keys(sampleExtensions[type]);
      const { x, cr } = parse(type, wireOf(type, sampleExtensions[type], names));
      assert.deepEqual(x, sampleExtensions[type]);
      assert.deepEqual(cr, names);
    });

    it(`${type}: have the fields of version 1, then x and cr, and no others`, () => {
      const entries = [...wireOf(type)];
      assert.deepEqual(
        entries.slice(-2).map(([name]) => name),
        ['x', 'cr'],
      );
      const swapped = [...entries.slice(0, -2), ...entries.slice(-2).reverse()];
      const changed = [
        entries.slice(0, -1),
        entries.slice(0, -2),
        [...entries, ['y', 1] as const],
        swapped,
      ];
      for (const broken of changed)
        assert.throws(() => parse(type, new Map(broken)), { code: 'RECORD_BAD_FIELD' });
      assert.throws(() => recordSchemas[1][type].parse(new Map(entries), ''), {
        code: 'RECORD_BAD_FIELD',
      });
    });

    it(`${type}: carry an extension that nobody here knows, unless it must be understood`, () => {
      const later = wireMap({ deep: [wireMap({ a: bytes(3) }), true, false, 7], text: 'ß' });
      const x = { ...sampleExtensions[type], later };
      const wire = wireOf(type, x);
      const parsed = parse(type, wire) as { x: { later: unknown } };
      assert.deepEqual(parsed.x.later, later);
      const body = encodeRecordBody(wire as WireMap);
      assert.deepEqual(encodeRecordBody(wireOf(type, parsed.x)), body);
      assert.deepEqual(decodeRecordBody(body), wire);
      assert.throws(() => parse(type, wireOf(type, x, ['later'])), {
        code: 'RECORD_UNKNOWN_EXTENSION',
        message: /later/,
        fields: { extension: 'later' },
      });
    });
  }

  for (const [type, name, value] of refused) {
    it(`${type}: refuse x.${name} = ${JSON.stringify(value).slice(0, 40)}`, () => {
      const wire = wireOf(type).set('x', new Map([[name, value]]));
      assert.throws(
        () => parse(type, wire),
        (error: { code?: string; fields?: { field?: string } }) =>
          error.code === 'RECORD_BAD_FIELD' &&
          error.fields?.field?.startsWith(`x.${name}`) === true,
      );
    });
  }

  it('refuse names out of order, of another form, too many, and too many bytes', () => {
    const many = Array.from({ length: 33 }, (_, at): [string, unknown] => [`n${100 + at}`, 1]);
    for (const x of [
      new Map([
        ['b', 1],
        ['a', 1],
      ]),
      new Map([['A', 1]]),
      new Map([['', 1]]),
      new Map([['x'.repeat(33), 1]]),
      new Map([['__proto__', 1]]),
      new Map(many),
      new Map([['a', bytes(32 * 1024)]]),
      [],
      'x',
    ])
      assert.throws(() => parse('nod', wireOf('nod').set('x', x)), { code: 'RECORD_BAD_FIELD' });
    assert.ok(parse('nod', wireOf('nod').set('x', new Map(many.slice(0, 32)))));
  });

  it('refuse in cr what is not in x, twice the same, and another order', () => {
    for (const cr of [['gw', 'cap'], ['cap', 'cap'], ['Cap'], 'cap', [7]])
      assert.throws(() => parse('nod', wireOf('nod').set('cr', cr)), { code: 'RECORD_BAD_FIELD' });
    const bare = wireOf('nod', {}).set('cr', ['cap']);
    assert.throws(() => parse('nod', bare), { code: 'RECORD_BAD_FIELD' });
  });

  it('name the observer of a candidate', () => {
    const seen = candidate({ k: 'observed', by: highAid });
    const wire = wireOf('end').set('x', new Map([['cand', [candidate({}), seen]]]));
    assert.equal(parse('end', wire).cr.length, 0);
  });
});

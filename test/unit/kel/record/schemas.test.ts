import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { RecordType } from '#kel/record/record';
import type { FieldSchema } from '#kel/record/schema';
import { recordSchemas } from '#kel/record/schemas';
import { dt, highAid, lowAid, samples, someSaid } from '../../../support/kit/record-samples.ts';

type Wire = Map<string, unknown>;

function wireOf(type: RecordType): Wire {
  const schema = recordSchemas[1][type] as FieldSchema<unknown>;
  return schema.wire({
    v: 'KMSH10CBOR000000_',
    t: type,
    d: someSaid,
    u: '0AAAAAAAAAAAAAAAAAAAAAAA',
    i: lowAid,
    dt,
    ...samples[type],
  }) as Wire;
}

/** Puts `value` at `path` of a record that is well formed otherwise. */
function withValue(type: RecordType, path: readonly (string | number)[], value: unknown): Wire {
  const wire = wireOf(type);
  let at: unknown = wire;
  for (const step of path.slice(0, -1)) {
    at = at instanceof Map ? at.get(step) : (at as unknown[])[step as number];
  }
  const last = path.at(-1) as string | number;
  if (at instanceof Map) at.set(last, value);
  else (at as unknown[])[last as number] = value;
  return wire;
}

function parse(type: RecordType, wire: unknown): unknown {
  return recordSchemas[1][type].parse(wire, '');
}

const member = (i: string, n: string) =>
  new Map<string, unknown>([
    ['i', i],
    ['n', n],
    ['role', 'server'],
    ['region', ''],
  ]);

const refused: readonly (readonly [RecordType, readonly (string | number)[], unknown])[] = [
  ['nod', ['u'], '0AAAAAAAAAAAAAAAAAAAAAA'],
  ['nod', ['u'], someSaid],
  ['nod', ['i'], 'not an AID'],
  ['nod', ['i'], `${lowAid}A`],
  ['nod', ['i'], `E_${'A'.repeat(42)}`],
  ['nod', ['dt'], '2026-01-01T00:00:00Z'],
  ['nod', ['dt'], '2026-02-30T00:00:00.000000+00:00'],
  ['nod', ['t'], 'tun'],
  ['nod', ['o'], 7],
  ['nod', ['role'], 'king'],
  ['nod', ['region'], 'x'.repeat(65)],
  ['nod', ['region'], 'line\nbreak'],
  ['nod', ['region'], '\ud800'],
  ['nod', ['of'], ['B', 'A']],
  ['nod', ['of'], ['A', 'A']],
  ['nod', ['of'], ['D']],
  ['nod', ['rq'], ['C']],
  ['nod', ['ov'], ['fe80::1%eth0']],
  ['nod', ['ov'], ['10.0.0.256']],
  ['nod', ['ov'], new Array(9).fill('10.0.0.1')],
  ['tun', ['e'], -1],
  ['tun', ['e'], 1.5],
  ['tun', ['e'], 2 ** 32],
  ['tun', ['e'], '1'],
  ['tun', ['es', 'd'], ''],
  ['tun', ['wg'], new Uint8Array(31)],
  ['tun', ['wg'], 'x'.repeat(32)],
  ['tun', ['kem'], new Map([['ml-kem-768', new Uint8Array(1184)]])],
  ['tun', ['kem', 'ml-kem-1024'], new Uint8Array(1567)],
  ['tun', ['na'], dt],
  ['end', ['p'], '12D3KooW0'],
  ['end', ['la'], ['ip4/192.0.2.1']],
  ['end', ['la'], new Array(17).fill('/ip4/192.0.2.1')],
  ['end', ['ue', 0, 'a'], ['192.0.2.1']],
  ['end', ['ue', 0, 'a'], ['192.0.2.1:0']],
  ['end', ['ue', 0, 'a'], ['192.0.2.1:065']],
  ['end', ['ue', 0, 'a'], ['192.0.2.1:65536']],
  ['end', ['ue', 0, 'a'], ['192.0.2.256:1']],
  ['end', ['ue', 0, 'a'], ['2001:db8::1:1']],
  ['end', ['ue', 0, 'a'], ['[fe80::1%eth0]:1']],
  ['chr', ['n'], 1],
  ['chr', ['m'], someSaid],
  ['chr', ['name'], ''],
  ['chr', ['gov'], []],
  ['chr', ['gov'], [lowAid, lowAid]],
  ['chr', ['mem'], [member(lowAid, 'one'), member(lowAid, 'two')]],
  ['chr', ['mem'], [member(lowAid, 'one'), member(highAid, 'one')]],
  ['chr', ['mem'], [member(lowAid, 'One')]],
  ['chr', ['mem'], [member(lowAid, 'x'.repeat(64))]],
  ['chr', ['mem'], new Array(4097).fill(member(lowAid, 'one'))],
  ['chr', ['edge', 'min'], 'BA'],
  ['chr', ['ep', 'len'], 119],
  ['chr', ['ep', 'len'], 86_401],
  ['chr', ['ep', 'base'], -1],
  ['log', ['o'], 'two words'],
  ['log', ['vk'], []],
  ['log', ['vk'], ['no hash']],
  ['log', ['cad', 'n'], 0],
  ['rvk', ['k'], 'mesh'],
  ['rvk', ['why'], 'x'.repeat(281)],
  ['tup', ['i'], highAid],
  ['tup', ['b', 'i'], lowAid],
  ['tup', ['a', 'c', 'r'], new Uint8Array(33)],
  ['tup', ['lv'], ''],
  ['tup', ['nb'], new Uint8Array(0)],
];

describe('record schemas', () => {
  for (const type of Object.keys(samples) as RecordType[]) {
    it(`${type}: reads what it writes`, () => {
      const {
        v,
        t,
        d,
        u,
        i,
        dt: issued,
        ...fields
      } = parse(type, wireOf(type)) as Wire & {
        [name: string]: unknown;
      };
      assert.deepEqual(fields, samples[type]);
      assert.deepEqual([t, d, i, issued], [type, someSaid, lowAid, dt]);
      assert.equal(typeof v, typeof u);
    });

    it(`${type}: refuses a missing field, one too many, and another order`, () => {
      const entries = [...wireOf(type)];
      const swapped = [...entries.slice(0, -2), ...entries.slice(-2).reverse()];
      const changed = [entries.slice(0, -1), [...entries, ['x', 1] as const], swapped];
      for (const broken of changed) {
        assert.throws(() => parse(type, new Map(broken)), { code: 'RECORD_BAD_FIELD' });
      }
      assert.throws(() => parse(type, Object.fromEntries(entries)), { code: 'RECORD_BAD_FIELD' });
    });
  }

  for (const [type, path, value] of refused) {
    const shown = JSON.stringify(value)?.slice(0, 40);
    it(`${type}: refuses ${path.join('.')} = ${shown}`, () => {
      assert.throws(() => parse(type, withValue(type, path, value)), { code: 'RECORD_BAD_FIELD' });
    });
  }

  it('names the field by its path', () => {
    const wire = withValue('chr', ['mem', 0, 'n'], 'No');
    assert.throws(() => parse('chr', wire), { fields: { field: 'mem[0].n' } });
  });

  it('does not write a field that the type does not have', () => {
    const schema = recordSchemas[1].rvk as FieldSchema<unknown>;
    assert.throws(() => schema.wire({ ...samples.rvk, extra: 1 }), { code: 'RECORD_BAD_FIELD' });
  });
});

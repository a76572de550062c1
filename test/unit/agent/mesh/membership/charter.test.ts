import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { charterChain, type SealedCharter, setBackOf } from '#agent/mesh/membership/charter';
import type { Aid, Said } from '#kel/identifiers';
import type { EdgeRule } from '#kel/record/edge-rule';
import type { CharterExtensions } from '#kel/record/extension';

import type { CharterFields, ChrRecord, Verified } from '#kel/record/record';

const said = (name: string) => `E${name.padEnd(43, '_')}` as Said;
const aid = (name: string) => said(name) as string as Aid;
const MESH = said('v0');

interface Version {
  readonly d: string;
  readonly p?: string;
  readonly n: number;
  readonly sn: number;
  readonly by?: string;
  readonly fields?: Partial<CharterFields>;
  readonly x?: CharterExtensions;
}

function version({ d, p, n, sn, by = 'gov', fields = {}, x }: Version): SealedCharter {
  const record = {
    v: '',
    t: 'chr',
    d: said(d),
    u: '',
    i: aid(by),
    dt: '',
    m: n === 0 ? '' : MESH,
    p: p === undefined ? '' : said(p),
    n,
    name: 'mesh',
    gov: [aid('gov')],
    mem: [{ i: aid('gov'), n: 'governor', role: 'server', region: '' }],
    edge: { min: 'A' },
    ep: { len: 3_600, base: 0 },
    ...fields,
    ...(x === undefined ? {} : { x, cr: Object.keys(x).sort() }),
  } as const satisfies ChrRecord;
  return {
    record: record as unknown as Verified<ChrRecord>,
    sealedIn: { sn, said: said(`ev${sn}`) },
  };
}

function members(...names: readonly string[]) {
  return names.map((name) => ({ i: aid(name), n: name, role: 'server', region: '' }) as const);
}

const first = version({ d: 'v0', n: 0, sn: 1 });
const second = version({ d: 'v1', p: 'v0', n: 1, sn: 2 });
const third = version({ d: 'v2', p: 'v1', n: 2, sn: 3 });

/** SAIDs of the chain; the same for every order of `records`. */
function chainOf(...records: readonly SealedCharter[]): readonly string[] {
  const saids = charterChain(MESH, records).map((charter) => charter.said);
  assert.deepEqual(
    charterChain(MESH, records.toReversed()).map((charter) => charter.said),
    saids,
  );
  return saids;
}

describe('charter chain', () => {
  it('is empty without the first version', () => {
    assert.deepEqual(chainOf(), []);
    assert.deepEqual(chainOf(second, third), []);
  });

  it('follows the versions, whatever the order of arrival', () => {
    assert.deepEqual(chainOf(third, first, second), [said('v0'), said('v1'), said('v2')]);
  });

  it('takes no version whose policy contradicts itself: two members must not read it in two ways', () => {
    const rule = {
      between: ['*', '*'],
      peer: true,
      required: ['ml-kem-1024', 'x25519'],
      offered: [],
      refused: [],
      start: 'eager',
      prefixes: [],
      obfuscation: [],
      relay: 'offered',
    } as const satisfies EdgeRule;
    const withPolicy = (d: string, ...pol: readonly EdgeRule[]) => {
      const { record, sealedIn } = version({ d, p: 'v0', n: 1, sn: 2 });
      const x = { pol, top: 'hub:governor' } as const;
      return { record: { ...record, x, cr: ['pol', 'top'] }, sealedIn } as typeof first;
    };
    assert.deepEqual(chainOf(first, withPolicy('a', rule)), [said('v0'), said('a')]);
    const refused = { ...rule, refused: ['x25519'] } as const satisfies EdgeRule;
    assert.deepEqual(chainOf(first, withPolicy('b', refused)), [said('v0')]);
    assert.deepEqual(chainOf(first, withPolicy('c', rule, rule)), [said('v0')]);
    const closed = { ...rule, peer: false } as const satisfies EdgeRule;
    assert.deepEqual(chainOf(first, withPolicy('d', closed)), [said('v0')]);
    const [, last] = charterChain(MESH, [first, withPolicy('a', rule)]);
    assert.deepEqual(last?.policy, {
      topology: 'hub:governor',
      rules: [rule],
      minimumLevel: 'A',
      brokers: [],
    });
  });

  it('tells what the version in force says', () => {
    const mem = [
      { i: aid('gov'), n: 'governor', role: 'server', region: 'eu' },
      { i: aid('b'), n: 'beta', role: 'relay', region: '' },
    ] as const;
    const next = version({
      d: 'v1',
      p: 'v0',
      n: 1,
      sn: 2,
      fields: { mem, edge: { min: 'AB' }, ep: { len: 120, base: 60 }, name: 'renamed' },
    });
    assert.deepEqual(charterChain(MESH, [first, next]).at(-1), {
      mesh: MESH,
      said: said('v1'),
      version: 1,
      name: 'renamed',
      governors: [aid('gov')],
      members: new Map([
        [aid('gov'), { aid: aid('gov'), name: 'governor', role: 'server', region: 'eu' }],
        [aid('b'), { aid: aid('b'), name: 'beta', role: 'relay', region: '' }],
      ]),
      minimumLevel: 'AB',
      policy: { topology: 'full', rules: [], minimumLevel: 'AB', brokers: [] },
      epochs: { lengthSeconds: 120, baseSeconds: 60 },
      recordVersion: 1,
      extensions: {},
      critical: [],
      sealedBy: aid('gov'),
      sealedIn: { sn: 2, said: said('ev2') },
    });
  });

  it('moves on to records of version 2, and never back', () => {
    const moved = version({ d: 'v2', p: 'v1', n: 2, sn: 3, x: { rv: 2 } });
    const later = version({ d: 'v3', p: 'v2', n: 3, sn: 4, x: { rv: 2, top: 'full' } });
    const saids = [said('v0'), said('v1'), said('v2'), said('v3')];
    assert.deepEqual(chainOf(first, second, moved, later), saids);
    const charters = charterChain(MESH, [first, second, moved, later]);
    assert.deepEqual(
      charters.map(({ recordVersion }) => recordVersion),
      [1, 1, 2, 2],
    );
    assert.deepEqual(charters.at(-1)?.extensions, { rv: 2, top: 'full' });
    assert.deepEqual(charters.at(-1)?.critical, ['rv', 'top']);
    // Sealed before any other on top of the last: it does not count all the same.
    for (const x of [undefined, { rv: 1 as const }]) {
      const back = version({ d: 'back', p: 'v2', n: 3, sn: 3, ...(x === undefined ? {} : { x }) });
      assert.deepEqual(chainOf(first, second, moved, back), saids.slice(0, 3));
      assert.deepEqual(chainOf(first, second, moved, back, later), saids);
      const last = charters[2];
      assert.equal(last && setBackOf(last, [first, second, moved, back])?.d, said('back'));
      assert.equal(last && setBackOf(last, [first, second, moved, later]), undefined);
    }
  });

  it('lets a successor change no extension by its acceptance', () => {
    const offered = version({
      d: 'v2',
      p: 'v1',
      n: 2,
      sn: 3,
      fields: { gov: [aid('gov'), aid('b')], mem: members('gov', 'b') },
      x: { rv: 2, top: 'hub:gov' },
    });
    const accepted = (x: CharterExtensions) =>
      version({
        d: 'v3',
        p: 'v2',
        n: 3,
        sn: 9,
        by: 'b',
        fields: { gov: [aid('b')], mem: members('gov', 'b') },
        x,
      });
    const before = [said('v0'), said('v1'), said('v2')];
    const base = [first, second, offered];
    assert.deepEqual(chainOf(...base, accepted({ rv: 2, top: 'hub:gov' })), [
      ...before,
      said('v3'),
    ]);
    assert.deepEqual(chainOf(...base, accepted({ rv: 2 })), before);
    assert.deepEqual(chainOf(...base, accepted({ rv: 2, top: 'full' })), before);
  });

  it('stops at a gap', () => {
    assert.deepEqual(chainOf(first, third), [said('v0')]);
    const leap = version({ d: 'v5', p: 'v0', n: 5, sn: 2 });
    assert.deepEqual(chainOf(first, leap), [said('v0')]);
  });

  it('follows the fork that was sealed first, and nothing on the other', () => {
    const restored = version({ d: 'a1', p: 'v0', n: 1, sn: 7 });
    const onRestored = version({ d: 'a2', p: 'a1', n: 2, sn: 8 });
    assert.deepEqual(chainOf(first, restored, second, onRestored), [said('v0'), said('v1')]);
    assert.deepEqual(chainOf(first, restored, second, onRestored, third), [
      said('v0'),
      said('v1'),
      said('v2'),
    ]);
  });

  it('takes the lower SAID of two that one event seals', () => {
    const twin = version({ d: 'a1', p: 'v0', n: 1, sn: 2 });
    assert.deepEqual(chainOf(first, second, twin), [said('v0'), said('a1')]);
  });

  it('takes no version from one who does not govern the version before', () => {
    const stranger = version({ d: 'a1', p: 'v0', n: 1, sn: 0, by: 'eve' });
    assert.deepEqual(chainOf(first, stranger), [said('v0')]);
    const self = version({
      d: 'a1',
      p: 'v0',
      n: 1,
      sn: 0,
      by: 'eve',
      fields: { gov: [aid('eve')] },
    });
    assert.deepEqual(chainOf(first, self, second), [said('v0'), said('v1')]);
    const foreign = version({ d: 'v0', n: 0, sn: 1, by: 'eve' });
    assert.deepEqual(chainOf(foreign), []);
  });

  const both = { gov: [aid('gov'), aid('b')], mem: members('gov', 'b', 'c') };
  const before = version({ d: 'v1', p: 'v0', n: 1, sn: 2, fields: { mem: both.mem } });
  const offer = version({ d: 'v2', p: 'v1', n: 2, sn: 3, fields: both });
  const acceptance = { d: 'v3', p: 'v2', n: 3, sn: 9, by: 'b' } as const;

  it('lets governing be handed over: offered by the governor, accepted by the successor', () => {
    const accepted = version({ ...acceptance, fields: { gov: [aid('b')], mem: both.mem } });
    const next = version({ d: 'v4', p: 'v3', n: 4, sn: 10, by: 'b', fields: { gov: [aid('b')] } });
    const late = version({ d: 'x4', p: 'v3', n: 4, sn: 4 });
    const whole = ['v0', 'v1', 'v2', 'v3', 'v4'].map(said);
    assert.deepEqual(chainOf(first, before, offer, accepted, next), whole);
    assert.deepEqual(chainOf(first, before, offer, accepted, late), whole.slice(0, 4), 'too late');
    // A member that a revocation has put out meanwhile may be missing.
    const fewer = version({ ...acceptance, fields: { gov: [aid('b')], mem: members('gov', 'b') } });
    assert.equal(chainOf(first, before, offer, fewer).length, 4);
  });

  it('lets an offer be taken back, and the governor govern until it is accepted', () => {
    const back = version({ d: 'v3', p: 'v2', n: 3, sn: 4, fields: { mem: both.mem } });
    assert.deepEqual(chainOf(first, before, offer, back), ['v0', 'v1', 'v2', 'v3'].map(said));
  });

  it('makes nobody governor who has not signed, and takes from a successor nothing but its acceptance', () => {
    const unasked = version({ d: 'v2', p: 'v1', n: 2, sn: 3, fields: { gov: [aid('b')] } });
    assert.deepEqual(chainOf(first, before, unasked), ['v0', 'v1'].map(said));
    for (const fields of [
      { gov: [aid('b')], mem: members('gov', 'b', 'c', 'eve') },
      { gov: [aid('b')], mem: members('gov', 'b', 'c').map((it) => ({ ...it, n: `${it.n}x` })) },
      { gov: [aid('b')], mem: both.mem, name: 'renamed' },
      { gov: [aid('b')], mem: both.mem, ep: { len: 120, base: 0 } },
      { gov: [aid('b')], mem: both.mem, edge: { min: 'AB' } },
      { gov: [aid('b'), aid('gov')], mem: both.mem },
      { gov: [aid('gov'), aid('b')], mem: both.mem },
    ] as const) {
      const more = version({ ...acceptance, fields });
      assert.deepEqual(chainOf(first, before, offer, more), ['v0', 'v1', 'v2'].map(said));
    }
    const third = version({ ...acceptance, by: 'c', fields: { gov: [aid('c')], mem: both.mem } });
    assert.deepEqual(chainOf(first, before, offer, third), ['v0', 'v1', 'v2'].map(said));
  });

  it('takes nothing of another mesh', () => {
    const other = version({ d: 'v1', p: 'v0', n: 1, sn: 2, fields: { m: said('other') } });
    assert.deepEqual(chainOf(first, other), [said('v0')]);
    assert.deepEqual(charterChain(said('other'), [first, second]), []);
  });
});

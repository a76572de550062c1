import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  type LeafHeader,
  type LeafValues,
  openedValues,
  parseLeaf,
  sealLeaf,
  wrongOpenings,
} from '#agent/evidence/format/leaf';
import type { Aid, Said } from '#kel/identifiers';

const aid = 'EAAA' as Aid;
const key = new Uint8Array(32).fill(5);
const header = {
  type: 'psk-agreed',
  time: '2026-03-01T00:00:00.000000+00:00',
  aid,
  sequence: 4,
} as const;
const values: LeafValues['psk-agreed'] = {
  peer: 'EBBB' as Aid,
  th: new Uint8Array(32).fill(1),
  epoch: 7,
};

const code = (expected: string) => (error: unknown) =>
  (error as { code?: string }).code === expected;

describe('leaf', () => {
  it('shows the header and hides the fields', () => {
    const { leaf } = sealLeaf(header, values, key);
    const parsed = parseLeaf(leaf);
    const { commitments, ...shown } = parsed;
    assert.deepEqual(shown, header);
    assert.equal(commitments.length, 3);
    assert.equal(Buffer.from(leaf).includes('EBBB'), false);
  });

  it('opens field by field', () => {
    const { leaf, openings } = sealLeaf(header, values, key);
    const parsed = parseLeaf(leaf);
    assert.deepEqual(wrongOpenings(parsed, openings), []);
    assert.deepEqual(openedValues('psk-agreed', openings), values);
    const one = new Map([...openings].filter(([name]) => name === 'epoch'));
    assert.deepEqual(wrongOpenings(parsed, one), []);
    assert.equal(openedValues('psk-agreed', one), undefined);
  });

  it('commits to nothing that can be guessed: equal values differ under another leaf key', () => {
    const other = sealLeaf(header, values, new Uint8Array(32).fill(6));
    const commitments = parseLeaf(sealLeaf(header, values, key).leaf).commitments;
    for (const [i, commitment] of parseLeaf(other.leaf).commitments.entries()) {
      assert.notDeepEqual(commitment, commitments[i]);
    }
  });

  it('names the openings that do not fit', () => {
    const { leaf, openings } = sealLeaf(header, values, key);
    const parsed = parseLeaf(leaf);
    const epoch = openings.get('epoch');
    const peer = openings.get('peer');
    assert.ok(epoch !== undefined && peer !== undefined);
    assert.deepEqual(wrongOpenings(parsed, new Map([['peer', epoch]])), ['peer']);
    assert.deepEqual(wrongOpenings(parsed, new Map([['epoch', { ...epoch, salt: peer.salt }]])), [
      'epoch',
    ]);
    assert.deepEqual(wrongOpenings(parsed, new Map([['other', epoch]])), ['other']);
    assert.deepEqual(
      wrongOpenings({ ...parsed, type: 'membership' }, new Map([['version', epoch]])),
      ['version'],
    );
  });

  it('refuses values that are missing or of another kind', () => {
    const wrong = [
      { ...values, epoch: '7' },
      { ...values, epoch: -1 },
      { peer: values.peer, epoch: 7 },
    ];
    for (const value of wrong) {
      const seal = () => sealLeaf(header, value as unknown as LeafValues['psk-agreed'], key);
      assert.throws(seal, code('PROVENANCE_BAD_VALUE'));
    }
  });

  it('refuses other versions, types, times and numbers of fields', () => {
    const said = 'ECCC' as Said;
    const event: LeafHeader & { type: 'kel-event' } = { ...header, type: 'kel-event' };
    const { leaf } = sealLeaf(event, { sn: 1, said }, key);
    const text = Buffer.from(leaf).toString('latin1');
    for (const changed of [
      text.replace('kel-event', 'kel-evenx'),
      text.replace('2026-03-01', '2026-02-30'),
      text.replace('av\x01', 'av\x02'),
      `${text}x`,
      text.slice(0, -1),
    ]) {
      assert.notEqual(changed, text);
      assert.throws(() => parseLeaf(Buffer.from(changed, 'latin1')), code('PROVENANCE_BAD_LEAF'));
    }
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { LeafType, LeafValues } from '#agent/evidence/format/leaf';
import { recordsNamedBy } from '#agent/evidence/format/named-records';
import type { Aid, Said } from '#kel/identifiers';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import { Organisation, sign } from '../../../../support/kit/key-log.ts';
import { dt, salt, samples } from '../../../../support/kit/record-samples.ts';

const said = (letter: string) => `E${letter.repeat(43)}` as Said;

describe('records that a leaf names', () => {
  const [one, two] = ['one', 'two'].map((name) => {
    const org = new Organisation(name);
    org.incept();
    return org;
  }) as [Organisation, Organisation];

  it('are those of every field that holds the SAID of one', () => {
    const named: { readonly [T in LeafType]: (values: LeafValues[T]) => readonly Said[] } = {
      'tunnel-up': () => [],
      'tunnel-down': () => [],
      'kel-event': () => [],
      'psk-agreed': () => [],
      'tunnel-key': ({ record }) => [record],
      membership: () => [],
      duplicity: () => [],
      resolution: () => [],
      rotation: ({ own, theirs }) => [own, theirs],
      gap: () => [],
      erasure: () => [],
    };
    const key = { record: said('A'), digest: new Uint8Array(32) };
    assert.deepEqual(recordsNamedBy('tunnel-key', key), named['tunnel-key'](key));
    const rotation = {
      peer: one.aid,
      kind: 'static',
      step: 'flipped',
      own: said('B'),
      theirs: said('C'),
      generation: 1,
      rx: 0,
      tx: 0,
      rxDropped: 0,
      txDropped: 0,
    };
    assert.deepEqual(recordsNamedBy('rotation', rotation), named.rotation(rotation));
    const charter = { charter: said('D'), version: 1, change: 'x' };
    assert.deepEqual(recordsNamedBy('membership', charter), named.membership(charter));
  });

  it('are the tunnel keys of both ends, in a proof', () => {
    const { bytes } = buildRecord('tup', { aid: samples.tup.a.i, salt, dt, fields: samples.tup });
    const group = (org: Organisation, aid: Aid) => ({
      aid,
      ...org.state.establishment,
      signatures: sign(bytes, org.keys(0)),
    });
    const { a, b } = samples.tup;
    const proof = encodeSignedRecord(bytes, [group(one, a.i), group(two, b.i)]);
    const up = { proof, peer: b.i, epoch: 1, level: 'A', handshake: dt };
    assert.deepEqual(recordsNamedBy('tunnel-up', up), [a.t, b.t]);
    assert.deepEqual(recordsNamedBy('tunnel-up', { ...up, proof: new Uint8Array(9) }), []);
  });
});

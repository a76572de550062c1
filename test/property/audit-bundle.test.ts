import assert from 'node:assert/strict';
import fc from 'fast-check';
import { before, describe, it } from 'mocha';
import {
  decodeBundle,
  decodeDossier,
  decodeHeader,
  decodeSignature,
  encodeBundle,
  encodeDossier,
  encodeHeader,
  encodeSignature,
  sectionNames,
} from '#agent/evidence/format/bundle';
import { ProvenanceError } from '#agent/evidence/format/errors';
import { openedValues, parseLeaf, sealLeaf, wrongOpenings } from '#agent/evidence/format/leaf';
import {
  decodeCheckpoints,
  decodeKels,
  decodeLeaves,
  decodeProofs,
  decodeRecords,
  encodeSections,
  type Sections,
} from '#agent/evidence/format/sections';
import { encodeMatter } from '#kel/cesr/matter';
import type { Aid } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import { type Member, resigned, verify, World } from '../support/kit/evidence-federation.ts';

/** Objects as literals make them. */
function plain<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const size = fc.integer({ min: 0, max: 600 });

const { value: anyCbor } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.integer({ min: -5, max: 2 ** 40 }),
    fc.string(),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('value'), { maxLength: 4 }),
  ),
}));

/** Self-addressing, of any digest. */
const aid = bytes32.map((digest) => encodeMatter('E', digest) as Aid);

const sections: fc.Arbitrary<Sections> = plain({
  kels: fc
    .uniqueArray(fc.tuple(aid, fc.uint8Array()), {
      selector: ([aid]) => aid,
      maxLength: 3,
    })
    .map((list) =>
      list.toSorted(([x], [y]) => (x < y ? -1 : 1)).map(([aid, stream]) => ({ aid, stream })),
    ),
  records: fc.array(fc.uint8Array(), { maxLength: 3 }),
  checkpoints: fc.array(fc.string(), { maxLength: 3 }),
  leaves: fc
    .uniqueArray(size, { maxLength: 300, size: 'max' })
    .map((list) =>
      list
        .toSorted((x, y) => x - y)
        .map((index) => ({ index, leaf: new Uint8Array(2), openings: new Map() })),
    ),
  proofs: plain({
    inclusion: fc.array(plain({ index: size, size, hashes: fc.array(bytes32, { maxLength: 2 }) }), {
      maxLength: 4,
    }),
    consistency: fc.array(
      plain({ older: size, newer: size, hashes: fc.array(bytes32, { maxLength: 2 }) }),
      { maxLength: 4 },
    ),
  }),
});

/** Either refuses with its own error, or encodes again to the same bytes. */
function decodesToItself<T>(
  input: Uint8Array,
  decode: (bytes: Uint8Array) => T,
  encode: (value: T) => Uint8Array,
): void {
  let value: T;
  try {
    value = decode(input);
  } catch (error) {
    assert.ok(error instanceof ProvenanceError, String(error));
    return;
  }
  assert.deepEqual(Buffer.from(encode(value)), Buffer.from(input));
}

describe('evidence formats', () => {
  let member: Member;
  let bundle: Uint8Array;

  before(async () => {
    const world = new World('hostile');
    member = await world.add('alpha');
    const beta = await world.add('beta');
    await world.adopt([member, beta]);
    await world.tunnel(member, beta);
    await member.anchor();
    bundle = await member.export();
  });

  it('sections decode to what was encoded', () => {
    fc.assert(
      fc.property(sections, (value) => {
        const encoded = encodeSections(value);
        assert.deepEqual(decodeKels(encoded.kels), value.kels);
        assert.deepEqual(decodeRecords(encoded.records), value.records);
        assert.deepEqual(decodeCheckpoints(encoded.checkpoints), value.checkpoints);
        assert.deepEqual(decodeLeaves(encoded.leaves), value.leaves);
        assert.deepEqual(decodeProofs(encoded.proofs), value.proofs);
      }),
    );
  });

  it('whatever decodes encodes to the same bytes', () => {
    const [dossier] = decodeBundle(bundle);
    const { header, signature } = decodeDossier(dossier as Uint8Array);
    const whole = decodeDossier(dossier as Uint8Array);
    const blank: Sections = {
      ...{ kels: [], records: [], checkpoints: [], leaves: [] },
      proofs: { inclusion: [], consistency: [] },
    };
    fc.assert(
      fc.property(fc.nat(), fc.nat(255), fc.boolean(), (at, value, isCut) => {
        const damaged = (input: Uint8Array) =>
          isCut ? input.slice(0, at % input.length) : input.with(at % input.length, value);
        decodesToItself(damaged(bundle), decodeBundle, encodeBundle);
        decodesToItself(damaged(dossier as Uint8Array), decodeDossier, encodeDossier);
        decodesToItself(damaged(header), decodeHeader, encodeHeader);
        decodesToItself(damaged(signature), decodeSignature, encodeSignature);
        const { kels, records, checkpoints, leaves, proofs } = whole.sections;
        decodesToItself(
          damaged(kels),
          decodeKels,
          (kept) => encodeSections({ ...blank, kels: kept }).kels,
        );
        decodesToItself(
          damaged(records),
          decodeRecords,
          (kept) => encodeSections({ ...blank, records: kept }).records,
        );
        decodesToItself(
          damaged(checkpoints),
          decodeCheckpoints,
          (kept) => encodeSections({ ...blank, checkpoints: kept }).checkpoints,
        );
        decodesToItself(
          damaged(leaves),
          decodeLeaves,
          (kept) => encodeSections({ ...blank, leaves: kept }).leaves,
        );
        decodesToItself(
          damaged(proofs),
          decodeProofs,
          (kept) => encodeSections({ ...blank, proofs: kept }).proofs,
        );
      }),
      { numRuns: 200 },
    );
  });

  it('a leaf parses to what was sealed, opens with its openings, and with no other', () => {
    const fields = plain({
      peer: fc.string({ unit: 'grapheme' }),
      th: fc.uint8Array({ maxLength: 40 }),
      epoch: fc.maxSafeNat(),
    });
    fc.assert(
      fc.property(fields, bytes32, fc.maxSafeNat(), fc.nat(), (values, key, sequence, at) => {
        const header = {
          type: 'psk-agreed',
          time: '2026-03-01T00:00:00.000000+00:00',
          aid: 'E' as Aid,
          sequence,
        } as const;
        const { leaf, openings } = sealLeaf(header, { ...values, peer: values.peer as Aid }, key);
        const parsed = parseLeaf(leaf);
        assert.deepEqual({ ...header, commitments: parsed.commitments }, parsed);
        assert.deepEqual(wrongOpenings(parsed, openings), []);
        assert.deepEqual(openedValues('psk-agreed', openings), values);
        const [name, opening] = [...openings][at % 3] as [
          string,
          { salt: Uint8Array; value: Uint8Array },
        ];
        const salt = opening.salt.with(at % 32, (opening.salt[at % 32] ?? 0) ^ 1);
        assert.deepEqual(wrongOpenings(parsed, new Map([[name, { ...opening, salt }]])), [name]);
      }),
    );
  });

  it('a leaf that is not one is refused', () => {
    fc.assert(
      fc.property(anyCbor, (value) => {
        assert.throws(() => parseLeaf(encodeCbor(value)), { code: 'PROVENANCE_BAD_LEAF' });
      }),
    );
  });

  it('a report comes out whatever an exporter signs', async () => {
    await fc.assert(
      fc.asyncProperty(sections, fc.constantFrom(...sectionNames), async (hostile, name) => {
        const report = await verify(
          resigned(bundle, member, (honest) => ({ ...honest, [name]: hostile[name] })),
        );
        assert.equal(report.schema, 'kelmesh.audit/1');
        assert.equal(report.verdict === 'clean', report.problems.length === 0);
        for (const { code, where, message } of report.problems) {
          assert.ok(code.startsWith('BUNDLE_') && where.length > 0 && message.length > 0);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('a report comes out whatever bytes come in', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array(), anyCbor.map(encodeCbor)), async (input) => {
        assert.equal((await verify(input)).verdict, 'failed');
      }),
    );
  });
});

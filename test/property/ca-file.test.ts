import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { type CaFile, encodeCaFile, type Generation, parseCaFile } from '#agent/inner/ca/ca-file';
import { CaError } from '#agent/inner/ca/errors';
import { concatBytes } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';

/** Plain objects, as the parser makes them. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { noNullPrototype: true });

const time = fc.integer({ min: 0, max: 8_640_000_000_000_000 });
const number = fc.integer({ min: 1, max: 0xffffffff });
const algorithm = fc.constantFrom('p384', 'p256', 'ed25519');
const pem = fc.string({ unit: 'binary-ascii', maxLength: 400 });

const generation: fc.Arbitrary<Generation> = record({
  number,
  algorithm,
  preparedAt: time,
  activatedAt: time,
  issuedUntil: time,
  certificate: pem,
  cross: pem,
});

const retired = record({
  number,
  fingerprint: fc
    .uint8Array({ minLength: 32, maxLength: 32 })
    .map((bytes) => Buffer.from(bytes).toString('hex')),
  preparedAt: time,
  activatedAt: time,
  retiredAt: time,
  why: fc.constantFrom('due', 'now', 'undone'),
});

const common = {
  cost: record({
    memory: fc.integer({ min: 128, max: 1000 }),
    passes: fc.integer({ min: 1, max: 64 }),
    lanes: fc.integer({ min: 1, max: 16 }),
  }),
  salt: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  sealed: fc.uint8Array({ minLength: 60, maxLength: 300 }),
};

const first: fc.Arbitrary<CaFile> = record({ ...common, algorithm, certificate: pem }).map(
  ({ algorithm: kind, certificate, ...rest }) => ({
    ...rest,
    version: 1,
    issuing: 0,
    retired: [],
    generations: [
      {
        number: 1,
        algorithm: kind,
        preparedAt: 0,
        activatedAt: 0,
        issuedUntil: undefined,
        certificate,
        cross: '',
      },
    ],
  }),
);

const second: fc.Arbitrary<CaFile> = record({
  ...common,
  all: fc.uniqueArray(fc.oneof(generation, retired), {
    selector: (one) => one.number,
    maxLength: 20,
  }),
  one: generation,
  issuing: fc.nat(1),
}).map(({ all, one, issuing, ...rest }) => {
  const others = all.filter((each) => each.number !== one.number);
  const isLive = (each: Generation | object): each is Generation => 'certificate' in each;
  const generations = [one, ...others.filter(isLive)].slice(0, 2);
  return {
    ...rest,
    version: 2,
    issuing: Math.min(issuing, generations.length - 1),
    generations,
    retired: others.filter((each) => !isLive(each)) as CaFile['retired'],
  };
});

describe('CA file', () => {
  for (const [version, arbitrary] of [first, second].entries()) {
    it(`of version ${version + 1} is read back as it was written, in one form`, () => {
      fc.assert(
        fc.property(arbitrary, (file) => {
          const bytes = encodeCaFile(file);
          const read = parseCaFile(bytes);
          assert.deepEqual(encodeCaFile(read), bytes);
          assert.deepEqual(read, { ...file, salt: read.salt, sealed: read.sealed });
          assert.deepEqual(Buffer.from(read.sealed), Buffer.from(file.sealed));
        }),
        { numRuns: 200 },
      );
    });

    it(`of version ${version + 1} with a true checksum is read in one form or refused, whatever byte is changed or cut`, () => {
      fc.assert(
        fc.property(arbitrary, fc.nat(), fc.nat(255), fc.boolean(), (file, place, byte, isCut) => {
          const body = encodeCaFile(file).slice(0, -32);
          const at = place % body.length;
          body[at] = byte;
          const changed = isCut ? body.subarray(0, at) : body;
          expectOneForm(concatBytes(changed, sha256(changed)));
        }),
        { numRuns: 400 },
      );
    });
  }

  it('throws nothing but its own error on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.throws(() => parseCaFile(bytes), CaError);
      }),
    );
  });
});

function expectOneForm(bytes: Uint8Array): void {
  let read: CaFile;
  try {
    read = parseCaFile(bytes);
  } catch (error) {
    assert.ok(error instanceof CaError, String(error));
    return;
  }
  assert.deepEqual(Buffer.from(encodeCaFile(read)), Buffer.from(bytes));
}

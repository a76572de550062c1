import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { costProblem } from '#src/crypto/passphrase';
import type { KeyId } from '#src/keystore/key-store';
import {
  encodeHeader,
  encodeKeys,
  encodeSealedFile,
  parseKeys,
  parseSealedFile,
} from '#src/keystore/sealed-file-format';
import { type SoftwareKeyKind, SoftwareKeys } from '#src/keystore/software-keys';
import { Secret } from '#src/secret';

const corrupt = { code: 'KEYSTORE_CORRUPT' };

const key = fc.record({
  id: fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map((bytes) => Buffer.from(bytes).toString('hex') as KeyId),
  kind: fc.constantFrom<SoftwareKeyKind>('ed25519', 'p256', 'root'),
  // Below the order of P-256 and not zero, so that it fits every kind.
  secret: fc
    .uint8Array({ minLength: 31, maxLength: 31 })
    .map((bytes) => new Secret(Uint8Array.of(1, ...bytes))),
});
const keys = fc.uniqueArray(key, { maxLength: 5, selector: ({ id }) => id });
const cost = fc.record(
  {
    memory: fc.integer({ min: 128, max: 2 ** 21 }),
    passes: fc.integer({ min: 1, max: 64 }),
    lanes: fc.integer({ min: 1, max: 16 }),
  },
  { noNullPrototype: true },
);

describe('content of a sealed key file', () => {
  it('has one encoding, whatever the order of the keys', () => {
    fc.assert(
      fc.property(keys, (some) => {
        const encoded = encodeKeys(new SoftwareKeys(some));
        assert.ok(encodeKeys(new SoftwareKeys([...some].reverse())).equals(encoded));
        assert.ok(encodeKeys(parseKeys(encoded.expose())).equals(encoded));
      }),
    );
  });

  it('whatever parses encodes to the same bytes', () => {
    fc.assert(
      fc.property(keys, fc.nat(), fc.nat({ max: 255 }), (some, at, value) => {
        const bytes = new Uint8Array(encodeKeys(new SoftwareKeys(some)).expose());
        bytes[at % bytes.length] = value;
        try {
          assert.deepEqual(Buffer.from(encodeKeys(parseKeys(bytes)).expose()), Buffer.from(bytes));
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'KEYSTORE_CORRUPT');
        }
      }),
      { numRuns: 500 },
    );
  });

  it('refuses equal ids, unknown kinds, scalars out of range, and lengths that do not fit', () => {
    const entry = (id: number, kind: number, secret: number) => [
      ...new Uint8Array(16).fill(id),
      kind,
      ...new Uint8Array(32).fill(secret),
    ];
    const content = (count: number, ...entries: number[][]) =>
      Uint8Array.from([0, 0, 0, count, ...entries.flat()]);
    assert.equal(parseKeys(content(2, entry(1, 1, 9), entry(2, 3, 9))).all().length, 2);
    for (const bad of [
      content(2, entry(1, 1, 9), entry(1, 3, 9)),
      content(2, entry(2, 1, 9), entry(1, 3, 9)),
      content(1, entry(1, 0, 9)),
      content(1, entry(1, 4, 9)),
      content(1, entry(1, 2, 0)),
      content(1, entry(1, 2, 255)),
      content(2, entry(1, 1, 9)),
      content(0, entry(1, 1, 9)),
      new Uint8Array(0),
      new Uint8Array(3),
      Uint8Array.of(255, 255, 255, 255),
    ]) {
      assert.throws(() => parseKeys(bad), corrupt);
    }
  });
});

describe('a sealed key file', () => {
  const salt = new Uint8Array(16).fill(5);
  const sealed = new Uint8Array(60).fill(6);

  it('parses to what it was made of', () => {
    fc.assert(
      fc.property(cost, (some) => {
        assert.equal(costProblem(some), undefined);
        const header = encodeHeader(some, salt);
        const file = parseSealedFile(encodeSealedFile(header, sealed));
        assert.deepEqual(file, { cost: some, salt, header, sealed });
      }),
    );
  });

  it('never asks for more work than the bounds, also where the checksum fits', () => {
    for (const bad of [
      { memory: 2 ** 21 + 1, passes: 1, lanes: 1 },
      { memory: 0xffffffff, passes: 1, lanes: 1 },
      { memory: 64, passes: 65, lanes: 1 },
      { memory: 64, passes: 0, lanes: 1 },
      { memory: 64, passes: 1, lanes: 9 },
      { memory: 64, passes: 1, lanes: 0 },
    ]) {
      assert.throws(
        () => parseSealedFile(encodeSealedFile(encodeHeader(bad, salt), sealed)),
        corrupt,
      );
    }
  });

  it('arbitrary bytes are corrupt, never another error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.throws(() => parseSealedFile(bytes), corrupt);
      }),
    );
  });
});

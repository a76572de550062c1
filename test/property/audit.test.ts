import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { formatCheckpoint, parseCheckpoint } from '#src/audit/checkpoint';
import { AuditError } from '#src/audit/errors';
import { AuditLog } from '#src/audit/log';
import {
  emptyRoot,
  leafHash,
  MerkleTree,
  verifyConsistency,
  verifyInclusion,
} from '#src/audit/merkle';
import {
  formatNote,
  formatVerifierKey,
  parseNote,
  parseVerifierKey,
  verifierKey,
} from '#src/audit/note';
import { decodeTail, encodeFrame } from '#src/audit/tail';
import { decodeEntries, encodeEntries } from '#src/audit/tile';
import { concatBytes } from '#src/bytes';
import { MemoryLogFiles } from '../support/kit/audit-log.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const keyName = fc.stringMatching(/^[A-Za-z0-9./_-]{1,40}$/);

/** Text near the format: random pieces of valid notes, so that the parser is entered deeply. */
const noteLike = fc
  .array(
    fc.oneof(
      fc.constantFrom('\n', '\n\n', '\u2014 ', ' ', 'AAAAAAA=', 'a', '+', '12'),
      fc.string(),
    ),
    {
      maxLength: 20,
    },
  )
  .map((parts) => parts.join(''));

/** Either refuses with its own error or formats again to the same text. */
function parsesToItself<T>(
  text: string,
  parse: (text: string) => T,
  format: (value: T) => string,
): void {
  let value: T;
  try {
    value = parse(text);
  } catch (error) {
    assert.ok(error instanceof AuditError, String(error));
    return;
  }
  assert.equal(format(value), text);
}

describe('audit formats', () => {
  it('parse to what formats to the same text', () => {
    fc.assert(
      fc.property(noteLike, (text) => {
        parsesToItself(text, parseNote, formatNote);
        parsesToItself(`text\n\n\u2014 a ${text}\n`, parseNote, formatNote);
        parsesToItself(text, parseCheckpoint, formatCheckpoint);
        parsesToItself(`a\n${text}`, parseCheckpoint, formatCheckpoint);
        parsesToItself(text, parseVerifierKey, formatVerifierKey);
      }),
      { numRuns: 1000 },
    );
  });

  it('format to what parses to the same value', () => {
    fc.assert(
      fc.property(keyName, fc.maxSafeNat(), bytes(32), (origin, size, root) => {
        const checkpoint = { origin, size, root };
        assert.deepEqual(parseCheckpoint(formatCheckpoint(checkpoint)), checkpoint);
        const key = verifierKey(origin, root);
        assert.deepEqual(parseVerifierKey(formatVerifierKey(key)), key);
      }),
    );
  });

  it('decode entry bundles to what encodes to the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (input) => {
        const entries = decodeEntries(input);
        if (entries !== undefined) assert.deepEqual(encodeEntries(entries), input);
      }),
    );
  });
});

describe('tail file', () => {
  const batches = fc.array(
    fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 4 }),
    {
      minLength: 1,
      maxLength: 5,
    },
  );

  it('cut anywhere gives whole writes, and a changed byte before the last write is corruption', () => {
    fc.assert(
      fc.property(
        batches,
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (writes, cut, at, flip) => {
          let first = 1000;
          const frames = writes.map((entries) => {
            const frame = encodeFrame(first, entries);
            first += entries.length;
            return frame;
          });
          const all = concatBytes(...frames);
          const short = decodeTail(all.subarray(0, cut % (all.length + 1)));
          assert.equal(short.corruptAt, undefined);
          assert.deepEqual(short.entries, writes.flat().slice(0, short.entries.length));

          const lastStart = all.length - (frames.at(-1)?.length ?? 0);
          const damaged = Uint8Array.from(all);
          const position = at % all.length;
          damaged[position] = (damaged[position] ?? 0) ^ flip;
          const tail = decodeTail(damaged);
          assert.equal(tail.corruptAt !== undefined, position < lastStart);
          assert.ok(tail.length <= position);
        },
      ),
    );
  });
});

describe('Merkle tree in memory', () => {
  it('has the root of the log at every size', async () => {
    const log = await AuditLog.open('o', new MemoryLogFiles());
    const tree = new MerkleTree();
    assert.deepEqual(tree.root(0), emptyRoot());
    for (let size = 1; size <= 130; size++) {
      await log.append(Uint8Array.of(size));
      tree.append(leafHash(Uint8Array.of(size)));
    }
    for (let size = 0; size <= 130; size++) assert.deepEqual(tree.root(size), await log.root(size));
    assert.equal(tree.root(131), undefined);
    assert.equal(tree.root(-1), undefined);
  });
});

describe('log proofs', () => {
  it('give one size one root, whatever the size: no proof makes two roots of one size consistent', async () => {
    const log = await AuditLog.open('o', new MemoryLogFiles());
    await Promise.all([1, 2, 3].map((n) => log.append(Uint8Array.of(n))));
    const foreign = new Uint8Array(32);
    for (const size of [0, 1, 2, 3]) {
      const root = size === 0 ? emptyRoot() : await log.root(size);
      assert.equal(verifyConsistency(size, size, root, root, []), true);
      for (const [a, b] of [
        [root, foreign],
        [foreign, root],
      ] as const) {
        assert.equal(verifyConsistency(size, size, a, b, []), false, `size ${size}`);
        assert.equal(verifyConsistency(size, size, a, b, [foreign]), false, `size ${size}`);
      }
      assert.equal(verifyConsistency(0, size, foreign, root, []), false);
      assert.equal(verifyConsistency(0, size, emptyRoot(), root, [foreign]), false);
    }
    // Of the empty tree every tree is an extension: RFC 9162 2.1.4.2 asks for no proof.
    assert.equal(verifyConsistency(0, 3, emptyRoot(), await log.root(3), []), true);
  });

  it('hold for the entry, the size and the root they were made for, and no other', async () => {
    const log = await AuditLog.open('o', new MemoryLogFiles());
    const leaves = Array.from({ length: 300 }, (_, i) => Uint8Array.of(i >> 8, i));
    await Promise.all(leaves.map((leaf) => log.append(leaf)));
    const foreign = new Uint8Array(32);
    const sizes = fc.integer({ min: 1, max: 300 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), sizes, fc.nat(), async (size, pick, other, at) => {
        const index = pick % size;
        const leaf = leafHash(leaves[index] as Uint8Array);
        const root = await log.root(size);
        const proof = await log.inclusionProof(index, size);
        assert.equal(verifyInclusion(leaf, index, size, proof, root), true);
        assert.equal(verifyInclusion(leaf, at % size, size, proof, root), at % size === index);
        assert.equal(verifyInclusion(leaf, index, size, [...proof, leaf], root), false);
        if (proof.length > 0) {
          const damaged = proof.map((hash) => Uint8Array.from(hash));
          const hash = damaged[at % damaged.length] as Uint8Array;
          hash[at % 32] = (hash[at % 32] ?? 0) ^ 1;
          assert.equal(verifyInclusion(leaf, index, size, damaged, root), false);
          assert.equal(verifyInclusion(leaf, index, size, proof.slice(1), root), false);
        }

        const [older, newer] = size < other ? [size, other] : [other, size];
        const [olderRoot, newerRoot] = [await log.root(older), await log.root(newer)];
        const path = await log.consistencyProof(older, newer);
        assert.equal(verifyConsistency(older, newer, olderRoot, newerRoot, path), true);
        assert.equal(verifyConsistency(older, newer, olderRoot, newerRoot, [...path, leaf]), false);
        assert.equal(verifyConsistency(older, newer, foreign, newerRoot, path), false);
        assert.equal(verifyConsistency(older, newer, olderRoot, foreign, path), false);
      }),
      { numRuns: 150 },
    );
  });
});

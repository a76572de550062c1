import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { checkpointOfNote } from '#src/audit/checkpoint';
import { AuditLog } from '#src/audit/log';
import { NodeLogFiles } from '#src/audit/log-files';
import { leafHash, verifyConsistency, verifyInclusion } from '#src/audit/merkle';
import {
  ed25519NoteSigner,
  type NoteSigner,
  parseNote,
  verifierKey,
  verifyNote,
} from '#src/audit/note';
import { utf8 } from '#src/bytes';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';
import { MemoryLogFiles } from '../../../support/kit/audit-log.ts';

const origin = 'log.example/EAbc';
const seed = new Uint8Array(32).fill(7);
let suite: CryptoSuite;
let signer: NoteSigner;

before(async () => {
  suite = await loadCryptoSuite();
  signer = ed25519NoteSigner(suite.ed25519, origin, seed);
});

const entry = (i: number): Uint8Array => utf8(`entry ${i}`);

async function appendMany(log: AuditLog, count: number): Promise<readonly number[]> {
  const first = log.size;
  return Promise.all(Array.from({ length: count }, (_, i) => log.append(entry(first + i))));
}

const code = (expected: string) => (error: unknown) =>
  (error as { code?: string }).code === expected;

describe('audit log on disk', () => {
  it('keeps entries, proofs and the last checkpoint over a restart', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kelmesh-audit-'));
    try {
      let note: string;
      {
        await using log = await AuditLog.open(origin, new NodeLogFiles(join(dir, 'a', 'log')));
        assert.deepEqual(await appendMany(log, 300), [...Array(300).keys()]);
        note = await log.checkpoint([signer]);
      }
      await using log = await AuditLog.open(origin, new NodeLogFiles(join(dir, 'a', 'log')));
      assert.equal(log.size, 300);
      assert.equal(log.cutBytes, 0);
      assert.equal(log.lastCheckpoint, note);
      assert.equal(await log.append(entry(300)), 300);
      assert.deepEqual(Buffer.from(await log.leaf(299)), Buffer.from(entry(299)));
      assert.deepEqual(Buffer.from(await log.leaf(12)), Buffer.from(entry(12)));
      assert.equal((await readFile(join(dir, 'a/log/tile/0/000'))).length, 8192);
      const key = verifierKey(origin, suite.ed25519.publicKey(seed));
      assert.equal(verifyNote(parseNote(note), [key], suite.ed25519).length, 1);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

describe('audit log', () => {
  it('proves every entry and every pair of sizes', async () => {
    const log = await AuditLog.open(origin, new MemoryLogFiles());
    await appendMany(log, 70);
    for (let size = 1; size <= 70; size++) {
      const root = await log.root(size);
      for (let i = 0; i < size; i++) {
        const proof = await log.inclusionProof(i, size);
        assert.equal(verifyInclusion(leafHash(entry(i)), i, size, proof, root), true);
        assert.equal(verifyInclusion(leafHash(entry(i + 1)), i, size, proof, root), false);
      }
      const older = Math.floor(size / 2);
      const proof = await log.consistencyProof(older, size);
      assert.equal(verifyConsistency(older, size, await log.root(older), root, proof), true);
      assert.equal(
        verifyConsistency(older, size, root, await log.root(older), proof),
        size === older,
      );
    }
  });

  it('proves over tiles of two levels', async function () {
    this.timeout(20_000);
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    const size = 256 * 256 + 300;
    await appendMany(log, size);
    assert.equal(files.files.get('tile/1/000')?.length, 8192);
    const root = await log.root(size);
    for (const i of [0, 255, 256, 65_535, 65_536, size - 1]) {
      const proof = await log.inclusionProof(i, size);
      assert.equal(verifyInclusion(leafHash(entry(i)), i, size, proof, root), true);
    }
    for (const older of [1, 256, 300, 65_536, 65_700]) {
      const proof = await log.consistencyProof(older, size);
      assert.equal(verifyConsistency(older, size, await log.root(older), root, proof), true);
    }
    const reopened = await AuditLog.open(origin, new MemoryLogFiles(files.files));
    assert.deepEqual(Buffer.from(await reopened.root(size)), Buffer.from(root));
  });

  it('answers for a bundle whose tiles are being written', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    await appendMany(log, 255);
    const replace = files.replace.bind(files);
    const roots: Promise<Uint8Array>[] = [];
    files.replace = async (path, bytes) => {
      roots.push(log.root(log.size));
      await replace(path, bytes);
    };
    await log.append(entry(255));
    const expected = Buffer.from(await log.root(256));
    assert.equal(roots.length, 2);
    for (const root of roots) assert.deepEqual(Buffer.from(await root), expected);
  });

  it('shares one flush among appends made together', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    await appendMany(log, 100);
    assert.deepEqual(files.operations, ['append tail']);
  });

  it('refuses an entry above 65,535 bytes and changes nothing', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    await assert.rejects(log.append(new Uint8Array(65_536)), code('AUDIT_LEAF_TOO_LARGE'));
    assert.equal(await log.append(new Uint8Array(65_535)), 0);
    assert.equal(log.size, 1);
  });

  it('refuses indices and sizes beyond the log', async () => {
    const log = await AuditLog.open(origin, new MemoryLogFiles());
    await appendMany(log, 3);
    await assert.rejects(log.leaf(3), code('AUDIT_OUT_OF_RANGE'));
    await assert.rejects(log.leaf(-1), code('AUDIT_OUT_OF_RANGE'));
    await assert.rejects(log.inclusionProof(1, 4), code('AUDIT_OUT_OF_RANGE'));
    await assert.rejects(log.inclusionProof(2, 2), code('AUDIT_OUT_OF_RANGE'));
    await assert.rejects(log.consistencyProof(3, 2), code('AUDIT_OUT_OF_RANGE'));
    await assert.rejects(log.root(1.5), code('AUDIT_OUT_OF_RANGE'));
  });

  it('takes no entry after it is closed', async () => {
    const log = await AuditLog.open(origin, new MemoryLogFiles());
    await log[Symbol.asyncDispose]();
    await assert.rejects(log.append(entry(0)), code('AUDIT_CLOSED'));
    await assert.rejects(log.checkpoint([signer]), code('AUDIT_CLOSED'));
  });
});

describe('audit log that would roll back', () => {
  it('does not open with fewer entries than it signed', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    await appendMany(log, 5);
    await log.checkpoint([signer]);
    files.files.delete('tail');
    await assert.rejects(
      AuditLog.open(origin, new MemoryLogFiles(files.files)),
      code('AUDIT_ROLLBACK'),
    );
  });

  it('signs nothing after a peer shows a larger checkpoint, until it is opened again', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    await appendMany(log, 5);
    const held = { origin, size: 6, root: new Uint8Array(32) };
    await assert.rejects(log.observe(held), code('AUDIT_ROLLBACK'));
    await assert.rejects(log.checkpoint([signer]), code('AUDIT_ROLLBACK'));
    await assert.rejects(log.append(entry(5)), code('AUDIT_ROLLBACK'));
    assert.equal(files.files.has('checkpoint'), false);
  });

  it('signs nothing after a peer shows another root at a smaller size', async () => {
    const log = await AuditLog.open(origin, new MemoryLogFiles());
    await appendMany(log, 5);
    await log.observe({ origin, size: 3, root: await log.root(3) });
    await log.checkpoint([signer]);
    await assert.rejects(
      log.observe({ origin, size: 3, root: new Uint8Array(32) }),
      code('AUDIT_ROLLBACK'),
    );
    await assert.rejects(log.checkpoint([signer]), code('AUDIT_ROLLBACK'));
  });

  it('signs growing checkpoints', async () => {
    const log = await AuditLog.open(origin, new MemoryLogFiles());
    const sizes: number[] = [];
    for (let i = 0; i < 4; i++) {
      await log.append(entry(i));
      sizes.push(checkpointOfNote(await log.checkpoint([signer])).size);
    }
    assert.deepEqual(sizes, [1, 2, 3, 4]);
  });
});

describe('audit log after a crash', () => {
  it('keeps every acknowledged entry, whichever write fails and however much of it stood', async () => {
    const whole = new MemoryLogFiles();
    await writeSome(whole);
    assert.equal(new Set(whole.operations.map((line) => line.split(' ')[0])).size, 3);
    for (let write = 0; write < whole.operations.length; write++) {
      for (const persisted of [0, 0.4, 0.99, 1]) {
        const files = new MemoryLogFiles(new Map(), { write, persisted });
        const acknowledged = await writeSome(files);
        const log = await AuditLog.open(origin, new MemoryLogFiles(files.files));
        assert.ok(log.size >= acknowledged.length, `${whole.operations[write]} ${persisted}`);
        for (let i = 0; i < log.size; i++) {
          assert.deepEqual(Buffer.from(await log.leaf(i)), Buffer.from(entry(i)));
        }
        assert.equal(await log.append(entry(log.size)), log.size - 1);
        assert.ok(checkpointOfNote(await log.checkpoint([signer])).size > acknowledged.length);
      }
    }
  });

  it('refuses further entries after a failed write', async () => {
    const log = await AuditLog.open(
      origin,
      new MemoryLogFiles(new Map(), { write: 0, persisted: 0.5 }),
    );
    await assert.rejects(log.append(entry(0)), code('AUDIT_WRITE_FAILED'));
    await assert.rejects(log.append(entry(0)), code('AUDIT_WRITE_FAILED'));
  });

  it('cuts a tail at any byte to a prefix of whole writes', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    for (let i = 0; i < 3; i++) await log.append(entry(i));
    const tail = files.files.get('tail') as Uint8Array;
    for (let length = 0; length < tail.length; length++) {
      const copy = new MemoryLogFiles(new Map([['tail', tail.slice(0, length)]]));
      const cut = await AuditLog.open(origin, copy);
      assert.equal(cut.size, Math.floor(length / (tail.length / 3)));
      assert.equal(copy.files.get('tail')?.length, length - cut.cutBytes);
    }
  });
});

describe('audit log with damaged files', () => {
  it('reports every changed byte of a sealed bundle, its tile and the tail before the last write', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    await appendMany(log, 258);
    await log.append(entry(258));
    for (const path of ['tile/entries/000', 'tile/0/000', 'tail']) {
      const original = files.files.get(path) as Uint8Array;
      const end = path === 'tail' ? Math.floor(original.length / 2) : original.length;
      for (let at = 0; at < end; at += 61) {
        const damaged = Uint8Array.from(original);
        damaged[at] = (damaged[at] ?? 0) ^ 0x10;
        const copy = new MemoryLogFiles(new Map([...files.files, [path, damaged]]));
        await assert.rejects(
          AuditLog.open(origin, copy),
          code('AUDIT_CORRUPT'),
          `${path} byte ${at}`,
        );
      }
    }
  });

  it('reports a missing bundle, a tile missing in the middle and a foreign checkpoint', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    await appendMany(log, 600);
    await log.checkpoint([signer]);
    const without = (path: string) => new Map([...files.files].filter(([name]) => name !== path));
    for (const path of ['tile/entries/000', 'tile/entries/001', 'tile/0/000']) {
      await assert.rejects(
        AuditLog.open(origin, new MemoryLogFiles(without(path))),
        code('AUDIT_CORRUPT'),
      );
    }
    await assert.rejects(
      AuditLog.open('other', new MemoryLogFiles(files.files)),
      code('AUDIT_CORRUPT'),
    );
    const damaged = new Map([...files.files, ['checkpoint', utf8('x')] as const]);
    await assert.rejects(AuditLog.open(origin, new MemoryLogFiles(damaged)), code('AUDIT_CORRUPT'));
    assert.equal(
      (await AuditLog.open(origin, new MemoryLogFiles(without('tile/0/001')))).size,
      600,
    );
  });

  it('reports an entry that changes on disk while the log is open', async () => {
    const files = new MemoryLogFiles();
    const log = await AuditLog.open(origin, files);
    await appendMany(log, 256);
    const bundle = files.files.get('tile/entries/000') as Uint8Array;
    bundle[3] = 0;
    await assert.rejects(log.leaf(0), code('AUDIT_CORRUPT'));
  });
});

/** 254 entries, a checkpoint, then one by one over the bundle boundary; stops at the first failure. */
async function writeSome(files: MemoryLogFiles): Promise<readonly number[]> {
  const acknowledged: number[] = [];
  try {
    const log = await AuditLog.open(origin, files);
    acknowledged.push(...(await appendMany(log, 254)));
    await log.checkpoint([signer]);
    for (let i = 254; i < 259; i++) acknowledged.push(await log.append(entry(i)));
    await log.checkpoint([signer]);
  } catch {
    // What was acknowledged before the failure is what must survive.
  }
  return acknowledged;
}

/** Go's golang.org/x/mod/sumdb reads what our log writes, and we read its notes. Needs Go and its module proxy. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, type Context, describe, it } from 'mocha';
import { AuditLog } from '#src/audit/log';
import { consistencyRanges, leafHash, subtreeRoot } from '#src/audit/merkle';
import {
  ed25519NoteSigner,
  formatVerifierKey,
  parseNote,
  verifierKey,
  verifyNote,
} from '#src/audit/note';
import { concatBytes, utf8 } from '#src/bytes';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';
import { MemoryLogFiles } from '../../support/kit/audit-log.ts';
import { skip } from '../../support/skip.ts';

const origin = 'log.example/EAbc';
const seed = new Uint8Array(32).fill(3);
const size = 600;

describe('golang.org/x/mod/sumdb', () => {
  let folder: string;
  let program: string;
  let suite: CryptoSuite;

  before(async function () {
    this.timeout(180_000);
    if (spawnSync('go', ['version']).status !== 0) unavailable(this, 'no Go toolchain on the path');
    folder = await mkdtemp(join(tmpdir(), 'kelmesh-sumdb-'));
    program = join(folder, 'sumdb');
    try {
      await promisify(execFile)('go', ['build', '-o', program, '.'], { cwd: import.meta.dirname });
    } catch (cause) {
      const isOffline =
        /dial tcp|no such host|proxyconnect|i\/o timeout|module lookup disabled/.test(`${cause}`);
      if (!isOffline) throw cause;
      unavailable(
        this,
        'golang.org/x/mod is not in the module cache and the proxy cannot be reached',
      );
    }
    suite = await loadCryptoSuite();
  });

  after(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  it('accepts our checkpoint, proofs and tiles, and signs a note that we accept', async () => {
    const input = await writeLog(suite);
    const { status, stdout, stderr } = run(program, input);
    assert.equal(status, 0, stderr);
    const { note } = JSON.parse(stdout) as { note: string };
    const key = verifierKey(origin, suite.ed25519.publicKey(seed));
    assert.equal(note, input.note);
    assert.deepEqual(verifyNote(parseNote(note), [key], suite.ed25519), [key]);
  });

  it('refuses a changed note, a proof of another entry and a proof of another size', async () => {
    const input = await writeLog(suite);
    const [first, second] = input.inclusions;
    const [older] = input.consistency;
    assert.ok(first !== undefined && second !== undefined && older !== undefined);
    for (const [what, wrong] of [
      ['note', { ...input, note: input.note.replace('\n600\n', '\n601\n') }],
      ['inclusion of 0', { ...input, inclusions: [{ ...first, leaf: second.leaf }] }],
      ['tile', { ...input, tiles: { ...input.tiles, '0/0': input.tiles['0/1'] } }],
      ['consistency with 2', { ...input, consistency: [{ ...older, older: 2 }] }],
    ] as const) {
      const { status, stderr } = run(program, wrong);
      assert.equal(status, 1);
      assert.ok(stderr.startsWith(what), stderr);
    }
  });
});

function unavailable(context: Context, reason: string): never {
  assert.notEqual(process.env['CI'], 'true', reason);
  return skip(context, reason);
}

function run(program: string, input: object) {
  return spawnSync(program, { input: JSON.stringify(input), encoding: 'utf8' });
}

const base64 = (bytes: Uint8Array): string => bytes.toBase64();

async function writeLog(suite: CryptoSuite) {
  const files = new MemoryLogFiles();
  const log = await AuditLog.open(origin, files);
  const leaf = (i: number): Uint8Array => utf8(`leaf ${i}`);
  await Promise.all(Array.from({ length: size }, (_, i) => log.append(leaf(i))));
  const note = await log.checkpoint([ed25519NoteSigner(suite.ed25519, origin, seed)]);
  const inclusions = [0, 1, 255, 256, 511, 512, 599].map(async (index) => ({
    index,
    leaf: base64(leaf(index)),
    proof: (await log.inclusionProof(index, size)).map(base64),
  }));
  const consistency = [1, 3, 255, 256, 300, 512, 599].map(async (older) => {
    assert.ok(consistencyRanges(older, size).length > 0);
    const proof = await log.consistencyProof(older, size);
    return { older, root: base64(await log.root(older)), proof: proof.map(base64) };
  });
  const leafHashes = Array.from({ length: size }, (_, i) => leafHash(leaf(i)));
  const full = ['tile/0/000', 'tile/0/001'].map((path) => files.files.get(path));
  const publicKey = suite.ed25519.publicKey(seed);
  const key = verifierKey(origin, publicKey);
  const keyId = key.keyId.toString(16).padStart(8, '0');
  return {
    note,
    verifierKey: formatVerifierKey(key),
    signerKey: `PRIVATE+KEY+${origin}+${keyId}+${base64(Uint8Array.of(1, ...seed))}`,
    inclusions: await Promise.all(inclusions),
    consistency: await Promise.all(consistency),
    tiles: {
      '0/0': base64(full[0] as Uint8Array),
      '0/1': base64(full[1] as Uint8Array),
      '0/2': base64(concatBytes(...leafHashes.slice(512))),
      '1/0': base64(
        concatBytes(...[0, 256].map((at) => subtreeRoot(leafHashes.slice(at, at + 256)))),
      ),
    },
  };
}

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  globSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { readFile } from '#agent/cli/read-file';
import { readApproval } from '#agent/control/node-verbs';
import { readBounded } from '#agent/identity/custody/files';
import { readLogFile } from '#agent/mesh/watch/log-source';
import { readConfig } from '#agent/organisation/config/config';
import { MeshError } from '#src/errors';
import { readRegularFile } from '#src/files/regular-file';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

/** Each way in which the program reads a file that somebody else may have put there. */
const readers = {
  'a file of a command': (path: string) => readFile(path, 1_000),
  'a log to be imported or watched': readLogFile,
  'a proposal or card of custodians': readBounded,
  'the approval of a node': readApproval,
  'the configuration': readConfig,
};

describe('files that the program reads', () => {
  let directory: string;
  const path = (name: string) => join(directory, name);

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'kelmesh-read-'));
    execFileSync('mkfifo', [path('pipe')]);
    writeFileSync(path('file'), 'content');
    symlinkSync('/dev/zero', path('link'));
    writeFileSync(path('huge'), '');
    truncateSync(path('huge'), 9 * 2 ** 30);
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  it('come whole when they are regular and within the bound, also where the system does not say how long they are', () => {
    assert.equal(readRegularFile(path('file'), 7).toString(), 'content');
    assert.throws(() => readRegularFile(path('file'), 6), { code: 'FILE_TOO_LARGE' });
    const version = readRegularFile('/proc/version', 4_096);
    assert.deepEqual(version, readFileSync('/proc/version'));
    assert.throws(() => readRegularFile('/proc/version', 5), { code: 'FILE_TOO_LARGE' });
  });

  for (const [what, read] of Object.entries(readers)) {
    it(`are refused, and never waited for, when they are a pipe, a device, a directory or too large: ${what}`, () => {
      for (const file of [path('pipe'), '/dev/zero', path('link'), directory, path('huge')]) {
        assert.throws(
          () => read(file),
          (error: unknown) => {
            assert.ok(error instanceof MeshError, `${file}: ${String(error)}`);
            assert.match(error.message, /no regular file|at most/);
            return true;
          },
        );
      }
    });
  }

  /** A process of its own: one that hangs, or needs more memory than it may have, is ended. */
  function run(...args: readonly string[]) {
    const { status, signal, stderr } = spawnSync(
      process.execPath,
      ['--max-old-space-size=160', join(root, 'deploy/kelmesh.mjs'), ...args],
      { timeout: 60_000, encoding: 'utf8', maxBuffer: 1 << 20, killSignal: 'SIGKILL' },
    );
    return { status, signal, stderr };
  }

  for (const command of [
    ['audit', 'verify'],
    ['id', 'verify'],
    ['id', 'evidence', 'verify'],
  ]) {
    it(`are refused by the verifiers, which run where nobody knows the file: ${command.join(' ')}`, function () {
      this.timeout(200_000);
      for (const file of [path('pipe'), '/dev/zero']) {
        const { status, signal, stderr } = run(...command, file);
        assert.deepEqual([status, signal], [1, null], stderr);
        assert.match(stderr, /is no regular file/);
      }
    });
  }

  it('cost memory in proportion to their size: 100 MB of empty maps, read in 160 MB of heap', function () {
    this.timeout(200_000);
    const size = 100_000_000;
    const bundle = Buffer.alloc(size, 0xa0);
    bundle.set([0x82, 0x60, 0x9a]);
    bundle.writeUInt32BE(size - 7, 3);
    writeFileSync(path('maps'), bundle);
    for (const command of [
      ['audit', 'verify'],
      ['id', 'verify'],
    ]) {
      const { status, signal, stderr } = run(...command, path('maps'));
      assert.deepEqual([status, signal], [1, null], stderr.slice(0, 500));
    }
  });

  it('are read in one way: no other module reads a file whose name comes from outside', () => {
    /** Files that the program itself, the system or the operator as root has made. */
    const own = new Set([
      'agent/inner/ca/files.ts',
      'agent/cli/commands/down.ts',
      'agent/cli/commands/audit.ts',
      'agent/cli/commands/bugreport.ts',
      'agent/cli/version.ts',
      'agent/control/group.ts',
      'agent/organisation/config/secrets.ts',
      'agent/control/custody-at-rest.ts',
      'agent/identity/custody/custodian-file.ts',
      'src/audit/log-files.ts',
      'src/confinement.ts',
      'src/files/trust.ts',
      'src/keystore/file-lock.ts',
      'src/keystore/sealed-file.ts',
      'src/net/underlay.ts',
      'src/wireguard/link-look.ts',
      'src/wireguard/link.ts',
      'src/wireguard/program.ts',
      'src/wireguard/relay-program.ts',
    ]);
    const reading = globSync('{agent,kel,src}/**/*.ts', { cwd: root })
      .filter((file) => !file.startsWith('demo/'))
      .filter((file) =>
        /\breadFile(Sync)?\b.*from 'node:|\bopenSync\b.*from 'node:/.test(
          readFileSync(resolve(root, file), 'utf8'),
        ),
      )
      .filter((file) => !own.has(file));
    assert.deepEqual(reading.toSorted(), ['src/files/log-file.ts', 'src/files/regular-file.ts']);
  });
});

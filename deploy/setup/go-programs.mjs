// The data-plane program of the project, and wireguard-go at the commit that it is made of and that the measurements were made
// with: distributions carry one that is years older and loses packets where this one does not. Both come from
// `deploy/dataplane`, whose go.sum holds the digest of every module: Go refuses anything else, whatever proxy or
// checksum database is configured.
import { createHash } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ensureGo } from './go-toolchain.mjs';
import { asOwner, makeFolder } from './owner.mjs';
import { root, systemEnv, tools } from './paths.mjs';
import { runStep, say } from './report.mjs';

const sources = join(root, 'deploy/dataplane');
const programs = [
  { name: 'wireguard-go', package: 'golang.zx2c4.com/wireguard' },
  { name: 'kelmesh-dataplane', package: '.' },
];
const stamp = join(tools, 'go-programs.sha256');
const failureStamp = join(tools, 'go-programs.failed');
const retryFailureAfterMs = 24 * 3600 * 1000;

/** @returns true when `.tools/bin` holds both, from these sources */
export async function ensureGoPrograms() {
  const identity = digestOf(sources);
  const binaries = programs.map(({ name }) => join(tools, 'bin', name));
  if (binaries.every((binary) => existsSync(binary)) && readStamp(stamp) === identity) return true;
  if (failedLately(identity)) return false;
  const go = await ensureGo();
  if (go === undefined) return false;
  makeFolder(join(tools, 'bin'));
  const failure = await build(go);
  if (failure === undefined) {
    writeFileSync(stamp, identity);
    rmSync(failureStamp, { force: true });
    return true;
  }
  say(
    `${failure}\nsetup: falling back to the distribution's wireguard-go; the build is tried again tomorrow`,
  );
  writeFileSync(failureStamp, identity);
  return false;
}

/** @returns what the failed step said; undefined when all is in place */
async function build(go) {
  const { uid, gid, env } = asOwner({
    ...systemEnv,
    GOFLAGS: '-mod=readonly',
    GOWORK: 'off',
    CGO_ENABLED: '0',
    GOTOOLCHAIN: 'local',
  });
  const run = (title, ...args) => runStep(title, go, args, { cwd: sources, env, uid, gid });
  const scratch = mkdtempSync(join(tools, 'build-'));
  if (uid !== undefined) chownSync(scratch, uid, gid);
  try {
    for (const { name, package: path } of programs) {
      const out = join(scratch, name);
      const built = await run(
        `building ${name}`,
        'build',
        '-trimpath',
        '-buildvcs=false',
        '-o',
        out,
        path,
      );
      if (!built.ok) return built.tail;
    }
    // What an earlier build unpacked on this machine is not compared with go.sum by the build itself.
    const verified = await run('comparing the Go modules with go.sum', 'mod', 'verify');
    if (!verified.ok) return verified.tail;
    for (const { name } of programs) renameSync(join(scratch, name), join(tools, 'bin', name));
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** SHA-256 over names and contents, in order of the names. */
function digestOf(folder) {
  const hash = createHash('sha256');
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('_test.go'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  for (const file of files) {
    const bytes = readFileSync(file);
    hash.update(`${file.slice(folder.length)}\n${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex');
}

function failedLately(identity) {
  return (
    readStamp(failureStamp) === identity &&
    Date.now() - statSync(failureStamp).mtimeMs < retryFailureAfterMs
  );
}

function readStamp(path) {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

// wireguard-go at the commit that the measurements were made with, when a Go toolchain is there to build it;
// distributions carry one that is years older and loses packets where this one does not. `deploy/wireguard-go/go.sum`
// holds the digest of every module in it: Go refuses anything else, whatever proxy or checksum database is configured.
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { asOwner, makeFolder } from './owner.mjs';
import { findProgram, root, systemEnv, tools } from './paths.mjs';
import { runStep, say } from './report.mjs';

const modules = join(root, 'deploy/wireguard-go');
const [, version, digest] = /^golang\.zx2c4\.com\/wireguard (\S+) (h1:\S+)$/m.exec(
  readFileSync(join(modules, 'go.sum'), 'utf8'),
);
const identity = `${version} ${digest}`;
const binary = join(tools, 'bin/wireguard-go');
const stamp = join(tools, 'wireguard-go.version');
const failureStamp = join(tools, 'wireguard-go.failed');
const retryFailureAfterMs = 24 * 3600 * 1000;

/** @returns true when `.tools/bin/wireguard-go` is the pinned version */
export async function ensurePinnedWireguardGo() {
  if (existsSync(binary) && readStamp(stamp) === identity) return true;
  const go = findProgram('go');
  if (go === undefined || failedLately()) return false;
  const { uid, gid, env } = asOwner({
    ...systemEnv,
    GOFLAGS: '-mod=readonly',
    GOWORK: 'off',
    CGO_ENABLED: '0',
    GOTOOLCHAIN: 'local',
  });
  makeFolder(join(tools, 'bin'));
  const scratch = mkdtempSync(join(tools, 'build-'));
  if (uid !== undefined) chownSync(scratch, uid, gid);
  try {
    const inModules = (title, ...args) => runStep(title, go, args, { cwd: modules, env, uid, gid });
    let step = await inModules(
      `building wireguard-go ${version}`,
      'build',
      '-buildvcs=false',
      '-o',
      join(scratch, 'wireguard'),
      'golang.zx2c4.com/wireguard',
    );
    // What an earlier build unpacked on this machine is not compared with go.sum by the build itself.
    if (step.ok) step = await inModules('comparing its modules with go.sum', 'mod', 'verify');
    if (!step.ok) {
      say(
        `${step.tail}\nsetup: falling back to the distribution's wireguard-go; the build is tried again tomorrow`,
      );
      writeFileSync(failureStamp, identity);
      return false;
    }
    renameSync(join(scratch, 'wireguard'), binary);
    writeFileSync(stamp, identity);
    rmSync(failureStamp, { force: true });
    return true;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function failedLately() {
  return (
    readStamp(failureStamp) === identity &&
    Date.now() - statSync(failureStamp).mtimeMs < retryFailureAfterMs
  );
}

function readStamp(path) {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

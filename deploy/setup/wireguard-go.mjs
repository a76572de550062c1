// wireguard-go at the commit that the measurements were made with, when a Go toolchain is there to build it;
// distributions carry one that is years older and loses packets where this one does not.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { findProgram, systemEnv, tools } from './paths.mjs';
import { runStep, say } from './report.mjs';

const version = 'v0.0.0-20260522210424-ecfc5a8d5446';
const binary = join(tools, 'bin/wireguard-go');
const stamp = join(tools, 'wireguard-go.version');
const failureStamp = join(tools, 'wireguard-go.failed');
const retryFailureAfterMs = 24 * 3600 * 1000;

/** @returns true when `.tools/bin/wireguard-go` is the pinned version */
export async function ensurePinnedWireguardGo() {
  if (existsSync(binary) && readStamp(stamp) === version) return true;
  const go = findProgram('go');
  if (go === undefined || failedLately()) return false;
  mkdirSync(join(tools, 'bin'), { recursive: true });
  const scratch = mkdtempSync(join(tools, 'build-'));
  try {
    const { ok, tail } = await runStep(
      `building wireguard-go ${version}`,
      go,
      ['install', `golang.zx2c4.com/wireguard@${version}`],
      { ...systemEnv, GOFLAGS: '-mod=mod', GOBIN: scratch, CGO_ENABLED: '0', GOTOOLCHAIN: 'local' },
    );
    if (!ok) {
      say(
        `${tail}\nsetup: falling back to the distribution's wireguard-go; the build is tried again tomorrow`,
      );
      writeFileSync(failureStamp, version);
      return false;
    }
    renameSync(join(scratch, 'wireguard'), binary);
    writeFileSync(stamp, version);
    rmSync(failureStamp, { force: true });
    return true;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function failedLately() {
  return (
    readStamp(failureStamp) === version &&
    Date.now() - statSync(failureStamp).mtimeMs < retryFailureAfterMs
  );
}

function readStamp(path) {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

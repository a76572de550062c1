/**
 * Where a key goes: into a file that is there whole or not at all, into WireGuard, and a line that says so, each after the one before.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { PRIVATE, writeOutput } from '#src/files/atomic-file';
import type { Secret } from '#src/secret';
import { encodeBase64Secret } from '#src/wireguard/base64-secret';
import { openSecretFile } from '#src/wireguard/secret-file';
import { RosenpassError } from '../errors.ts';
import type { KeyReason } from '../peer-exchange.ts';
import type { RosenpassPeerConfig } from './config.ts';

/** A `wg` that hangs holds up the keys of its peer alone. */
const WG_MS = 20_000;

/** What has become of a key. */
export interface PutOut {
  /** Whether its file, where there is one, has it. */
  readonly isWritten: boolean;
  readonly failure?: RosenpassError;
}

/** Does both, whatever becomes of the other. @param key 32 bytes, disposed by the caller */
export async function putOutKey(
  { keyOut, wireguard }: RosenpassPeerConfig,
  key: Secret,
): Promise<PutOut> {
  const text = encodeBase64Secret(key);
  try {
    const [file, device] = await Promise.allSettled([
      keyOut === undefined ? undefined : writeOutput(keyOut, text, { mode: PRIVATE }),
      wireguard === undefined ? undefined : setPresharedKey(wireguard, key),
    ]);
    const isWritten = file.status === 'fulfilled';
    const failed = [file, device].find((one) => one.status === 'rejected');
    if (failed === undefined) return { isWritten };
    const cause: Error = failed.reason;
    const failure = new RosenpassError('ROSENPASS_OUTPUT_FAILED', cause.message, { cause });
    return { isWritten, failure };
  } finally {
    text.fill(0);
  }
}

/** As the Rust program prints it; the path is quoted as JSON quotes. */
export function outputLine(peerId: Uint8Array, keyOut: string, reason: KeyReason): string {
  return `output-key peer ${peerId.toBase64()} key-file ${JSON.stringify(keyOut)} ${reason}`;
}

/**
 * The key is neither argument nor environment: `wg` opens /dev/stdin, which it cannot where that is a pipe of Node, which is a socket. So it
 * is a file without a name.
 */
async function setPresharedKey(
  { device, peer, extra }: NonNullable<RosenpassPeerConfig['wireguard']>,
  key: Secret,
): Promise<void> {
  await using file = await openSecretFile(key, tmpdir());
  const args = ['set', device, 'peer', peer, 'preshared-key', '/dev/stdin', ...extra];
  const wg = spawn('wg', args, { stdio: [file.fd, 'ignore', 'pipe'], timeout: WG_MS });
  let said = '';
  wg.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    said = (said + chunk).slice(0, 500);
  });
  const [code] = (await once(wg, 'close')) as [number | null];
  if (code !== 0)
    throw new Error(`wg set ${device} ended with ${code ?? 'a signal'}: ${said.trim()}`);
}

/** Two peers that write to one file would undo each other. @returns the first that is named twice */
export function sharedOutput(peers: readonly RosenpassPeerConfig[]): string | undefined {
  const paths = peers.flatMap(({ keyOut }) => (keyOut === undefined ? [] : [resolve(keyOut)]));
  return paths.find((path, at) => paths.indexOf(path) !== at);
}

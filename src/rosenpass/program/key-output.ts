/**
 * Where a key goes: into a file that is there whole or not at all, into WireGuard, and a line that says so, each after the one before.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { PRIVATE, writeOutput } from '#src/files/atomic-file';
import type { Secret } from '#src/secret';
import { encodeBase64Secret } from '#src/wireguard/base64-secret';
import { RosenpassError } from '../errors.ts';
import type { KeyReason } from '../peer-exchange.ts';
import type { RosenpassPeerConfig } from './config.ts';

/** A `wg` that hangs holds up the keys of its peer alone. */
const WG_MS = 20_000;

/** @param key 32 bytes, disposed by the caller  @throws ROSENPASS_OUTPUT_FAILED after all that could be done was done */
export async function putOutKey(
  { keyOut, wireguard }: RosenpassPeerConfig,
  key: Secret,
): Promise<void> {
  const text = encodeBase64Secret(key);
  try {
    const done = await Promise.allSettled([
      keyOut === undefined ? undefined : writeOutput(keyOut, text, { mode: PRIVATE }),
      wireguard === undefined ? undefined : setPresharedKey(wireguard, text),
    ]);
    const failed = done.find((one) => one.status === 'rejected');
    if (failed !== undefined)
      throw new RosenpassError('ROSENPASS_OUTPUT_FAILED', (failed.reason as Error).message, {
        cause: failed.reason,
      });
  } finally {
    text.fill(0);
  }
}

/** As the Rust program prints it; the path is quoted as JSON quotes. */
export function outputLine(peerId: Uint8Array, keyOut: string, reason: KeyReason): string {
  return `output-key peer ${peerId.toBase64()} key-file ${JSON.stringify(keyOut)} ${reason}`;
}

/** The key goes over a pipe: neither argument nor environment. */
async function setPresharedKey(
  { device, peer, extra }: NonNullable<RosenpassPeerConfig['wireguard']>,
  text: Uint8Array,
): Promise<void> {
  const args = ['set', device, 'peer', peer, 'preshared-key', '/dev/stdin', ...extra];
  const wg = spawn('wg', args, { stdio: ['pipe', 'ignore', 'pipe'], timeout: WG_MS });
  let said = '';
  wg.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said = (said + chunk).slice(0, 500);
  });
  // A program that ends without reading is told by its exit.
  wg.stdin.on('error', () => undefined).end(text);
  const [code] = (await once(wg, 'close')) as [number | null];
  if (code !== 0)
    throw new Error(`wg set ${device} ended with ${code ?? 'a signal'}: ${said.trim()}`);
}

/** Two peers that write to one file would undo each other. @returns the first that is named twice */
export function sharedOutput(peers: readonly RosenpassPeerConfig[]): string | undefined {
  const paths = peers.flatMap(({ keyOut }) => (keyOut === undefined ? [] : [resolve(keyOut)]));
  return paths.find((path, at) => paths.indexOf(path) !== at);
}

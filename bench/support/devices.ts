/** What a userspace device says over its own socket: no process is started, and the agent is not asked. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type { PeerState, WireGuardKey } from '#src/wireguard/tunnel-driver';
import { encodeGet, parseGetReply } from '#src/wireguard/uapi';
import { exchangeUapi } from '#src/wireguard/uapi-socket';

const SOCKET_DIR = '/var/run/wireguard';

export interface DeviceView {
  readonly publicKey: WireGuardKey | undefined;
  readonly peers: ReadonlyMap<WireGuardKey, PeerState>;
}

/** @returns undefined without a device of this name */
export async function readDevice(name: string): Promise<DeviceView | undefined> {
  try {
    const socket = join(SOCKET_DIR, `${name}.sock`);
    const { privateKey, peers } = await exchangeUapi(socket, encodeGet(), parseGetReply);
    using own = privateKey;
    return { publicKey: own === undefined ? undefined : wireguardPublicKeyHex(own), peers };
  } catch (error) {
    if ((error as { code?: string }).code === 'WIREGUARD_UAPI_UNREACHABLE') return undefined;
    throw error;
  }
}

/** Of those that exist. @param prefix interface name without its last digit */
export async function deviceNames(prefix: string): Promise<readonly string[]> {
  const sockets = await readdir(SOCKET_DIR).catch(() => []);
  const names = sockets
    .filter((file) => file.endsWith('.sock'))
    .map((file) => file.slice(0, -'.sock'.length));
  return names.filter((name) => name.slice(0, -1) === prefix);
}

export async function readDevices(names: readonly string[]): Promise<readonly DeviceView[]> {
  const devices = await Promise.all(names.map(readDevice));
  return devices.filter((device) => device !== undefined);
}

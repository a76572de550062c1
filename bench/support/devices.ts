/** What a userspace device says over its own socket: no process is started, and the agent is not asked. */
import { wireguardPublicKeyHex } from '#src/crypto/wireguard-key';
import type { PeerState, WireGuardKey } from '#src/wireguard/tunnel-driver';
import { encodeGet, parseGetReply } from '#src/wireguard/uapi';
import { exchangeUapi } from '#src/wireguard/uapi-socket';

export interface DeviceView {
  readonly publicKey: WireGuardKey | undefined;
  readonly peers: ReadonlyMap<WireGuardKey, PeerState>;
}

/** @returns undefined without a device of this name */
export async function readDevice(name: string): Promise<DeviceView | undefined> {
  try {
    const socket = `/var/run/wireguard/${name}.sock`;
    const { privateKey, peers } = await exchangeUapi(socket, encodeGet(), parseGetReply);
    using own = privateKey;
    return { publicKey: own === undefined ? undefined : wireguardPublicKeyHex(own), peers };
  } catch (error) {
    if ((error as { code?: string }).code === 'WIREGUARD_UAPI_UNREACHABLE') return undefined;
    throw error;
  }
}

/** All that exist. @param prefix interface name without its last digit */
export async function readDevices(prefix: string): Promise<readonly DeviceView[]> {
  const devices = await Promise.all(
    Array.from({ length: 10 }, (_, slot) => readDevice(`${prefix}${slot}`)),
  );
  return devices.filter((device) => device !== undefined);
}

/** The two devices of one tunnel between two network namespaces, each with keys that are always the same. */
import { Secret } from '#src/secret';
import { wireguardPrivateKey, wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type { DesiredDevice, DesiredPeer } from '#src/wireguard/tunnel-driver';
import { parseCidr, parseInterfaceName } from '#src/wireguard/values';

/**
 * @param names of the two interfaces  @param i 0 or 1: which end
 * @param way how this end reaches the other
 */
export function deviceOfEnd(
  names: readonly string[],
  i: number,
  way: Pick<DesiredPeer, 'endpoint' | 'insists' | 'keepalive'>,
): DesiredDevice {
  const key = (n: number) => wireguardPrivateKey(new Secret(new Uint8Array(32).fill(n + 1)));
  const other = 1 - i;
  return {
    name: parseInterfaceName(names[i] ?? ''),
    privateKey: key(i),
    listenPort: 51_820,
    mtu: 1420,
    addresses: [`fd99::${i + 1}/128`],
    routes: [parseCidr(`fd99::${other + 1}/128`)],
    peers: [
      {
        publicKey: wireguardPublicKeyHex(key(other)),
        presharedKey: new Secret(new Uint8Array(32).fill(9)),
        ...way,
        allowedIps: [parseCidr(`fd99::${other + 1}/128`)],
      },
    ],
  };
}

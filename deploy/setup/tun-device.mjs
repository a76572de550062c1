// /dev/net/tun, which wireguard-go opens to make an interface.
import { closeSync, openSync } from 'node:fs';

/** @returns what is missing: nothing, or the device with the reason */
export function checkTunDevice() {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
    return [];
  } catch (error) {
    return [
      {
        what: `a usable /dev/net/tun (${error.code})`,
        without: 'tunnels through wireguard-go; a kernel with WireGuard does not need it',
        cure:
          error.code === 'EACCES' || error.code === 'EPERM'
            ? 'run as root, or sudo chmod 666 /dev/net/tun; in a container add --device /dev/net/tun --cap-add NET_ADMIN'
            : 'sudo modprobe tun; in a container add --device /dev/net/tun --cap-add NET_ADMIN',
      },
    ];
  }
}

import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const wireGuardErrors = {
  WIREGUARD_BAD_VALUE: 'Correct the value in the configuration or record that it comes from',
  WIREGUARD_BAD_DEVICE:
    'Correct the configuration or record that the device is computed from; nothing was changed',
  WIREGUARD_NO_PSK:
    'Wait for the agreement of the pair, or give the peer a random preshared key until it is confirmed',
  WIREGUARD_UAPI_UNREACHABLE: 'Check that the userspace program of the device runs: kelmesh status',
  WIREGUARD_UAPI_TIMEOUT:
    'Check the load of the machine; if it repeats, bring the device down and up again',
  WIREGUARD_UAPI_TOO_LARGE: 'Spread the peers over more devices',
  WIREGUARD_UAPI_MALFORMED:
    'Install a version of the userspace program that this release was tested with',
  WIREGUARD_UAPI_REFUSED: 'Look into the log of the userspace program of the device',
  WIREGUARD_DUMP_MALFORMED:
    'Install a version of wireguard-tools that this release was tested with',
  WIREGUARD_NO_TUN:
    'Load the tun module (modprobe tun), or pass /dev/net/tun into the container: --device /dev/net/tun',
  WIREGUARD_NO_PRIVILEGE:
    'Run with CAP_NET_ADMIN: as root, under the systemd unit, or inside a user namespace',
  WIREGUARD_NO_PROGRAM:
    'Install iproute2, wireguard-tools and wireguard-go, or give its path in the configuration',
  WIREGUARD_UNSUITABLE_PROGRAM:
    'Use kelmesh-dataplane or wireguard-go: the agent needs a program that changes a preshared key without touching the session',
  WIREGUARD_NO_KERNEL_MODULE:
    'Load the module (modprobe wireguard), or choose the userspace driver in the configuration',
  WIREGUARD_PORT_IN_USE: 'Stop the program that holds this UDP port, or set another: `tunnel.port`',
  WIREGUARD_PROGRAM_DIED: 'Look into the log file named in the message',
  WIREGUARD_NAME_TAKEN:
    'Choose another interface name: names are unique on the whole machine, across network namespaces',
  WIREGUARD_COMMAND_FAILED: 'Run the command of the message by hand to see what the system says',
} as const satisfies ErrorTable;

export type WireGuardErrorCode = keyof typeof wireGuardErrors;

export class WireGuardError extends MeshError<WireGuardErrorCode> {
  constructor(code: WireGuardErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, wireGuardErrors, details);
  }
}

import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const rosenpassErrors = {
  ROSENPASS_BAD_KEY:
    'Copy the file again, or make a new pair with `kelmesh rosenpass gen-keys`: it is no key of Rosenpass, or cut, or of another pair',
  ROSENPASS_BAD_CONFIG:
    'Correct the named key; `kelmesh rosenpass exchange-config --help` lists what the file has',
  ROSENPASS_NO_ADDRESS:
    'Correct the endpoint, or check that the name resolves: `getent ahosts NAME`',
  ROSENPASS_NO_SOCKET:
    'Stop the program that holds the UDP port, or correct `listen`: each entry is an address of this machine and a port',
  ROSENPASS_OUTPUT_FAILED:
    'Look at what the system says about the file or the WireGuard interface of the message; the next key is written there again',
} as const satisfies ErrorTable;

export class RosenpassError extends MeshError<keyof typeof rosenpassErrors> {
  constructor(code: keyof typeof rosenpassErrors, message: string, details?: ErrorDetails) {
    super(code, message, rosenpassErrors, details);
  }
}

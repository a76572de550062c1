/** Errors of tunnels: keys, devices, the change from one key to the next. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const tunnelErrors = {
  TUNNEL_BAD_MESSAGE:
    'The peer speaks another version or is broken; compare `kelmesh --version` on both ends',
  TUNNEL_REFUSED:
    'The peer does not hold the same keys or agreement yet; it is tried again by itself',
  TUNNEL_NO_HANDSHAKE:
    'Check that UDP reaches the endpoint that `kelmesh peer list` shows; the former tunnel stays in use',
  TUNNEL_BUSY: 'It is tried again by itself; `kelmesh rotate status` shows how far it is',
  TUNNEL_NO_KEYS:
    'The agent has no tunnel keys yet; wait until it has started, see `kelmesh status`',
} as const satisfies ErrorTable;

export class TunnelError extends MeshError<keyof typeof tunnelErrors> {
  constructor(code: keyof typeof tunnelErrors, message: string, details?: ErrorDetails) {
    super(code, message, tunnelErrors, details);
  }
}

/** Errors of the network drivers; one set for the real and the simulated one. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';
import type { PeerKey } from './network.ts';

export const networkErrors = {
  NETWORK_BAD_ADDRESS:
    'Write the address as a multiaddr such as /ip4/192.0.2.1/tcp/7400/p2p/12D3KooW…, all addresses of one call for one peer',
  NETWORK_BAD_KEY: 'Give the 32-byte Ed25519 seed of the node',
  NETWORK_CLOSED: 'The agent is shutting down: start it again',
  NETWORK_DUPLICATE_HANDLER: 'Register each protocol and each topic once',
  NETWORK_LISTEN_FAILED:
    'Choose an address that this machine has and a port it may bind: `network.listen`',
  NETWORK_MESSAGE_TOO_LARGE:
    'Split the message; if a peer sent it, check that both ends run the same version',
  NETWORK_OLD_PROTOCOL:
    'Update the agent of the peer: the mesh has moved to records of version 2, and there is no way back',
  NETWORK_PORT_IN_USE: 'Stop the other program on this port, or set another port: `network.listen`',
  NETWORK_PROTOCOL_UNSUPPORTED: 'Upgrade the peer to a version that speaks the protocol',
  NETWORK_STREAM_CLOSED:
    'Open a new stream; see `kelmesh peer list` for whether the peer is still connected',
  NETWORK_TIMEOUT: 'Check the path to the peer; it answers too late or not at all',
  NETWORK_TOO_MANY_BYTES:
    'A peer that is no member sends more than a stranger may; if it is to be one, admit it: `kelmesh mesh show` names who asks',
  NETWORK_TOO_MANY_STREAMS: 'Close streams to this peer before opening more',
  NETWORK_UNREACHABLE: 'Check address, firewall and that the peer runs and admits this node',
} as const satisfies ErrorTable;

export class NetworkError extends MeshError<keyof typeof networkErrors> {
  constructor(code: keyof typeof networkErrors, message: string, details?: ErrorDetails) {
    super(code, message, networkErrors, details);
  }
}

export function streamClosed(peer: PeerKey, cause?: unknown): NetworkError {
  const why = cause instanceof Error ? cause.message : 'closed';
  return new NetworkError('NETWORK_STREAM_CLOSED', `stream with ${peer}: ${why}`, { cause });
}

export function messageTooLarge(what: string, length: number, max: number): NetworkError {
  return new NetworkError(
    'NETWORK_MESSAGE_TOO_LARGE',
    `${what}: expected at most ${max} bytes, got ${length}`,
    { fields: { length, max } },
  );
}

/** @param what the protocol or topic */
export function duplicateHandler(what: string): NetworkError {
  return new NetworkError('NETWORK_DUPLICATE_HANDLER', `${what} has a handler already`);
}

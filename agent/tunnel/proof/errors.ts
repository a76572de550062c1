/** Errors of the tunnel proof: the statement that both ends sign through the tunnel. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const proofErrors = {
  PROOF_BAD_MESSAGE:
    'The peer speaks another version or is broken; compare `kelmesh --version` on both ends',
  PROOF_MISMATCH:
    'The two ends see the tunnel differently; it is tried again when both have the same charter and keys',
  PROOF_KNOWN:
    'This end holds a proof of the tunnel under these keys and this agreement, and signs no second one; the next agreement is proven anew',
  PROOF_TOO_MANY:
    'The peer asks for proofs faster than they are signed; it is served again in a while. If it goes on, ask its operator why, or remove the member',
  PROOF_WRONG_SOURCE:
    'Something on the overlay answers with an address that is not its own; check routes and allowed IPs on this host',
  PROOF_PORT_IN_USE:
    'Stop the program that holds this TCP port, or set another, the same in the whole mesh: `tunnel.proof-port`',
  PROOF_UNREACHABLE:
    'Nothing answers through the tunnel; check that the overlay address is not filtered on either host',
} as const satisfies ErrorTable;

export class ProofError extends MeshError<keyof typeof proofErrors> {
  constructor(code: keyof typeof proofErrors, message: string, details?: ErrorDetails) {
    super(code, message, proofErrors, details);
  }
}

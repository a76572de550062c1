import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const mtlsErrors = {
  MTLS_BAD_NAME: 'Give a DNS name in lower case such as records.hospital.example, without wildcard',
  MTLS_BAD_CERTIFICATE:
    'Ask the other side for its CA certificates again, as a PEM file from `kelmesh ca export`',
  MTLS_UNCONSTRAINED:
    'Ask its owner for a CA whose name constraints bind it in DNS names, URIs and IP addresses: this one could speak for names of others, ours too',
  MTLS_NO_TRUST: 'Name at least one CA certificate to trust, with `kelmesh ca trust FILE`',
  MTLS_UNTRUSTED:
    'Compare the fingerprint with its owner by another way, then `kelmesh ca trust FILE`',
  MTLS_EXPIRED:
    'Issue a new certificate with `kelmesh ca issue`, and check the clocks of both ends',
  MTLS_NOT_YET_VALID: 'Check the clocks of both ends',
  MTLS_WRONG_NAME:
    'Connect by a name that stands in the certificate, or issue one with the name that you use',
  MTLS_NOT_PERMITTED:
    'The CA speaks for a name outside its own domain: tell its owner, and do not connect',
  MTLS_NO_GROUP:
    'Both ends must offer the key agreement X25519MLKEM768: update the TLS library of the other end',
  MTLS_OLD_TLS: 'Both ends must speak TLS 1.3: update the other end',
  MTLS_NO_PROTOCOL: 'Check that the port belongs to the service that you mean',
  MTLS_NO_CERTIFICATE: 'Give the client a certificate with `kelmesh ca issue`',
  MTLS_REFUSED:
    'See the log of the server: it does not trust the CA of our certificate, or the certificate has expired',
  MTLS_FAILED: 'Check address, port and network; the cause tells more',
} as const satisfies ErrorTable;

export type MtlsErrorCode = keyof typeof mtlsErrors;

export class MtlsError extends MeshError<MtlsErrorCode> {
  constructor(code: MtlsErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, mtlsErrors, details);
  }
}

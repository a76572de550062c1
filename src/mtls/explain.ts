/** What a failed handshake means: OpenSSL's words to our codes. */
import type { TLSSocket } from 'node:tls';
import { oneLine } from './ca-certificate.ts';
import { MtlsError, type MtlsErrorCode } from './errors.ts';

interface Meaning {
  readonly pattern: RegExp;
  readonly code: MtlsErrorCode;
  readonly says: string;
}

const meanings: readonly Meaning[] = [
  {
    pattern: /CERT_HAS_EXPIRED|ALERT_CERTIFICATE_EXPIRED/,
    code: 'MTLS_EXPIRED',
    says: 'the certificate has expired',
  },
  {
    pattern: /CERT_NOT_YET_VALID/,
    code: 'MTLS_NOT_YET_VALID',
    says: 'the certificate is not valid yet',
  },
  {
    pattern: /(permitted|excluded) subtree violation|^UNSPECIFIED$/,
    code: 'MTLS_NOT_PERMITTED',
    says: 'the certificate carries a name outside the domain of its CA',
  },
  {
    pattern:
      /SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|ALERT_UNKNOWN_CA|CERT_SIGNATURE_FAILURE/,
    code: 'MTLS_UNTRUSTED',
    says: 'the certificate is of a CA that is not trusted',
  },
  {
    pattern: /DID_NOT_RETURN_A_CERTIFICATE|CERTIFICATE_REQUIRED/,
    code: 'MTLS_NO_CERTIFICATE',
    says: 'the client showed no certificate',
  },
  {
    pattern: /NO_SUITABLE_KEY_SHARE|NO_SHARED_GROUP|ALERT_HANDSHAKE_FAILURE/,
    code: 'MTLS_NO_GROUP',
    says: 'no common key agreement: X25519MLKEM768 is required',
  },
  {
    pattern: /UNSUPPORTED_PROTOCOL|ALERT_PROTOCOL_VERSION|WRONG_VERSION_NUMBER/,
    code: 'MTLS_OLD_TLS',
    says: 'no common TLS version: TLS 1.3 is required',
  },
  {
    pattern: /NO_APPLICATION_PROTOCOL/,
    code: 'MTLS_NO_PROTOCOL',
    says: 'no common application protocol',
  },
];

/**
 * The error of a handshake that failed, with code and cure.
 * @param where who tells it of whom: `127.0.0.1:8443`  @param issuer of the peer's certificate, where it was seen
 */
export function explainTlsError(error: unknown, where: string, issuer?: string): MtlsError {
  if (error instanceof MtlsError) return error;
  const { code = '', message = '' } = error as {
    readonly code?: string;
    readonly message?: string;
  };
  const meaning = meanings.find(({ pattern }) => pattern.test(code) || pattern.test(message));
  const by = issuer === undefined ? '' : ` (issuer: ${oneLine(issuer)})`;
  return meaning === undefined
    ? new MtlsError('MTLS_FAILED', `${where}: ${oneLine(code || message)}`, { cause: error })
    : new MtlsError(meaning.code, `${where}: ${meaning.says}${by}`, { cause: error });
}

/** The error behind a server's `tlsClientError`: Node reports a refused client certificate as a reset. */
export function explainClientRefusal(error: Error, socket: TLSSocket): MtlsError {
  const where = `client ${socket.remoteAddress ?? 'gone'}`;
  // Null in practice, whatever the type says, when the certificate was not the reason.
  const reason = socket.authorizationError as unknown;
  return explainTlsError(reason ? { code: String(reason) } : error, where);
}

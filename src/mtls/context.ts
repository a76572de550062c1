/**
 * The TLS settings of the inner layer, for anything that takes `node:tls` options (tls, https, http2, gRPC).
 *
 * TLS 1.3 alone, both ends with a certificate, the post-quantum hybrid X25519MLKEM768 as the only key
 * agreement, and no resumption: a resumed session would skip the check of a certificate that has expired since.
 */
import { constants } from 'node:crypto';
import { isIP } from 'node:net';
import type {
  ConnectionOptions,
  PeerCertificate,
  SecureContextOptions,
  TLSSocket,
  TlsOptions,
} from 'node:tls';
import type { Secret } from '#src/secret';
import { fingerprintOf, oneLine } from './ca-certificate.ts';
import { isDnsName } from './dns-name.ts';
import { MtlsError } from './errors.ts';
import { identityHost, isNamed, readNames } from './names.ts';

/** draft-ietf-tls-ecdhe-mlkem: X25519 and ML-KEM-768 together. */
const KEY_AGREEMENT = 'X25519MLKEM768';

const DEFAULT_ALPN = 'kelmesh/1';

export interface MtlsIdentity {
  /** Leaf first, PEM. */
  readonly cert: string;
  /** PKCS#8, PEM. */
  readonly key: Secret;
  /** CA certificates, PEM: whoever they certify may connect. Never empty: an empty list would mean the public CAs. */
  readonly trust: readonly string[];
  /** Application protocols, the preferred first; default `kelmesh/1`. */
  readonly alpn?: readonly string[];
}

export interface MtlsClient extends MtlsIdentity {
  /** DNS name or IP address that the server's certificate must carry; the address dialled is another matter. */
  readonly serverName: string;
  /** The identity that it must carry besides: `kelmesh://DOMAIN/NAME`. */
  readonly serverUri?: string;
}

/** @throws MTLS_NO_TRUST */
export function serverOptions(identity: MtlsIdentity): TlsOptions {
  return { ...commonOptions(identity), requestCert: true, handshakeTimeout: 10_000 };
}

/** @throws MTLS_NO_TRUST */
export function clientOptions(client: MtlsClient): ConnectionOptions {
  const { serverName, serverUri } = client;
  return {
    ...commonOptions(client),
    // An IP address is no SNI (RFC 6066 3); the check below covers it all the same.
    servername: isIP(serverName) === 0 ? serverName : '',
    checkServerIdentity: (_host, certificate) =>
      identityProblem(certificate, serverName, serverUri),
  };
}

function commonOptions({
  cert,
  key,
  trust,
  alpn = [DEFAULT_ALPN],
}: MtlsIdentity): SecureContextOptions &
  Pick<ConnectionOptions, 'ALPNProtocols' | 'rejectUnauthorized'> {
  if (trust.length === 0)
    throw new MtlsError('MTLS_NO_TRUST', 'expected at least one trusted CA, got none');
  return {
    cert,
    key: Buffer.from(key.expose()),
    ca: [...trust],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    ecdhCurve: KEY_AGREEMENT,
    ALPNProtocols: [...alpn],
    rejectUnauthorized: true,
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/**
 * Names count only in the SAN, each by its bytes: Node's own check falls back to the common name when there is none, and
 * in Node's line of text one name can hold what looks like the next.
 */
function identityProblem(
  { raw, subjectaltname = '' }: PeerCertificate,
  serverName: string,
  serverUri: string | undefined,
): Error | undefined {
  try {
    if (!isNamed(raw, serverName)) return wrongName(serverName, subjectaltname);
    if (serverUri !== undefined && !readNames(raw).uris.includes(serverUri))
      return wrongName(serverUri, subjectaltname);
  } catch (error) {
    return error as Error;
  }
  return undefined;
}

function wrongName(expected: string, names: string): MtlsError {
  return new MtlsError(
    'MTLS_WRONG_NAME',
    `expected a certificate for ${oneLine(expected)}, got one for ${oneLine(names) || 'no name'}`,
  );
}

export interface MtlsSession {
  readonly protocol: string;
  /** Read from the socket by a client; a server knows it from its settings, which allow no other. */
  readonly keyAgreement: string;
  readonly cipher: string;
  readonly dnsNames: readonly string[];
  /** `kelmesh://DOMAIN/NAME`, and nothing else that a reader could take for one; undefined in certificates of another make. */
  readonly uri: string | undefined;
  /** Common name of the CA. */
  readonly issuer: string;
  /** Hex digits. */
  readonly serial: string;
  readonly fingerprint: string;
  readonly notAfter: number;
}

/** Who is at the other end of a connected socket, and what protects it. @throws MTLS_NO_CERTIFICATE, MTLS_BAD_CERTIFICATE */
export function describePeer(socket: TLSSocket): MtlsSession {
  const certificate = socket.getPeerX509Certificate();
  if (!socket.authorized || certificate === undefined) {
    throw new MtlsError(
      'MTLS_NO_CERTIFICATE',
      'expected a verified peer, got a socket without one',
    );
  }
  const group = socket.getEphemeralKeyInfo() as { readonly name?: string } | null;
  const { dnsNames, uris } = readNames(certificate.raw);
  return {
    protocol: socket.getProtocol() ?? 'unknown',
    keyAgreement: group?.name ?? KEY_AGREEMENT,
    cipher: socket.getCipher().name,
    dnsNames: dnsNames.filter(isDnsName),
    uri: uris.length === 1 ? uris.find((uri) => identityHost(uri) !== undefined) : undefined,
    issuer: oneLine(certificate.issuer).replace(/^CN=/, ''),
    serial: certificate.serialNumber.toLowerCase(),
    fingerprint: fingerprintOf(certificate),
    notAfter: certificate.validToDate.getTime(),
  };
}

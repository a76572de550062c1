/** What a leaf certificate says about its holder: read from its bytes, never from the line of text that libraries make of them. */
import { isIP } from 'node:net';
import { equalBytes } from '#src/bytes';
import { formatIpAddress, parseIpAddress } from '../net/ip-address.ts';
import { type DerElement, derTags, readDer, readDerSequence } from './der.ts';
import { type DnsName, isDnsName } from './dns-name.ts';
import { MtlsError } from './errors.ts';
import { decodeGeneralName, type GeneralName } from './general-name.ts';

export interface CertificateNames {
  readonly dnsNames: readonly string[];
  /** Canonical text. */
  readonly ipAddresses: readonly string[];
  readonly uris: readonly string[];
}

export const oids = { subjectAltName: '2.5.29.17', nameConstraints: '2.5.29.30' } as const;

const MAX_NAMES = 1_024;
/** `[3] Extensions` of a certificate (RFC 5280 4.1). */
const EXTENSIONS = 0xa3;

/** @param certificate DER, attacker-controlled  @throws MTLS_BAD_CERTIFICATE */
export function readNames(certificate: Uint8Array): CertificateNames {
  const names = generalNames(certificate);
  const texts = (kind: 'dns' | 'uri') =>
    names.flatMap((name) => (name.kind === kind ? [name.value] : []));
  return {
    dnsNames: texts('dns'),
    ipAddresses: names.flatMap((name) => (name.kind === 'ip' ? [formatIpAddress(name.bytes)] : [])),
    uris: texts('uri'),
  };
}

/** Whether the certificate is for this DNS name or IP address; a wildcard stands for one label. @throws MTLS_BAD_CERTIFICATE */
export function isNamed(certificate: Uint8Array, host: string): boolean {
  const names = generalNames(certificate);
  if (isIP(host) !== 0) {
    const address = parseIpAddress(host);
    return (
      address !== undefined &&
      names.some((name) => name.kind === 'ip' && equalBytes(name.bytes, address))
    );
  }
  const wanted = host.toLowerCase();
  const wildcard = wanted.replace(/^[^.]+(?=\.[^.]+\.)/, '*');
  return names.some(
    (name) => name.kind === 'dns' && [wanted, wildcard].includes(name.value.toLowerCase()),
  );
}

/**
 * The host of an identity `kelmesh://DOMAIN/NAME`; undefined for any other URI: with user, port, query or a host that one reader
 * takes from another place than the next.
 */
export function identityHost(uri: string): DnsName | undefined {
  const host = /^kelmesh:\/\/([a-z0-9.-]+)\/[a-z0-9.-]+$/.exec(uri)?.[1];
  return host !== undefined && isDnsName(host) ? host : undefined;
}

/** DER inside the extension with this object identifier; undefined when there is none. @throws MTLS_BAD_CERTIFICATE, also for two of them */
export function extensionValue(certificate: Uint8Array, oid: string): Uint8Array | undefined {
  const [body] = readDerSequence(certificate);
  const list = readDer(body?.content ?? new Uint8Array()).find(({ tag }) => tag === EXTENSIONS);
  if (list === undefined) return undefined;
  const wanted = oidBytes(oid);
  const found = readDerSequence(list.content)
    .map(({ content }) => readDer(content))
    .filter(([id]) => id !== undefined && isOid(id, wanted));
  if (found.length > 1)
    throw new MtlsError('MTLS_BAD_CERTIFICATE', `certificate: it has the extension ${oid} twice`);
  const value = found[0]?.at(-1);
  return value?.tag === derTags.octetString ? value.content : undefined;
}

function generalNames(certificate: Uint8Array): readonly GeneralName[] {
  const value = extensionValue(certificate, oids.subjectAltName);
  const elements = value === undefined ? [] : readDerSequence(value);
  if (elements.length > MAX_NAMES)
    throw new MtlsError('MTLS_BAD_CERTIFICATE', `certificate: it has ${elements.length} names`);
  return elements.map(decodeGeneralName);
}

function isOid({ tag, content }: DerElement, wanted: Uint8Array): boolean {
  return tag === derTags.oid && equalBytes(content, wanted);
}

/** Of an identifier below 2.5 with one-byte parts: all that is asked for here. */
function oidBytes(oid: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = oid.split('.').map(Number);
  return Uint8Array.of(40 * first + second, ...rest);
}

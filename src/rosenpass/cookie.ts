/**
 * The initiator's half of the cookie mechanism: a responder under load asks for proof that a datagram comes from where it says. The
 * value that it sends back, sealed so that only who saw the InitHello can open it, goes into the last field of the next one. SHAKE256
 * whatever the two speak otherwise.
 */
import { openLong } from './aead.ts';
import { cookieDomains } from './hash-domains.ts';
import { keyedHashes } from './keyed-hash.ts';
import { authenticatedPart, COOKIE_LENGTH, MAC_LENGTH, macOf } from './messages.ts';

const hash = keyedHashes.V03;

/** Key of the sealed values of the holder of `publicKey`, 32 bytes. */
export function cookieKey(publicKey: Uint8Array): Uint8Array {
  return hash(cookieDomains.key, publicKey);
}

/** @param datagram the InitHello that was answered so  @returns 16 bytes; undefined for an answer to another one, or of somebody else */
export function openCookieValue(
  key: Uint8Array,
  sealed: Uint8Array,
  datagram: Uint8Array,
): Uint8Array | undefined {
  return openLong(key, sealed, macOf(datagram));
}

/** The datagram with the cookie of `value` in its last field. */
export function withCookie(datagram: Uint8Array, value: Uint8Array): Uint8Array {
  const out = datagram.slice();
  const macEnd = authenticatedPart(datagram).length + MAC_LENGTH;
  const key = hash(cookieDomains.cookie, value);
  out.set(hash(key, out.subarray(0, macEnd)).subarray(0, COOKIE_LENGTH), macEnd);
  return out;
}

/** Which addresses mean something only where they are: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 2.5.6. */
import { parseIpAddress, unmapIpv4 } from './ip-address.ts';

/** Of text that is no address: false. */
export function isPrivateAddress(text: string): boolean {
  const bytes = parseIpAddress(text);
  const plain = bytes && (unmapIpv4(bytes) ?? bytes);
  if (plain === undefined) return false;
  const [a = 0, b = 0] = plain;
  if (plain.length === 16) return (a & 0xfe) === 0xfc || (a === 0xfe && (b & 0xc0) === 0x80);
  return (
    a === 10 ||
    (a === 172 && b >> 4 === 1) ||
    (a === 192 && b === 168) ||
    (a === 169 && b === 254) ||
    (a === 100 && b >> 6 === 1)
  );
}

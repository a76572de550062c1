/** Standard base64 with padding (RFC 4648 4), canonical only. */

export function encodeBase64(bytes: Uint8Array): string {
  return bytes.toBase64();
}

/** Undefined when `text` is not the one canonical encoding of its bytes. */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: 'strict' });
  } catch {
    return undefined;
  }
}

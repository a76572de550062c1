/** Fills with zeros what held a secret. */
export function wipe(
  ...arrays: readonly (Uint8Array | Uint16Array | Int32Array | Uint32Array | undefined)[]
): void {
  for (const array of arrays) array?.fill(0);
}

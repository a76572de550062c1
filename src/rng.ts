/** Randomness as the program sees it. Real in `agent/compose.ts`, seeded in `test/support/`. */
export interface Rng {
  /** `length` fresh bytes, uniform; from a CSPRNG wherever the driver is a real one. */
  bytes(length: number): Uint8Array;
}

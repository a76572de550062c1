/** Classic McEliece 460896: n = 4,608, t = 96, m = 13. Lengths in bytes where nothing else is said. */

/** n, bits of a code word. */
export const CODE_LENGTH = 4_608;
/** t, bits set in an error vector. */
export const WEIGHT = 96;
/** m t, bits of a syndrome. */
export const SYNDROME_BITS = 1_248;

export const SYNDROME_LENGTH = SYNDROME_BITS / 8;
export const ERROR_LENGTH = CODE_LENGTH / 8;
export const GOPPA_LENGTH = 2 * WEIGHT;
/** 25 stages of 4,096 bits. */
export const CONTROL_BITS_LENGTH = 12_800;
/** A row of the public matrix without its systematic part. */
export const ROW_LENGTH = (CODE_LENGTH - SYNDROME_BITS) / 8;
export const PUBLIC_KEY_LENGTH = SYNDROME_BITS * ROW_LENGTH;
/** s ‖ g ‖ control bits, as SUPERCOP-20191221 has them. */
export const SECRET_KEY_LENGTH = ERROR_LENGTH + GOPPA_LENGTH + CONTROL_BITS_LENGTH;
/** seed ‖ pivots ‖ g ‖ control bits ‖ s, as round 4 has them. */
export const ROUND_4_SECRET_KEY_LENGTH = SECRET_KEY_LENGTH + 40;
/** Digest behind the syndrome, of the older generation alone. */
const CONFIRMATION_LENGTH = 32;
export const CIPHERTEXT_LENGTH = SYNDROME_LENGTH + CONFIRMATION_LENGTH;

/** Lengths in bytes that both suites check before any library sees the value. */
export const ED25519_SEED_LENGTH = 32;
export const ED25519_PUBLIC_KEY_LENGTH = 32;
export const ED25519_SIGNATURE_LENGTH = 64;

/** FIPS 203: `d || z`, table 3 for the others. */
export const ML_KEM_1024_SEED_LENGTH = 64;
export const ML_KEM_1024_PUBLIC_KEY_LENGTH = 1568;
export const ML_KEM_1024_CIPHERTEXT_LENGTH = 1568;

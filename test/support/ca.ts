/** What the tests of the inner CA share. */
import type { PassphraseCost } from '#src/keystore/sealed-file-format';

/** The least that Argon2id takes: the tests are not about its cost. */
export const cheapCost: PassphraseCost = { memory: 8, passes: 1, lanes: 1 };

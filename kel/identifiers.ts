/** Identifiers as they stand in events: qualified Base64 (CESR text domain), branded so that they do not mix. */
import type { Brand } from '#src/brand';

/** AID: `E…` self-addressing, or `B…`/`D…`/`1AAI…` basic; validated by `parseAid`. */
export type Aid = Brand<string, 'Aid'>;

/** SAID of an event or record: 44 characters for 256-bit digests. */
export type Said = Brand<string, 'Said'>;

/** Public verification key, qb64: `D…` transferable Ed25519, `B…` non-transferable, `1AAJ…` P-256. */
export type VerificationKey = Brand<string, 'VerificationKey'>;

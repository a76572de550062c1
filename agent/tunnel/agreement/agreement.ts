/** What goes into an agreement and what comes out of it. */
import type { VerificationKey } from '#kel/identifiers';
import type { ThresholdForm } from '#kel/key-state/key-state';
import type { CryptoSuite } from '#src/crypto/suite';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import type { PairSignature } from './messages.ts';
import type { AgreementPolicy } from './policy.ts';
import type { AgreementPair, PairEnd } from './terms.ts';

/** An end with the keys of its establishment event. */
interface SigningEnd extends PairEnd {
  readonly keys: readonly VerificationKey[];
  readonly signingThreshold: ThresholdForm;
}

export interface LocalEnd extends SigningEnd {
  /** Seed of the ML-KEM-1024 key in the own `tun` record, 64 bytes; it stays the caller's. */
  readonly mlKemSeed: Secret;
  /** Signs with the current KEL keys, indexes ascending. */
  sign(message: Uint8Array): Promise<readonly PairSignature[]>;
}

export interface OtherEnd extends SigningEnd {
  /** ML-KEM-1024 key in the peer's sealed `tun` record, 1,568 bytes. */
  readonly mlKemPublicKey: Uint8Array;
}

/** True when `signatures` over `message` satisfy `threshold` of `keys`, no key counted twice. */
export type VerifyPairSignatures = (
  keys: readonly VerificationKey[],
  threshold: ThresholdForm,
  message: Uint8Array,
  signatures: readonly PairSignature[],
) => boolean;

export interface AgreementDeps {
  readonly suite: CryptoSuite;
  readonly rng: Rng;
  readonly verifySignature: VerifyPairSignatures;
}

/** Both ends as this end sees them, from verified logs and sealed records only. */
export interface AgreementEnds {
  readonly mesh: string;
  readonly local: LocalEnd;
  readonly peer: OtherEnd;
}

/** A confirmed agreement: the other end proved its identity and that it derived the same keys. */
export interface Agreement extends AgreementPolicy {
  /** Transcript hash, 32 bytes: the public name of this agreement, the same on both ends. */
  readonly th: Uint8Array;
  readonly pair: AgreementPair;
  /** chain(0), 32 bytes, the key of the base epoch; whoever holds the agreement disposes of it. */
  readonly chain: Secret;
}

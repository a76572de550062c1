/** Signatures that are verified before they are asked for: many in one go, by one thread or by several. */
import type { VerificationKey } from '#kel/identifiers';
import type { VerifySignature } from '#kel/state/key-signatures';

export interface SignatureCheck {
  readonly key: VerificationKey;
  readonly signature: Uint8Array;
  readonly message: Uint8Array;
}

/** What does the work of a batch. One batch at a time is under way. */
export interface BatchRunner {
  /** Begins; the bytes do not change before `finish` has returned. */
  start(checks: readonly SignatureCheck[]): void;
  /** The results of the batch that was started last, in its order; undefined for a check that was not made. */
  finish(): readonly (boolean | undefined)[];
}

/** Everything on this thread, when it is asked for. */
export class SerialBatchRunner implements BatchRunner {
  readonly #verifySignature: VerifySignature;
  #checks: readonly SignatureCheck[] = [];

  constructor(verifySignature: VerifySignature) {
    this.#verifySignature = verifySignature;
  }

  start(checks: readonly SignatureCheck[]): void {
    this.#checks = checks;
  }

  finish(): readonly boolean[] {
    return this.#checks.map(({ key, signature, message }) =>
      this.#verifySignature(key, signature, message),
    );
  }
}

/** The results of one batch, by the very arrays that were checked. */
export class BatchResults {
  readonly #checks: readonly SignatureCheck[];
  readonly #results: readonly (boolean | undefined)[];
  /** Asked next, if all are asked in their order, as nearly always. */
  #next = 0;
  #indices: Map<Uint8Array, number> | undefined;

  constructor(checks: readonly SignatureCheck[], results: readonly (boolean | undefined)[]) {
    this.#checks = checks;
    this.#results = results;
  }

  /** undefined when exactly this was not part of the batch. */
  find(key: VerificationKey, signature: Uint8Array, message: Uint8Array): boolean | undefined {
    const index =
      this.#checks[this.#next]?.signature === signature ? this.#next : this.#indexOf(signature);
    const check = index === undefined ? undefined : this.#checks[index];
    if (index === undefined || check?.key !== key || check.message !== message) return undefined;
    this.#next = index + 1;
    return this.#results[index];
  }

  #indexOf(signature: Uint8Array): number | undefined {
    this.#indices ??= new Map(this.#checks.map((check, index) => [check.signature, index]));
    return this.#indices.get(signature);
  }
}

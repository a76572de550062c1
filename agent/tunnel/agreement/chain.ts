/**
 * The chain of epoch keys (DESIGN 5), 32 bytes each:
 *
 *   chain(0)   = HKDF-Expand(root, "chain")        counts for the base epoch
 *   chain(e+1) = HKDF-Expand(chain(e), "next")
 *   psk(e)     = HKDF-Expand(chain(e), "psk")
 *
 * Whoever learns chain(e) learns every later key and no earlier one.
 */
import { hkdfExpand } from '#src/crypto/hash';
import { chainNext, chainPsk, chainStart } from '#src/crypto/labels';
import { Secret } from '#src/secret';
import { AgreementError } from './errors.ts';

const KEY_LENGTH = 32;

/** Steps that one call takes: over four months of 2-minute epochs, well under a second of CPU. */
export const MAX_EPOCH_STEPS = 100_000;

export interface ChainPosition {
  readonly epoch: number;
  readonly chain: Secret;
}

/** @param root 32 bytes, left to the caller */
export function startChain(root: Secret): Secret {
  return expand(root, chainStart);
}

/** The WireGuard preshared key of the epoch to which `chain` belongs, 32 bytes. */
export function presharedKey(chain: Secret): Secret {
  return expand(chain, chainPsk);
}

/**
 * The chain at `epoch`. Takes `position` over: its key is erased unless it is the one returned.
 * @throws AGREEMENT_EPOCH_PAST, AGREEMENT_EPOCH_FAR; `position` stays as it was then
 */
export function chainAt(position: ChainPosition, epoch: number): ChainPosition {
  if (!Number.isSafeInteger(epoch) || epoch < position.epoch) {
    throw new AgreementError(
      'AGREEMENT_EPOCH_PAST',
      `epoch ${epoch}: the chain stands at ${position.epoch}`,
      {
        fields: { asked: epoch, held: position.epoch },
      },
    );
  }
  if (epoch - position.epoch > MAX_EPOCH_STEPS) {
    throw new AgreementError(
      'AGREEMENT_EPOCH_FAR',
      `epoch ${epoch}: more than ${MAX_EPOCH_STEPS} after ${position.epoch}`,
      {
        fields: { asked: epoch, held: position.epoch },
      },
    );
  }
  let { chain } = position;
  for (let at = position.epoch; at < epoch; at++) {
    const next = expand(chain, chainNext);
    chain[Symbol.dispose]();
    chain = next;
  }
  return { epoch, chain };
}

function expand(key: Secret, info: Uint8Array): Secret {
  return Secret.take(hkdfExpand(key.expose(), info, KEY_LENGTH));
}

/** Receipts (`rct`): a witness states that an event is the first that it has seen at its place of the log. */
import { encodeBody } from '#kel/cesr/body';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeMatter } from '#kel/cesr/matter';
import { ED25519_SIGNATURE, P256_SIGNATURE } from '#kel/cesr/matter-codes';
import type { Aid, Said } from '#kel/identifiers';
import type { SerializationKind } from '#kel/key-state/key-state';
import { concatBytes, utf8 } from '#src/bytes';
import type { KeyAlgorithm } from './verification-key.ts';

export interface Receipt {
  /** The event that is receipted. */
  readonly aid: Aid;
  readonly sn: number;
  readonly said: Said;
  readonly kind: SerializationKind;
  /** Non-transferable AID of the witness: its own key. */
  readonly witness: Aid;
  readonly algorithm: KeyAlgorithm;
  /** 64 bytes, over the bytes of the event. */
  readonly signature: Uint8Array;
}

/** The message `rct` with one couple (`-C`): right whatever the place of the witness in the list. */
export function encodeReceipt({
  aid,
  sn,
  said,
  kind,
  witness,
  algorithm,
  signature,
}: Receipt): Uint8Array {
  const body = encodeBody('KERI', kind, [
    ['t', 'rct'],
    ['d', said],
    ['i', aid],
    ['s', sn.toString(16)],
  ]);
  const code = algorithm === 'p256' ? P256_SIGNATURE : ED25519_SIGNATURE;
  return concatBytes(body, utf8(encodeCounter('C', 1) + witness + encodeMatter(code, signature)));
}

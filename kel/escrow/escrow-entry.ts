/** A waiting message as it stands on disk. */
import type { Aid, Said } from '#kel/identifiers';
import type { EscrowCode } from '#kel/state/decision';
import { concatBytes, uint32be } from '#src/bytes';
import { decodeJson, encodeJson } from '#src/store/json-value';
import type { EscrowedMessage } from './timed-escrow.ts';

/** Length of the header, header, message. */
export function encodeEscrowed({ ordinal: _key, message, ...header }: EscrowedMessage): Uint8Array {
  const encoded = encodeJson(header);
  return concatBytes(uint32be(encoded.length), encoded, message);
}

export function decodeEscrowed(ordinal: number, value: Uint8Array): EscrowedMessage {
  const length = new DataView(value.buffer, value.byteOffset).getUint32(0);
  const { code, aid, sn, said, since } = decodeJson(value.subarray(4, 4 + length)) as {
    code: EscrowCode;
    aid: Aid;
    sn: number;
    said: Said;
    since: number;
  };
  return { ordinal, code, aid, sn, said, since, message: value.slice(4 + length) };
}

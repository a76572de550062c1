/**
 * A `tun` record of version 2 proves that its issuer holds the WireGuard keys that it names: each signs the record (XEdDSA), so
 * that anybody can check it, now and from evidence, and nobody takes a key by naming it.
 */
import { tunnelKeyProofLabel } from '#src/crypto/labels';
import { verifyXEdDsa } from '#src/crypto/xeddsa';
import { decodeRecordBody, encodeRecordBody } from './cbor.ts';
import { RecordError } from './errors.ts';
import type { TunRecord } from './record.ts';
import type { WireMap } from './schema.ts';

const PROOF_LENGTH = 64;
const BLANK_SAID = '#'.repeat(44);

/** What signs with the private keys of a record; `st` where it names a static device. */
export interface PossessionProver {
  /** @param message of `possessionMessage`  @returns XEdDSA signature, 64 bytes */
  wg(message: Uint8Array): Uint8Array;
  st?(message: Uint8Array): Uint8Array;
}

/** The body with its SAID as `#`, and each proof as 64 zeros; under a label of its own. */
function possessionMessage(body: WireMap): Uint8Array {
  const blank = new Uint8Array(PROOF_LENGTH);
  const blanked = withProofs(body, blank, blank);
  return tunnelKeyProofLabel(encodeRecordBody(new Map([...blanked, ['d', BLANK_SAID]])));
}

/** @param body of version 2, its version string final  @returns with the proofs in `x` */
export function prove(body: WireMap, prover: PossessionProver): WireMap {
  const message = possessionMessage(body);
  return withProofs(body, prover.wg(message), prover.st?.(message));
}

/** @param body with `x`  @returns with room for the proofs, so that it has its final length */
export function withRoomForProofs(body: WireMap): WireMap {
  const blank = new Uint8Array(PROOF_LENGTH);
  return withProofs(body, blank, blank);
}

/**
 * Of a record of version 1 there is nothing to check: who holds the key shows in the handshake.
 * @param bytes body of `record`  @throws RECORD_NOT_POSSESSED
 */
export function expectPossession(record: TunRecord, bytes: Uint8Array): void {
  const { x } = record;
  if (x === undefined) return;
  const message = possessionMessage(decodeRecordBody(bytes));
  if (x.pop === undefined || !verifyXEdDsa(record.wg, message, x.pop))
    throw notPossessed(record, 'wg', x.pop);
  if (x.st !== undefined && !verifyXEdDsa(x.st.wg, message, x.st.pop))
    throw notPossessed(record, 'x.st.wg', x.st.pop);
}

function withProofs(body: WireMap, pop: Uint8Array, staticPop: Uint8Array | undefined): WireMap {
  const x = new Map(body.get('x') as WireMap);
  const st = x.get('st') as WireMap | undefined;
  if (st !== undefined && staticPop !== undefined)
    x.set('st', new Map([...st, ['pop', staticPop]]));
  const names = [...x.keys(), 'pop'].sort();
  x.set('pop', pop);
  return new Map([...body, ['x', new Map(names.map((name) => [name, x.get(name)]))]]);
}

function notPossessed(record: TunRecord, key: string, got: unknown): RecordError {
  return new RecordError(
    'RECORD_NOT_POSSESSED',
    `record ${record.d}: expected a signature by its WireGuard key ${key}, got ${got === undefined ? 'none' : 'one that does not verify'}`,
    { fields: { key } },
  );
}

/** Records as a later version of this program may issue them: nothing is wrong with them, and nobody here understands them. */
import { blake3Digest } from '#kel/cesr/digest';
import { formatVersion } from '#kel/cesr/version';
import type { Aid, Said } from '#kel/identifiers';
import { buildRecord } from '#kel/record/build';
import { decodeRecordBody, encodeRecordBody } from '#kel/record/cbor';
import { dt, salt, samples } from './record-samples.ts';

/** An acknowledgement with an extension that must be understood. */
export function criticalRecord(aid: Aid): { readonly bytes: Uint8Array; readonly said: Said } {
  return changed(aid, { x: new Map([['later', true]]), cr: ['later'] });
}

/** Of a type that came later. */
export function newTypeRecord(aid: Aid): { readonly bytes: Uint8Array; readonly said: Said } {
  return changed(aid, { t: 'new' });
}

function changed(aid: Aid, fields: object): { readonly bytes: Uint8Array; readonly said: Said } {
  const extensions = { x: {}, cr: [] };
  const { bytes } = buildRecord('ack', { aid, salt, dt, fields: samples.ack, extensions });
  const body = new Map<string, unknown>([...decodeRecordBody(bytes), ...Object.entries(fields)]);
  body.set('d', '#'.repeat(44));
  const size = encodeRecordBody(body).length;
  body.set('v', formatVersion({ protocol: 'KMSH', major: 2, kind: 'CBOR', size }));
  const said = blake3Digest(encodeRecordBody(body)) as Said;
  return { bytes: encodeRecordBody(body.set('d', said)), said };
}

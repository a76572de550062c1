/** Records of version 2, each type with every extension that is known and one that is not: `fixtures/records/version-2.json`. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { verifySaid } from '#kel/cesr/said';
import { decodeRecordBody, encodeRecordBody } from '#kel/record/cbor';
import { expectPossession } from '#kel/record/possession';
import type { AnyRecord, RecordType } from '#kel/record/record';
import type { FieldSchema, WireMap } from '#kel/record/schema';
import { recordSchemas } from '#kel/record/schemas';
import { sampleExtensions } from '../support/kit/record-samples.ts';

interface Row {
  readonly type: RecordType;
  readonly said: string;
  readonly critical: readonly string[];
  readonly body: string;
}

const path = new URL('../../fixtures/records/version-2.json', import.meta.url);
const { rows } = JSON.parse(readFileSync(path, 'utf8')) as { readonly rows: readonly Row[] };

describe('records of version 2, by vectors', () => {
  it('are there for every type', () => {
    assert.deepEqual(
      rows.map(({ type }) => type).toSorted(),
      Object.keys(recordSchemas[2]).toSorted(),
    );
  });

  for (const { type, said, critical, body } of rows)
    it(`${type}: reads, has its SAID, and encodes to the same bytes`, () => {
      const bytes = new Uint8Array(Buffer.from(body, 'hex'));
      const fields = decodeRecordBody(bytes);
      const schema = recordSchemas[2][type] as FieldSchema<AnyRecord>;
      const record = schema.parse(fields, '');
      assert.equal(record.d, said);
      verifySaid(bytes, fields as Parameters<typeof verifySaid>[1]);
      assert.deepEqual(record.cr, critical);
      assert.deepEqual(
        Object.keys(record.x ?? {}),
        [...Object.keys(sampleExtensions[type]), 'later'].sort(),
      );
      assert.deepEqual(encodeRecordBody(schema.wire(record) as WireMap), bytes);
      if (record.t === 'tun') expectPossession(record, bytes);
    });

  it('prove possession with these signatures, and with no bit of them changed', () => {
    const { body } = rows.find(({ type }) => type === 'tun') as Row;
    const bytes = Buffer.from(body, 'hex');
    const { wg, x } = recordSchemas[2].tun.parse(decodeRecordBody(bytes), '');
    for (const part of [wg, x?.pop, x?.st?.wg, x?.st?.pop, x?.rp?.h]) {
      assert.ok(part);
      const changed = Buffer.from(bytes);
      const at = changed.indexOf(part) + 5;
      changed[at] = (changed[at] as number) ^ 1;
      const record = recordSchemas[2].tun.parse(decodeRecordBody(changed), '');
      assert.throws(() => expectPossession(record, changed), { code: 'RECORD_NOT_POSSESSED' });
    }
  });
});

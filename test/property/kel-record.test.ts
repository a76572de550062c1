import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { decodeMatter } from '#kel/cesr/matter';
import type { Aid } from '#kel/identifiers';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import { type ParsedRecord, parseRecord } from '#kel/record/parse';
import type { RecordFields, RecordType, TunnelProofFields } from '#kel/record/record';
import {
  aid,
  dateTime,
  extensionsOf,
  recordFields,
  said,
} from '../support/kit/record-arbitraries.ts';

const types = Object.keys(recordFields) as RecordType[];

const signatures = fc.array(
  fc.record({
    index: fc.nat(80),
    raw: fc.uint8Array({ minLength: 64, maxLength: 64 }),
    algorithm: fc.constantFrom('ed25519' as const, 'p256' as const),
    currentOnly: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4 },
);

const group = fc.record({ aid, sn: fc.nat(), said, signatures });

/** A record message of any type, with signatures that only look like such. */
const message = fc
  .constantFrom(...types)
  .chain((type) =>
    fc.record({
      type: fc.constant(type),
      aid,
      salt: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      dt: dateTime,
      fields: recordFields[type] as fc.Arbitrary<RecordFields[RecordType]>,
      extensions: fc.option(extensionsOf(type)),
      groups: fc.array(group, type === 'tup' ? two : one),
    }),
  )
  .map(({ type, aid, salt, dt, fields, extensions, groups }) => {
    const issuer = type === 'tup' ? (fields as TunnelProofFields).a.i : aid;
    const { bytes, said } = buildRecord(type, {
      aid: issuer,
      salt,
      dt,
      fields,
      ...(extensions === null ? {} : { extensions }),
    });
    return { bytes, said, message: encodeSignedRecord(bytes, groups) };
  });

const one = { minLength: 1, maxLength: 1 };
const two = { minLength: 2, maxLength: 2 };

/** Builds the message again from what parsing found. */
function reencode({ record, signers }: ParsedRecord): Uint8Array {
  const { v: _version, t, d: _said, u, i, dt, x, cr, ...fields } = record;
  const { bytes } = buildRecord(t as RecordType, {
    aid: i as Aid,
    salt: decodeMatter(u).raw,
    dt,
    fields: fields as RecordFields[RecordType],
    ...(x === undefined || cr === undefined ? {} : { extensions: { x, cr } }),
  });
  return encodeSignedRecord(
    bytes,
    signers.map(({ signatures, ...signer }) => ({
      ...signer,
      signatures: signatures.map(({ ondex, ...signature }) =>
        ondex === undefined ? signature : { ...signature, ondex },
      ),
    })),
  );
}

function accepted(bytes: Uint8Array): ParsedRecord | undefined {
  try {
    return parseRecord(bytes);
  } catch (error) {
    assert.match(String((error as { code?: unknown }).code), /^RECORD_/);
    return undefined;
  }
}

describe('record messages, any', () => {
  it('parse to what was built, and encode to the same bytes', () => {
    fc.assert(
      fc.property(message, ({ bytes, said, message }) => {
        const parsed = parseRecord(message);
        assert.equal(parsed.record.d, said);
        assert.deepEqual(parsed.bytes, bytes);
        assert.deepEqual(reencode(parsed), message);
      }),
      { numRuns: 100 },
    );
  });

  it('never become another record by a change of bytes', () => {
    const change = fc.record({ at: fc.nat(), xor: fc.integer({ min: 1, max: 255 }) });
    fc.assert(
      fc.property(
        message,
        fc.array(change, { minLength: 1, maxLength: 3 }),
        ({ bytes, message }, changes) => {
          const changed = new Uint8Array(message);
          for (const { at, xor } of changes) {
            const index = at % changed.length;
            changed[index] = (changed[index] as number) ^ xor;
          }
          const parsed = accepted(changed);
          if (parsed === undefined) return;
          // What still parses has the same body, and differs in signatures that nobody has verified.
          assert.deepEqual(parsed.bytes, bytes);
          assert.deepEqual(reencode(parsed), changed);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('do not parse when cut, extended, or joined to another', () => {
    fc.assert(
      fc.property(message, message, fc.nat(), ({ message: first }, { message: second }, cut) => {
        assert.equal(accepted(first.subarray(0, cut % first.length)), undefined);
        assert.equal(accepted(Buffer.concat([first, second])), undefined);
        assert.equal(accepted(Buffer.concat([first, Buffer.from('-')])), undefined);
      }),
      { numRuns: 50 },
    );
  });

  it('are refused with a code for arbitrary bytes', () => {
    const heads = ['', 'a66176714b4d534831304342', 'a86176714b4d534832304342'];
    const bytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(fc.constantFrom(...heads), bytes, (head, tail) => {
        assert.equal(accepted(Buffer.concat([Buffer.from(head, 'hex'), tail])), undefined);
      }),
      { numRuns: 300 },
    );
  });
});

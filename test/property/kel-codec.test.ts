/** What parses encodes to the same bytes, and what is encoded parses: primitives, bodies, streams. */
import assert from 'node:assert/strict';
import { blake3 as reference } from '@noble/hashes/blake3.js';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { encodeBody, parseBody, reencodes } from '#kel/cesr/body';
import type { BodyValue } from '#kel/cesr/body-value';
import { decodeIndexedSignature, encodeIndexedSignature, INDEXER_CODES } from '#kel/cesr/indexer';
import {
  decodeMatter,
  decodeMatterBinary,
  encodeMatter,
  encodeMatterBinary,
  encodeVariableMatter,
} from '#kel/cesr/matter';
import { MATTER_CODES } from '#kel/cesr/matter-codes';
import { type StreamItem, StreamParser } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import { parseKeyEvent } from '#kel/event/parse';
import { blake3 } from '#src/crypto/hash';
import { Organisation } from '../support/kit/key-log.ts';

const fixedCodes = [...MATTER_CODES].filter(
  ([, { rawLength, softLength }]) => rawLength !== undefined && softLength === 0,
);
const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const base64Text = (length: number) =>
  fc.string({ unit: fc.constantFrom(...BASE64), minLength: length, maxLength: length });

const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const integer = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
  fc.constantFrom(
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    -24,
    -25,
    -32,
    -33,
    -128,
    -129,
    2 ** 31,
    2 ** 32,
    -(2 ** 32),
  ),
);
const leaf = fc.oneof(
  text,
  integer,
  fc.boolean(),
  fc.constant(null),
  fc.double({ noInteger: true, noNaN: true, noDefaultInfinity: true }),
);
const { value } = fc.letrec<{ value: BodyValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('value'), { maxLength: 20 }),
    fc
      .array(fc.tuple(fc.oneof(text, fc.constantFrom('1', '0', '__proto__', 'v')), tie('value')), {
        maxLength: 20,
      })
      .map((entries) => new Map(entries)),
  ),
}));
const kind = fc.constantFrom('JSON' as const, 'CBOR' as const, 'MGPK' as const);

/** True when the action succeeds, false when it refuses with a code; anything else is a crash. */
function succeeds(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    assert.ok(error instanceof KelError, String(error));
    return false;
  }
}

describe('properties of the KEL codec', () => {
  it('primitives: raw bytes come back from both domains', () => {
    const codeAndRaw = fc
      .constantFrom(...fixedCodes)
      .chain(([code, { rawLength = 0 }]) =>
        fc.tuple(fc.constant(code), fc.uint8Array({ minLength: rawLength, maxLength: rawLength })),
      );
    fc.assert(
      fc.property(codeAndRaw, ([code, raw]) => {
        assert.deepEqual(decodeMatter(encodeMatter(code, raw)), { code, raw, soft: '' });
        assert.deepEqual(decodeMatterBinary(encodeMatterBinary(code, raw)), {
          code,
          raw,
          soft: '',
        });
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (raw) =>
        assert.deepEqual(decodeMatter(encodeVariableMatter('B', raw)).raw, raw),
      ),
    );
  });

  it('primitives: a text that is taken is the one that encodes', () => {
    let taken = 0;
    const candidate = fc
      .constantFrom(...MATTER_CODES.keys())
      .chain((code) =>
        fc
          .constantFrom(4, 8, 12, 24, 36, 44, 48, 88)
          .chain((length) =>
            base64Text(Math.max(0, length - code.length)).map((rest) => code + rest),
          ),
      );
    fc.assert(
      fc.property(candidate, (qb64) => {
        if (!succeeds(() => decodeMatter(qb64))) return;
        const { code, raw, soft } = decodeMatter(qb64);
        assert.equal(encodeMatter(code, raw, soft), qb64);
        taken++;
      }),
      { numRuns: 2000 },
    );
    assert.ok(taken > 0);
  });

  it('indexed signatures: a text that is taken is the one that encodes', () => {
    let taken = 0;
    const candidate = fc
      .constantFrom(...INDEXER_CODES.keys())
      .chain((code) =>
        fc
          .constantFrom(88, 92, 156, 160)
          .chain((length) => base64Text(length - code.length).map((rest) => code + rest)),
      );
    fc.assert(
      fc.property(candidate, (qb64) => {
        if (!succeeds(() => decodeIndexedSignature(qb64))) return;
        const { code, index, ondex, raw } = decodeIndexedSignature(qb64);
        assert.equal(
          encodeIndexedSignature({ code, index, raw, ...(ondex === undefined ? {} : { ondex }) }),
          qb64,
        );
        taken++;
      }),
      { numRuns: 2000 },
    );
    assert.ok(taken > 0);
  });

  it('bodies: what is encoded parses to the same value and bytes', () => {
    fc.assert(
      fc.property(kind, value, (of, x) => {
        const bytes = encodeBody('KMSH', of, [
          ['t', 'xxx'],
          ['x', x],
        ]);
        const body = parseBody(bytes, 'KMSH');
        assert.deepEqual(body.fields.get('x'), x);
        assert.equal(reencodes(body, bytes), true);
      }),
      { numRuns: 300 },
    );
  });

  it('bodies: changed bytes are refused, or encode to exactly the changed bytes', () => {
    const change = fc.record({ at: fc.nat(), to: fc.nat(255) });
    fc.assert(
      fc.property(
        kind,
        value,
        fc.array(change, { minLength: 1, maxLength: 3 }),
        (of, x, changes) => {
          const bytes = Buffer.from(encodeBody('KMSH', of, [['x', x]]));
          for (const { at, to } of changes) bytes[at % bytes.length] = to;
          if (succeeds(() => parseBody(bytes, 'KMSH')))
            assert.equal(reencodes(parseBody(bytes, 'KMSH'), bytes), true);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('events: no bytes crash the parser', () => {
    const org = new Organisation('property');
    const { bytes } = org.incept({ keyCount: 2 });
    fc.assert(
      fc.property(
        fc.nat(bytes.length - 1),
        fc.uint8Array({ minLength: 1, maxLength: 8 }),
        (at, patch) => {
          const changed = Buffer.from(bytes);
          changed.set(patch.subarray(0, changed.length - at), at);
          const isSame = changed.equals(bytes);
          assert.equal(
            succeeds(() => parseKeyEvent(changed)),
            isSame,
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it('BLAKE3 of short input is BLAKE3', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1100, size: 'max' }), (bytes) =>
        assert.deepEqual(blake3(bytes), reference(bytes)),
      ),
      { numRuns: 200 },
    );
  });
});

describe('properties of streams', () => {
  const org = new Organisation('stream property');
  org.incept({ kind: 'JSON' });
  org.anchor();
  org.rotate({ kind: 'CBOR' });
  org.anchor();
  const pieces = [
    ...org.steps.map(({ message }) => message),
    ...org.steps.map(({ bytes, message }) =>
      Buffer.concat([bytes, message.subarray(bytes.length + 4)]),
    ),
  ];

  /** Everything but the views into the input. */
  function items(chunks: readonly Uint8Array[]): unknown[] {
    const parser = new StreamParser();
    const found: StreamItem[] = [];
    for (const chunk of chunks) found.push(...parser.push(chunk));
    found.push(...parser.finish());
    return found.map((item) =>
      item.type === 'fault' ? item : { ...item, body: Buffer.from(item.body).toString('hex') },
    );
  }

  function cut(stream: Uint8Array, sizes: readonly number[]): Uint8Array[] {
    const chunks: Uint8Array[] = [];
    for (let at = 0, i = 0; at < stream.length; i++) {
      const size = sizes[i % sizes.length] as number;
      chunks.push(stream.subarray(at, at + size));
      at += size;
    }
    return chunks;
  }

  it('the same messages and faults wherever the input is cut', () => {
    const noise = fc.oneof(
      fc.constantFrom(...pieces),
      fc.constantFrom(...pieces),
      fc.uint8Array({ maxLength: 20 }),
      fc
        .constantFrom('\n', '-_AAABAA', '-AAB', '-VAX', '{"v":"KERI10JSON00012b_', '\u00f8')
        .map((one) => Buffer.from(one, 'latin1')),
    );
    fc.assert(
      fc.property(
        fc.array(noise, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 }),
        fc.option(fc.record({ at: fc.nat(), to: fc.nat(255) })),
        (parts, sizes, damage) => {
          const stream = Buffer.concat(parts);
          if (damage !== null && stream.length > 0) stream[damage.at % stream.length] = damage.to;
          assert.deepEqual(items(cut(stream, sizes)), items([stream]));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('every two-piece cut, and byte by byte', () => {
    const stream = Buffer.concat(pieces.slice(3, 6));
    const whole = items([stream]);
    assert.equal(whole.length, 3);
    for (let at = 0; at <= stream.length; at++)
      assert.deepEqual(items([stream.subarray(0, at), stream.subarray(at)]), whole);
    assert.deepEqual(items(cut(stream, [1])), whole);
  });
});

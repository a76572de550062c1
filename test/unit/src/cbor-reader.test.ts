/** One reader, three forms of CBOR: what each takes, and that none takes a part of a message. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { decodeCbor as decodeBody } from '#kel/cesr/cbor-body';
import { decodeMgpk, encodeMgpk } from '#kel/cesr/mgpk-body';
import { decodeRecordBody } from '#kel/record/cbor';
import { decodeCbor } from '#src/cbor';

const decoders = { message: decodeCbor, body: decodeBody, record: decodeRecordBody } as const;
type Kind = keyof typeof decoders;

const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
/** A map of one field `a`. */
const field = (value: string) => hex(`a16161${value}`);

const takes = (kind: Kind, bytes: Uint8Array): boolean => {
  try {
    decoders[kind](bytes);
    return true;
  } catch (error) {
    assert.ok(
      ['CBOR_MALFORMED', 'KEL_BAD_BODY'].includes((error as { readonly code: string }).code),
      String(error),
    );
    return false;
  }
};

describe('a reader of CBOR', () => {
  const values: Readonly<Record<string, readonly [string, readonly Kind[]]>> = {
    'a short text': ['6162', ['message', 'body', 'record']],
    'a text of 24 bytes': [`7818${'61'.repeat(24)}`, ['message', 'body', 'record']],
    'a text beyond ASCII': ['62c3a9', ['message', 'body', 'record']],
    'an integer of 32 bits': ['1affffffff', ['message', 'body', 'record']],
    'an integer of 33 bits': ['1b0000000100000000', ['message', 'body']],
    'the greatest safe integer': ['1b001fffffffffffff', ['message', 'body']],
    'one more': ['1b0020000000000000', ['body']],
    'a negative integer': ['20', ['message', 'body']],
    'the least safe integer': ['3b001ffffffffffffe', ['message', 'body']],
    'one less': ['3b001fffffffffffff', ['body']],
    false: ['f4', ['message', 'body', 'record']],
    true: ['f5', ['message', 'body', 'record']],
    null: ['f6', ['message', 'body']],
    'a float with a fraction': ['fb3ff199999999999a', ['body']],
    'a float that is an integer': ['fb3ff0000000000000', []],
    'a byte string': ['4401020304', ['message', 'record']],
    'labels out of order': ['a2616201616101', ['body', 'record']],
    'labels in order': ['a2616101616201', ['message', 'body', 'record']],
    'a label twice': ['a2616101616102', []],
    'a label that is no text': ['a10101', []],
    'a tag': ['c001', []],
    'an indefinite list': ['9f01ff', []],
    '23 in two bytes': ['1817', []],
    'a text of 23 bytes with a length of its own': [`7817${'61'.repeat(23)}`, []],
  };
  for (const [what, [encoded, kinds]] of Object.entries(values))
    for (const kind of Object.keys(decoders) as Kind[])
      it(`${kinds.includes(kind) ? 'takes' : 'refuses'} ${what} in a ${kind}`, () => {
        assert.equal(takes(kind, field(encoded)), kinds.includes(kind));
      });

  it('takes a message whole or not at all, wherever it is cut', () => {
    for (const [what, [encoded, kinds]] of Object.entries(values))
      for (const kind of kinds) {
        const whole = field(encoded);
        for (let length = 0; length < whole.length; length++)
          assert.ok(!takes(kind, whole.subarray(0, length)), `${what}, ${length} bytes, ${kind}`);
      }
    // The head of a longer text, at the very end: its length is what is cut.
    for (const kind of Object.keys(decoders) as Kind[]) assert.ok(!takes(kind, field('78')), kind);
  });

  it('follows the levels of its form and no more', () => {
    for (const [kind, most] of [
      ['message', 16],
      ['body', 32],
      ['record', 8],
    ] as const) {
      const nested = (levels: number) => field(`${'81'.repeat(levels - 1)}01`);
      assert.ok(takes(kind, nested(most)), kind);
      assert.ok(!takes(kind, nested(most + 1)), kind);
    }
  });
});

it('a reader of MessagePack takes a body whole or not at all', () => {
  const text = 'x'.repeat(40);
  const whole = encodeMgpk(
    new Map<string, string | readonly number[]>([
      [text, [1, 300]],
      ['b', text],
    ]),
  );
  assert.equal(decodeMgpk(whole).size, 2);
  for (let length = 0; length < whole.length; length++)
    assert.throws(() => decodeMgpk(whole.subarray(0, length)), { code: 'KEL_BAD_BODY' });
});

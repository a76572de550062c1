import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { AgreementError } from '#agent/tunnel/agreement/errors';
import {
  decodeGreeting,
  decodeRefusal,
  encodeGreeting,
  encodeRefusal,
} from '#agent/tunnel/agreement/frames';
import {
  decodeMessage1,
  decodeMessage2,
  decodeMessage3,
  encodeMessage1,
  encodeMessage2,
  encodeMessage3,
} from '#agent/tunnel/agreement/messages';
import { requiredContributions } from '#agent/tunnel/agreement/policy';
import type { PairTerms } from '#agent/tunnel/agreement/terms';
import type { Aid, Said } from '#kel/identifiers';
import { equalBytes } from '#src/bytes';

/** Encodes what it decodes, for any frame. */
interface Codec {
  readonly name: string;
  readonly valid: fc.Arbitrary<Uint8Array>;
  reencode(bytes: Uint8Array): Uint8Array;
}

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const signatures = fc
  .uniqueArray(fc.integer({ min: 0, max: 63 }), { minLength: 1, maxLength: 64 })
  .chain((indexes) =>
    fc.tuple(
      ...indexes.toSorted((a, b) => a - b).map((index) => bytes(64).map((raw) => ({ index, raw }))),
    ),
  );
const qualified = (length: number) =>
  fc
    .array(fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'), {
      minLength: length,
      maxLength: length,
    })
    .map((letters) => letters.join(''));
const end = (aid: string) =>
  fc.record({
    aid: fc.constant(aid as Aid),
    establishment: fc.record({
      sn: fc.maxSafeNat(),
      said: qualified(44).map((text) => text as Said),
    }),
    tunnelRecord: qualified(44).map((text) => text as Said),
  });
const terms: fc.Arbitrary<PairTerms> = fc
  .uniqueArray(qualified(44), { minLength: 2, maxLength: 2 })
  .chain((aids) => {
    const [lower, higher] = aids.toSorted() as [string, string];
    return fc.record({
      mesh: qualified(44),
      initiator: end(lower),
      responder: end(higher),
      policy: fc.record({
        contributions: fc.constant([...requiredContributions]),
        epochSeconds: fc.integer({ min: 120, max: 86_400 }),
        baseEpoch: fc.integer({ min: 0, max: 100_000_000 }),
      }),
    });
  });

const codecs: readonly Codec[] = [
  {
    name: 'message 1',
    valid: fc
      .record({ x25519: bytes(32), ephemeralKem: bytes(1568), ctResponder: bytes(1568) })
      .map(encodeMessage1),
    reencode: (frame) => encodeMessage1(decodeMessage1(frame)),
  },
  {
    name: 'message 2',
    valid: fc
      .record({
        x25519: bytes(32),
        ctInitiator: bytes(1568),
        ctEphemeral: bytes(1568),
        signatures,
        mac: bytes(32),
      })
      .map(encodeMessage2),
    reencode: (frame) => encodeMessage2(decodeMessage2(frame)),
  },
  {
    name: 'message 3',
    valid: fc.record({ signatures, mac: bytes(32) }).map(encodeMessage3),
    reencode: (frame) => encodeMessage3(decodeMessage3(frame)),
  },
  {
    name: 'greeting',
    valid: terms.map(encodeGreeting),
    reencode: (frame) => encodeGreeting(decodeGreeting(frame)),
  },
  {
    name: 'refusal',
    valid: terms.map(({ initiator, responder }) =>
      encodeRefusal({ code: 'AGREEMENT_STALE_VIEW', held: { initiator, responder } }),
    ),
    reencode: (frame) => encodeRefusal(decodeRefusal(frame)),
  },
];

const runs = { numRuns: process.env['SLOW'] === '1' ? 5000 : 150 };

describe('agreement frames (properties)', () => {
  for (const { name, valid, reencode } of codecs) {
    it(`${name}: what is encoded decodes to the same bytes`, () => {
      fc.assert(
        fc.property(valid, (frame) => {
          assert.ok(equalBytes(reencode(frame), frame));
        }),
        runs,
      );
    });

    it(`${name}: changed bytes are refused with a code or re-encode identically`, () => {
      const change = fc.record({
        at: fc.nat(),
        value: fc.nat(255),
        cut: fc.option(fc.nat(), { nil: undefined }),
        tail: fc.uint8Array({ maxLength: 3 }),
      });
      fc.assert(
        fc.property(valid, change, (frame, { at, value, cut, tail }) => {
          const kept = cut === undefined ? frame : frame.subarray(0, cut % (frame.length + 1));
          const changed = Uint8Array.of(...kept, ...tail);
          if (changed.length > 0) changed[at % Math.min(changed.length, 64)] = value;
          checkStrict(reencode, changed);
        }),
        runs,
      );
    });

    it(`${name}: arbitrary bytes are refused with a code or re-encode identically`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 512 }), (frame) => checkStrict(reencode, frame)),
        runs,
      );
    });
  }
});

function checkStrict(reencode: Codec['reencode'], frame: Uint8Array): void {
  let again: Uint8Array;
  try {
    again = reencode(frame);
  } catch (error) {
    assert.ok(error instanceof AgreementError, `expected an AgreementError, got ${error}`);
    return;
  }
  assert.ok(equalBytes(again, frame));
}

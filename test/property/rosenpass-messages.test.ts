import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { shake256 } from '#src/rosenpass/keyed-hash';
import {
  authenticatedPart,
  formatMessage,
  macOf,
  parseMessage,
  type RosenpassMessage,
} from '#src/rosenpass/messages';

const CIPHERTEXT_LENGTH = 188;
const mac = (bytes: Uint8Array) => shake256(bytes).slice(0, 16);
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const record = <K extends string, M extends object>(
  kind: K,
  fields: { [F in keyof M]: fc.Arbitrary<M[F]> },
) =>
  fc.record({ kind: fc.constant(kind), ...fields }, { noNullPrototype: true }) as fc.Arbitrary<
    M & { readonly kind: K }
  >;

const messages: fc.Arbitrary<Exclude<RosenpassMessage, { kind: 'cookie-reply' }>> = fc.oneof(
  record('init-hello' as const, {
    sidi: bytes(4),
    ephemeralKey: bytes(800),
    staticCiphertext: bytes(CIPHERTEXT_LENGTH),
    sealedPeerId: bytes(48),
    auth: bytes(16),
  }),
  record('resp-hello' as const, {
    sidr: bytes(4),
    sidi: bytes(4),
    ephemeralCiphertext: bytes(768),
    staticCiphertext: bytes(CIPHERTEXT_LENGTH),
    auth: bytes(16),
    biscuit: bytes(116),
  }),
  record('init-conf' as const, {
    sidi: bytes(4),
    sidr: bytes(4),
    biscuit: bytes(116),
    auth: bytes(16),
  }),
  record('empty-data' as const, {
    sid: bytes(4),
    counter: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    auth: bytes(16),
  }),
);

describe('datagrams of Rosenpass, any', () => {
  it('parse to what was formatted, with its MAC over all before it', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const datagram = formatMessage(message, mac);
        assert.deepEqual(parseMessage(datagram, CIPHERTEXT_LENGTH), message);
        assert.deepEqual(macOf(datagram), mac(authenticatedPart(datagram)));
      }),
      { numRuns: 50 },
    );
  });

  it('that parse format to the same bytes, but for what nobody looks at', () => {
    const lengths = fc.constantFrom(1092, 1132, 176, 64, 1060, 1100, 0, 1, 35, 36);
    const any = lengths.chain((length) =>
      fc.tuple(bytes(length), fc.integer({ min: 0x80, max: 0x88 })),
    );
    fc.assert(
      fc.property(any, ([datagram, type]) => {
        if (datagram.length > 0) datagram[0] = type;
        const message = parseMessage(datagram, CIPHERTEXT_LENGTH);
        if (message === undefined || message.kind === 'cookie-reply') return;
        const again = formatMessage(message, () => macOf(datagram));
        // Reserved bytes and the cookie.
        const seen = datagram.slice();
        seen.fill(0, 1, 4).fill(0, -16);
        assert.deepEqual(again, seen);
      }),
      { numRuns: 200 },
    );
  });

  it('of the lengths of round 4 are none here', () => {
    for (const [type, length] of [
      [0x81, 1060],
      [0x82, 1100],
    ] as const) {
      const datagram = new Uint8Array(length);
      datagram[0] = type;
      assert.equal(parseMessage(datagram, CIPHERTEXT_LENGTH), undefined);
      assert.equal(parseMessage(datagram, 156)?.kind, type === 0x81 ? 'init-hello' : 'resp-hello');
    }
  });
});

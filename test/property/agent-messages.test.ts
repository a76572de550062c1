import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { formatInvite, parseInvite } from '#agent/mesh/membership/invite';
import {
  decodeSyncMessage,
  encodeSyncMessage,
  MAX_HEADS,
  MAX_RECORDS,
  type SyncMessage,
} from '#agent/mesh/sync/messages';
import type { PeerAddress } from '#agent/network/network';
import {
  decodeProofMessage,
  encodeProofMessage,
  type ProofMessage,
} from '#agent/tunnel/proof/messages';
import { issuerOf } from '#kel/event/issuer-of';
import type { Aid, Said } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';

const said = fc.stringMatching(/^E[A-P][A-Za-z0-9_-]{42}$/) as fc.Arbitrary<Said>;
const aid = fc.stringMatching(/^[EBD][A-P][A-Za-z0-9_-]{42}$/) as fc.Arbitrary<Aid>;
const bytes = fc.uint8Array({ maxLength: 100 });
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const whole = fc.maxSafeNat();
const head = fc.record({ aid, sn: whole, said });
const kind = <K extends string>(name: K) => fc.constant(name);

const syncMessage: fc.Arbitrary<SyncMessage> = fc.oneof(
  fc.record({
    kind: kind('hello'),
    head,
    mesh: fc.oneof(fc.constant(''), said),
    clock: whole,
    want: whole,
  }),
  fc.record({ kind: kind('prove'), log: bytes, endpoints: bytes, want: whole }),
  fc.record({
    kind: kind('have'),
    heads: fc.array(head, { maxLength: 4 }),
    records: fc.array(said, { maxLength: 4 }),
  }),
  fc.record({
    kind: kind('give'),
    logs: fc.array(bytes, { maxLength: 4 }),
    records: fc.array(bytes, { maxLength: 4 }),
    more: fc.boolean(),
  }),
  fc.record({
    kind: kind('refuse'),
    code: fc.stringMatching(/^[A-Z_]{1,64}$/),
    revocation: bytes,
    log: bytes,
  }),
);

const signature = fc.record({
  code: fc.constantFrom('A', 'B', 'E'),
  index: fc.nat(63),
  raw: fc.uint8Array({ minLength: 64, maxLength: 64 }),
});

const proofMessage: fc.Arbitrary<ProofMessage> = fc.oneof(
  fc.record({
    kind: kind('offer'),
    end: fc.record({
      i: aid,
      s: whole,
      d: said,
      t: said,
      hs: fc.constant('2026-01-01T00:00:00.000000+00:00'),
      c: fc.record({
        o: fc.string({ maxLength: 50, unit: 'grapheme-ascii' }),
        n: whole,
        r: digest,
      }),
    }),
    nonce: digest,
  }),
  fc.record({
    kind: kind('sign'),
    record: bytes,
    signatures: fc.array(signature, { maxLength: 4 }),
  }),
  fc.record({ kind: kind('deliver'), message: bytes }),
  fc.record({ kind: kind('done') }),
);

interface Codec<T> {
  readonly name: string;
  readonly message: fc.Arbitrary<T>;
  readonly code: string;
  encode(message: T): Uint8Array;
  decode(encoded: Uint8Array): T;
}

const sync: Codec<SyncMessage> = {
  name: 'sync',
  message: syncMessage,
  code: 'SYNC_BAD_MESSAGE',
  encode: encodeSyncMessage,
  decode: decodeSyncMessage,
};
const proof: Codec<ProofMessage> = {
  name: 'tunnel proof',
  message: proofMessage,
  code: 'PROOF_BAD_MESSAGE',
  encode: encodeProofMessage,
  decode: decodeProofMessage,
};

/** One value somewhere in the message becomes another. */
function replaced(value: CborValue, path: readonly number[], other: CborValue): CborValue {
  const [at, ...rest] = path;
  if (at === undefined || !Array.isArray(value) || value.length === 0) return other;
  const place = at % value.length;
  return value.map((item: CborValue, i) => (i === place ? replaced(item, rest, other) : item));
}

const odd: fc.Arbitrary<CborValue> = fc.oneof(
  fc.constantFrom<CborValue>(
    null,
    true,
    -1,
    Number.MAX_SAFE_INTEGER,
    '',
    [],
    new Map(),
    new Uint8Array(0),
    new Uint8Array(31),
  ),
  said,
  fc.string({ maxLength: 300, unit: 'grapheme-ascii' }),
  fc.array(fc.nat(), { maxLength: 7 }),
  said.map((it): CborValue => [it]),
);

for (const { name, message, code, encode, decode } of [
  sync,
  proof,
] as unknown as readonly Codec<never>[]) {
  /** Either the error of the protocol, or bytes that would be written again. */
  const expectStrict = (encoded: Uint8Array): void => {
    let decoded: never;
    try {
      decoded = decode(encoded);
    } catch (error) {
      assert.equal((error as { code?: string }).code, code, String(error));
      return;
    }
    assert.deepEqual(encode(decoded), encoded);
  };

  describe(`${name} messages`, () => {
    it('read back as they were written', () => {
      fc.assert(
        fc.property(message, (it) => {
          const encoded = encode(it);
          assert.deepEqual(encode(decode(encoded)), encoded);
        }),
      );
    });

    it('have one form: whatever is read would be written again', () => {
      fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), expectStrict), { numRuns: 500 });
      const changed = fc.tuple(message, fc.nat(), fc.nat(7)).map(([it, at, bit]) => {
        const encoded = encode(it);
        const place = at % encoded.length;
        encoded[place] = (encoded[place] ?? 0) ^ (1 << bit);
        return encoded;
      });
      fc.assert(fc.property(changed, expectStrict), { numRuns: 1_000 });
      const confused = fc
        .tuple(message, fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), odd)
        .map(([it, path, other]) => encodeCbor(replaced(decodeCbor(encode(it)), path, other)));
      fc.assert(fc.property(confused, expectStrict), { numRuns: 1_000 });
    });

    it('are refused with a field more or less', () => {
      fc.assert(
        fc.property(message, (it) => {
          const fields = decodeCbor(encode(it)) as readonly CborValue[];
          for (const other of [fields.slice(0, -1), [...fields, 0]]) {
            assert.throws(() => decode(encodeCbor(other)), { code });
          }
        }),
        { numRuns: 50 },
      );
    });
  });
}

describe('sync messages', () => {
  const bad = { code: 'SYNC_BAD_MESSAGE' };
  const id = `EA${'x'.repeat(42)}`;

  it('are refused with more entries than a frame may have', () => {
    const headFields = [id, 0, id];
    assert.throws(
      () => decodeSyncMessage(encodeCbor(['have', Array(MAX_HEADS + 1).fill(headFields), []])),
      bad,
    );
    assert.throws(
      () => decodeSyncMessage(encodeCbor(['have', [], Array(MAX_RECORDS + 1).fill(id)])),
      bad,
    );
    const largest = {
      kind: 'have',
      heads: Array(MAX_HEADS).fill({ aid: id, sn: Number.MAX_SAFE_INTEGER, said: id }),
      records: Array(MAX_RECORDS).fill(id),
    } as SyncMessage;
    const encoded = encodeSyncMessage(largest);
    assert.ok(encoded.length <= 1 << 20, `${encoded.length} bytes`);
    assert.deepEqual(decodeSyncMessage(encoded), largest);
  });

  it('show nothing long of what they refuse', () => {
    for (const noise of [
      encodeCbor(['x'.repeat(10_000)]),
      encodeCbor('x'.repeat(10_000)),
      new Uint8Array(10_000),
    ]) {
      assert.throws(
        () => decodeSyncMessage(noise),
        (error: Error) => error.message.length < 100,
      );
    }
  });
});

describe('tunnel proof messages', () => {
  it('are refused with more signatures than a key list has, or with a signature in a list', () => {
    const bad = { code: 'PROOF_BAD_MESSAGE' };
    const text = (
      decodeCbor(
        encodeProofMessage({
          kind: 'sign',
          record: new Uint8Array(0),
          signatures: [{ index: 0, raw: new Uint8Array(64) }],
        }),
      ) as readonly CborValue[]
    )[2];
    const [signatureText] = text as readonly string[];
    assert.throws(
      () =>
        decodeProofMessage(encodeCbor(['sign', new Uint8Array(0), Array(65).fill(signatureText)])),
      bad,
    );
    assert.throws(
      () =>
        decodeProofMessage(encodeCbor(['sign', new Uint8Array(0), [[signatureText as string]]])),
      bad,
    );
  });
});

describe('invite lines', () => {
  const address = fc.stringMatching(
    /^(\/ip4\/192\.0\.2\.[1-9]|\/dns4\/[a-z]{1,9}\.example|\/ip6\/2001:db8::[1-9])\/tcp\/[1-9][0-9]{0,3}$/,
  ) as fc.Arbitrary<PeerAddress>;
  const addresses = fc.array(address, { minLength: 1, maxLength: 16 });
  const invite = fc.record(
    {
      mesh: said,
      governor: aid,
      addresses,
      through: fc.record({ aid, addresses }, { noNullPrototype: true }),
    },
    { requiredKeys: ['mesh', 'governor', 'addresses'], noNullPrototype: true },
  );

  it('read back as they were written', () => {
    fc.assert(
      fc.property(invite, (it) => assert.deepEqual(parseInvite(formatInvite(it)), { ...it })),
    );
  });

  it('give an invite that formats to the same line, or the error that says so', () => {
    const line = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc
        .tuple(invite, fc.nat(), fc.string({ maxLength: 2 }), fc.nat(2))
        .map(([it, at, put, cut]) => {
          const text = formatInvite(it);
          const place = at % text.length;
          return text.slice(0, place) + put + text.slice(place + cut);
        }),
    );
    fc.assert(
      fc.property(line, (text) => {
        try {
          assert.equal(formatInvite(parseInvite(text)), text.trim());
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'MESH_BAD_INVITE', String(error));
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('issuer of a gossiped message', () => {
  it('is undefined for noise, and never an error', () => {
    const json = fc
      .tuple(
        fc.constantFrom(
          '{"v":"KERI10JSON0000',
          '{"v":"KERI10CBOR0000',
          '-VAA',
          '\xa1av\x71KERI10CBOR0000',
        ),
        fc.string({ maxLength: 80 }),
      )
      .map(([a, b]) => new Uint8Array(Buffer.from(a + b, 'latin1')));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), json), (it) =>
        assert.equal(issuerOf(it), undefined),
      ),
      { numRuns: 500 },
    );
  });
});

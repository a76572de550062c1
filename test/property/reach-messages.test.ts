import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { CANDIDATE_KINDS } from '#agent/tunnel/reach/candidate';
import {
  decodeReach,
  encodeReach,
  MAX_REACH_MESSAGE,
  type ReachMessage,
} from '#agent/tunnel/reach/messages';
import type { Aid, Said } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import { probeToken } from '#src/wireguard/device-probes';
import { parseUdpEndpoint } from '#src/wireguard/values';

const text = fc.stringMatching(/^[A-Za-z0-9_-]{42}$/).map((rest) => `EA${rest}`);
const said = text as fc.Arbitrary<Said>;
const aid = text as unknown as fc.Arbitrary<Aid>;
const port = fc.integer({ min: 1, max: 65_535 });
const host = fc.oneof(
  fc.ipV4(),
  fc.uint8Array({ minLength: 2, maxLength: 2 }).map((bytes) => `2001:db8::${bytes.toHex()}`),
);
const endpoint = fc
  .tuple(host, port)
  .map(([at, number]) =>
    parseUdpEndpoint(at.includes(':') ? `[${at}]:${number}` : `${at}:${number}`),
  );
const plainHost = endpoint.map((at) => at.slice(0, at.lastIndexOf(':')).replace(/[[\]]/g, ''));
const hosts = fc.array(plainHost, { maxLength: 4 });
const token = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(probeToken);
const candidates = fc.array(
  fc.record({ kind: fc.constantFrom(...CANDIDATE_KINDS), endpoint, token }),
  { maxLength: 8 },
);
const kindOf = <K extends ReachMessage['kind']>(kind: K) => fc.constant(kind);

const message: fc.Arbitrary<ReachMessage> = fc.oneof(
  fc.record({ kind: kindOf('call'), own: said, peer: said, canProbe: fc.boolean(), candidates }),
  fc.record({
    kind: kindOf('seen'),
    seen: fc.array(fc.record({ index: fc.nat(7), source: endpoint }), { maxLength: 16 }),
  }),
  fc.record({ kind: kindOf('relay'), relay: aid, port, hosts }),
  fc.record({ kind: kindOf('none') }),
  fc.record({ kind: kindOf('taken') }),
  fc.record({ kind: kindOf('observe'), token: fc.option(token, { nil: undefined }) }),
  fc.record({ kind: kindOf('ready'), ports: fc.array(port, { maxLength: 4 }) }),
  fc.record({
    kind: kindOf('observed'),
    from: fc.option(endpoint, { nil: undefined }),
    host: fc.option(plainHost, { nil: undefined }),
    tunnels: fc.array(fc.record({ tunnelKey: said, from: endpoint }), { maxLength: 4 }),
  }),
  fc.record({ kind: kindOf('lend'), to: aid }),
  fc.record({ kind: kindOf('lent'), port, peerPort: port, hosts }),
  fc.record({ kind: kindOf('refused'), code: fc.stringMatching(/^[A-Z_]{1,64}$/) }),
);

describe('messages about ways', () => {
  it('are read as they were written, in one form, within the bound', () => {
    fc.assert(
      fc.property(message, (value) => {
        const bytes = encodeReach(value);
        assert.ok(bytes.length <= MAX_REACH_MESSAGE);
        assert.deepEqual(decodeReach(bytes), structuredClone(value));
        assert.deepEqual(encodeReach(decodeReach(bytes)), bytes);
      }),
    );
  });

  it('are refused when a byte is changed, or read as what the bytes then say', () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.nat({ max: 254 }), (value, at, delta) => {
        const bytes = encodeReach(value);
        const place = at % bytes.length;
        bytes[place] = ((bytes[place] as number) + 1 + delta) % 256;
        let read: ReachMessage | undefined;
        try {
          read = decodeReach(bytes);
        } catch (error) {
          assert.equal((error as { code: string }).code, 'REACH_BAD_MESSAGE');
        }
        if (read !== undefined) assert.deepEqual(encodeReach(read), bytes);
      }),
    );
  });

  it('are refused in any other shape', () => {
    const one = new Uint8Array(16);
    const key = `EA${'a'.repeat(42)}`;
    const shapes: readonly CborValue[] = [
      5,
      [],
      ['other'],
      ['none', 1],
      ['call', key, key, true],
      ['call', key, key, 1, []],
      ['call', key, key, true, [['lan', '192.0.2.1:1', one, 1]]],
      ['call', key, key, true, [['far', '192.0.2.1:1', one]]],
      ['call', key, key, true, [['lan', '192.0.2.1:1', one.subarray(1)]]],
      ['call', key, key, true, [['lan', '192.0.2.01:1', one]]],
      ['call', key, key, true, Array.from({ length: 9 }, () => ['lan', '192.0.2.1:1', one])],
      ['seen', [[8, '192.0.2.1:1']]],
      ['seen', [[-1, '192.0.2.1:1']]],
      ['seen', [[0, '[fe80::1%eth0]:1']]],
      ['seen', [[0]]],
      ['ready', [0]],
      ['ready', [1, 2, 3, 4, 5]],
      ['observed', 'there', null, []],
      ['observed', null, 'example.org', []],
      ['lent', 1, 65_536, []],
      ['relay', key, 1, ['[2001:db8::1]']],
      ['refused', 'no'],
    ];
    for (const shape of shapes)
      assert.throws(
        () => decodeReach(encodeCbor(shape)),
        { code: 'REACH_BAD_MESSAGE' },
        String(shape),
      );
  });
});

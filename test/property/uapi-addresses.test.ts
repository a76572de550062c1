import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { parseCidr, parseUdpEndpoint } from '#src/wireguard/values';

/** What the URL parser of the runtime makes of an IPv6 address: another writer of RFC 5952. */
const reference = (text: string): string => new URL(`http://[${text}]/`).hostname.slice(1, -1);

/** Half of the groups zero, so that runs of them occur. */
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), {
    minLength: 8,
    maxLength: 8,
  })
  .map((groups) => groups.map((group) => group.toString(16)).join(':'));

describe('addresses, for all texts', () => {
  it('IPv6 comes out as RFC 5952 says, and comes out the same again', () => {
    fc.assert(
      fc.property(fc.oneof(ipv6, fc.ipV6()), (text) => {
        const expected = reference(text);
        if (expected.startsWith('::ffff:')) return;
        const cidr = parseCidr(`${text}/128`);
        assert.equal(cidr, `${expected}/128`);
        assert.equal(parseCidr(cidr), cidr);
        const endpoint = parseUdpEndpoint(`[${text}]:51820`);
        assert.equal(endpoint, `[${expected}]:51820`);
        assert.equal(parseUdpEndpoint(endpoint), endpoint);
      }),
      { numRuns: 500 },
    );
  });

  it('a CIDR is accepted exactly when no bit is set after its prefix', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.nat(32), (address, length) => {
        const text = [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
        const hostBits = length === 32 ? 0 : address & (0xffff_ffff >>> length);
        if (hostBits === 0) assert.equal(parseCidr(`${text}/${length}`), `${text}/${length}`);
        else assert.throws(() => parseCidr(`${text}/${length}`), { code: 'WIREGUARD_BAD_VALUE' });
      }),
    );
  });
});

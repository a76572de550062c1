import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { parseDnsName } from '#src/mtls/dns-name';
import { MtlsError } from '#src/mtls/errors';
import { encodeNameConstraints, readNameBounds } from '#src/mtls/name-constraints';
import { type IpPrefix, parseIpPrefix } from '#src/net/ip-prefix';
import { constraintsOf, names } from '../../../support/kit/certificates.ts';

const { dns, uri, email, directory, ip } = names;
const zeros = (count: number) => Array<number>(count).fill(0);
const noAddress = [ip(...zeros(8)), ip(...zeros(32))];
const own = [dns('alba.example'), uri('alba.example')];
const tenOne = ip(10, 1, 0, 0, 255, 255, 0, 0);

/** Bounds, and the forms of name in which a CA with them could speak for others. */
const table: Readonly<Record<string, readonly [Uint8Array | undefined, readonly string[]]>> = {
  'no bounds at all': [undefined, ['DNS names', 'URIs', 'IP addresses']],
  'DNS names alone': [constraintsOf([dns('alba.example')]), ['URIs', 'IP addresses']],
  'DNS names and URIs': [constraintsOf(own), ['IP addresses']],
  'DNS names and addresses': [constraintsOf([dns('alba.example'), tenOne]), ['URIs']],
  'what it excludes, and nothing that it is bound to': [
    constraintsOf([], [dns('bruma.example'), ...noAddress]),
    ['DNS names', 'URIs'],
  ],
  'URIs of a domain of another': [
    constraintsOf([dns('alba.example'), uri('bruma.example')], noAddress),
    ['URIs'],
  ],
  'URIs of its own domain and of another': [
    constraintsOf([...own, uri('bruma.example')], noAddress),
    ['URIs'],
  ],
  'URIs of the domain above': [
    constraintsOf([dns('alba.example'), uri('example')], noAddress),
    ['URIs'],
  ],
  'URIs of every host': [constraintsOf([...own, uri('')], noAddress), ['URIs']],
  'DNS names of every domain': [
    constraintsOf([dns(''), uri('alba.example')], noAddress),
    ['DNS names', 'URIs'],
  ],
  'e-mail and directory names, which bind no other form': [
    constraintsOf([...own, email('alba.example'), directory('Alba')]),
    ['IP addresses'],
  ],
  'all IPv4 addresses shut out, IPv6 free': [
    constraintsOf(own, [ip(...zeros(8))]),
    ['IP addresses'],
  ],
  'a half of all IPv4 addresses shut out': [
    constraintsOf(own, [ip(0, 0, 0, 0, 128, 0, 0, 0), ip(...zeros(32))]),
    ['IP addresses'],
  ],
  'a range of all IPv4 addresses': [constraintsOf([...own, ip(...zeros(8))]), ['IP addresses']],
  'a narrow range and a wide one': [
    constraintsOf([...own, tenOne, ip(128, 0, 0, 0, 128, 0, 0, 0)]),
    ['IP addresses'],
  ],
  'a mask with holes': [
    constraintsOf([...own, tenOne, ip(10, 0, 0, 1, 255, 0, 0, 255)]),
    ['IP addresses'],
  ],
  'IPv4 addresses within IPv6': [
    constraintsOf([
      ...own,
      tenOne,
      ip(...zeros(10), 255, 255, 10, 1, 0, 0, ...zeros(16).fill(255)),
    ]),
    ['IP addresses'],
  ],
  'all three, without addresses': [constraintsOf(own, noAddress), []],
  'all three, with a range': [constraintsOf([...own, tenOne]), []],
  'all three, with hosts below the domain': [
    constraintsOf([dns('.alba.example'), dns('alba.example'), uri('.a.alba.example')], noAddress),
    [],
  ],
};

describe('the bounds of a CA', () => {
  for (const [what, [der, unbounded]] of Object.entries(table))
    it(`in every form of name that is read: ${what}`, () => {
      assert.deepEqual(readNameBounds(der).unbounded, unbounded);
    });

  it('of an own CA bind it in every form, and come back as they were given, for all ranges', () => {
    const prefixes = ['10.1.0.0/16', '192.168.7.0/24', 'fd00:1::/48', '2001:db8::/32'];
    fc.assert(
      fc.property(fc.subarray(prefixes), (ranges) => {
        const der = encodeNameConstraints(
          parseDnsName('alba.example'),
          ranges.map((range) => parseIpPrefix(range) as IpPrefix),
        );
        const { domains, ipRanges, unbounded } = readNameBounds(der);
        assert.deepEqual(
          { domains, ipRanges, unbounded },
          { domains: ['alba.example'], ipRanges: ranges, unbounded: [] },
        );
      }),
    );
  });

  it('are read or refused, whatever the bytes', () => {
    const valid = encodeNameConstraints(parseDnsName('alba.example'), []);
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.nat(255), fc.nat(8), (at, byte, cut) => {
        const bytes = valid.slice(0, valid.length - cut);
        bytes[at] = byte;
        try {
          readNameBounds(bytes);
        } catch (error) {
          assert.ok(error instanceof MtlsError, String(error));
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

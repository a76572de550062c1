import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type SubnetClaim, subnetsOf } from '#agent/tunnel/pairs/subnets';
import type { Aid } from '#kel/identifiers';
import type { Cidr } from '#src/wireguard/tunnel-driver';

const world = { overlay: 'fd12:3456:789a::/48' as Cidr, own: ['10.9.0.0/16'] };
const claim = (aid: string, pre: readonly string[], more: Partial<SubnetClaim> = {}) => ({
  aid: aid as Aid,
  gateway: { rank: 1, pre },
  permitted: pre,
  endpoints: ['192.0.2.1:51820', '[2001:db8::1]:51820', 'host.example:51820'],
  isUp: true,
  ...more,
});
const told = (...claims: readonly SubnetClaim[]) =>
  Object.fromEntries(subnetsOf(claims, world)) as Record<string, readonly string[]>;

describe('prefixes behind members', () => {
  const rows: readonly [string, string, Partial<SubnetClaim>, boolean][] = [
    ['that both the policy and the member name', '10.1.0.0/16', {}, true],
    ['of IPv6', '2001:db8:1::/48', {}, true],
    ['that the policy does not name', '10.1.0.0/16', { permitted: ['10.0.0.0/8'] }, false],
    ['while there is no tunnel to it', '10.1.0.0/16', { isUp: false }, false],
    ['that are behind this node too', '10.9.0.0/16', {}, false],
    ['within the mesh', 'fd12:3456:789a:1::/64', {}, false],
    ['around the mesh', 'fd00::/8', {}, false],
    ['around everything', '::/0', {}, false],
    ['in which the other end itself is reached', '192.0.2.0/24', {}, false],
    ['in which it is reached over IPv6', '2001:db8::/32', {}, false],
  ];
  for (const [what, prefix, more, isRouted] of rows)
    it(`are ${isRouted ? '' : 'not '}routed to it: those ${what}`, () => {
      assert.deepEqual(told(claim('a', [prefix], more)), isRouted ? { a: [prefix] } : {});
    });

  it('that several name go to the lowest rank, then to the lowest AID, whatever the order, and to the next when it is down', () => {
    const pre = ['10.1.0.0/16', '10.2.0.0/16'];
    const far = claim('a', pre, { gateway: { rank: 9, pre } });
    const near = claim('c', ['10.1.0.0/16']);
    const twin = claim('b', ['10.1.0.0/16']);
    const expected = { a: ['10.2.0.0/16'], b: ['10.1.0.0/16'] };
    assert.deepEqual(told(far, near, twin), expected);
    assert.deepEqual(told(twin, near, far), expected);
    assert.deepEqual(told(far, near, { ...twin, isUp: false }), {
      a: ['10.2.0.0/16'],
      c: ['10.1.0.0/16'],
    });
  });
});

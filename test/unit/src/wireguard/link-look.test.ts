import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { isMissingSome, parseInet6, parseRoute6, readLinkTables } from '#src/wireguard/link-look';
import type { Cidr, InterfaceName } from '#src/wireguard/tunnel-driver';

/** As Linux 6.1 prints them. */
const ADDRESSES = `fd0f61d6d4061debb74d8871a756b242 05 80 00 82 kelmesh0
00000000000000000000000000000001 01 80 10 80       lo
`;
const NONE = '0'.repeat(32);
const ROUTES = `fd0f61d6d40683e992e18db5a3a8fefd 80 ${NONE} 00 ${NONE} 00000400 00000001 00000000 00000001 kelmesh0
fd0f61d6d406d23800b44b705a8001ce 80 ${NONE} 00 ${NONE} 00000400 00000001 00000000 00000001 kelmesh1
fd0f61d6d4061debb74d8871a756b242 80 ${NONE} 00 ${NONE} 00000000 00000002 00000000 80200001 kelmesh0
`;
const name = 'kelmesh0' as InterfaceName;
const OWN = 'fd0f:61d6:d406:1deb:b74d:8871:a756:b242/128';
const FIRST = 'fd0f:61d6:d406:83e9:92e1:8db5:a3a8:fefd/128' as Cidr;
const SECOND = 'fd0f:61d6:d406:d238:b4:4b70:5a80:1ce/128' as Cidr;
const link = (addresses: readonly string[], routes: readonly Cidr[]) => ({
  up: true,
  mtu: 1_420,
  addresses,
  routes,
});

describe('a look at links', () => {
  const tables = { addresses: parseInet6(ADDRESSES), routes: parseRoute6(ROUTES), mtus: new Map() };

  it('finds what was taken from a device: an address, a route, or a route that another device has now', () => {
    assert.equal(isMissingSome(name, link([OWN], [FIRST]), tables), false);
    assert.equal(isMissingSome(name, link([OWN], [FIRST, SECOND]), tables), true);
    assert.equal(isMissingSome('kelmesh1' as InterfaceName, link([], [SECOND]), tables), false);
    assert.equal(isMissingSome('kelmesh1' as InterfaceName, link([OWN], []), tables), true);
    const flushed = { ...tables, routes: parseRoute6('') };
    assert.equal(isMissingSome(name, link([OWN], [FIRST]), flushed), true);
    assert.equal(isMissingSome(name, link([OWN], []), flushed), false);
  });

  it('finds an MTU that somebody has changed, where the kernel tells it', () => {
    const of = (mtu: number) => ({ ...tables, mtus: new Map([['kelmesh0', mtu]]) });
    assert.equal(isMissingSome(name, link([OWN], [FIRST]), of(1_420)), false);
    assert.equal(isMissingSome(name, link([OWN], [FIRST]), of(1_300)), true);
  });

  it('says nothing of IPv4, which these files do not have, and passes over what it does not know', () => {
    assert.equal(
      isMissingSome(name, link(['10.99.0.1/32'], ['10.99.0.2/32' as Cidr]), tables),
      false,
    );
    assert.equal(parseRoute6('garbage\n\n1 2 3').size, 0);
    assert.equal(parseInet6(`${ADDRESSES}half a line`).size, 2);
  });

  it('reads the files of this machine', async () => {
    const { addresses, mtus } = await readLinkTables(['lo' as InterfaceName, name]);
    assert.ok((mtus.get('lo') ?? 0) > 0);
    assert.equal(mtus.has(name), false);
    assert.ok(addresses.size > 0);
    for (const entry of addresses) assert.match(entry, /^[0-9a-f]{32}\/\d+ \S+$/);
  });
});

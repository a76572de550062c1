import assert from 'node:assert/strict';
import { BlockList, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { meshPrefix, overlayAddress, overlayRoute } from '#agent/mesh/membership/overlay-address';
import type { Aid, Said } from '#kel/identifiers';

const identifier = fc.stringMatching(/^E[A-Za-z0-9_-]{43}$/);
const mesh = `E${'m'.repeat(43)}` as Said;
const aid = `E${'a'.repeat(43)}` as Aid;

describe('overlay address', () => {
  // Interface: an address that changes with the program would cut every tunnel and every name that holds it.
  it('is what it always was', () => {
    assert.equal(meshPrefix(mesh), 'fd64:2db3:5b90::/48');
    assert.equal(overlayAddress(mesh, aid), 'fd64:2db3:5b90:cf77:e834:369e:c00b:c578');
    assert.equal(overlayRoute(mesh, aid), `${overlayAddress(mesh, aid)}/128`);
  });

  it('lies in the prefix of its mesh, which is a unique local one', () => {
    fc.assert(
      fc.property(identifier, identifier, (m, a) => {
        const [prefix = '', length] = meshPrefix(m as Said).split('/');
        const address = overlayAddress(m as Said, a as Aid);
        assert.equal(length, '48');
        assert.ok(isIPv6(prefix) && isIPv6(address) && address.startsWith('fd'));
        const within = new BlockList();
        within.addSubnet(prefix, 48, 'ipv6');
        assert.ok(within.check(address, 'ipv6'));
      }),
    );
  });

  it('is another for another AID and another mesh', () => {
    const other = `E${'b'.repeat(43)}`;
    const all = [
      overlayAddress(mesh, aid),
      overlayAddress(mesh, other as Aid),
      overlayAddress(other as Said, aid),
    ];
    assert.equal(new Set(all).size, 3);
  });
});

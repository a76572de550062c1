import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'mocha';
import type { PeerAddress, PeerKey } from '#agent/network/network';
import { RelayPlaces } from '#agent/network/relay-places';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

const self = 'self' as PeerKey;

describe('places at relays', () => {
  const stop = new Set<AbortController>();
  afterEach(() => {
    for (const one of stop) one.abort();
    stop.clear();
  });

  function world() {
    const clock = new SimulatedClock();
    const servers = new Set<PeerKey>();
    const refusing = new Set<PeerKey>();
    const given = new Set<PeerKey>();
    const asked: { readonly ms: number; readonly relay: PeerKey }[] = [];
    let changes = 0;
    const places = new RelayPlaces({
      clock,
      self,
      servers: async () => [...servers],
      has: (relay) => given.has(relay),
      reserve: async (relay) => {
        asked.push({ ms: clock.monotonic(), relay });
        if (refusing.has(relay)) throw new Error('refused');
        given.add(relay);
      },
      addressesOf: (relay) =>
        [1, 2, 3, 4, 5, 6].map((n) => `/ip4/192.0.2.${n}/tcp/1/p2p/${relay}` as PeerAddress),
      changed: () => {
        changes += 1;
      },
    });
    const ending = new AbortController();
    stop.add(ending);
    void places.run(ending.signal);
    const add = (...names: readonly string[]) => {
      for (const name of names) servers.add(name as PeerKey);
    };
    return { clock, servers, refusing, given, asked, places, add, changes: () => changes };
  }

  it('are asked for at a few relays, and announced with a few addresses each', async () => {
    const { clock, add, given, places, changes } = world();
    add('a', 'b', 'c', 'd', 'e');
    await clock.advance(1_000);
    assert.deepEqual([...given], ['a', 'b', 'c']);
    assert.equal(changes(), 3);
    const addresses = places.addresses();
    assert.equal(addresses.length, 12);
    assert.equal(addresses[0], '/ip4/192.0.2.1/tcp/1/p2p/a/p2p-circuit/p2p/self');
  });

  it('are replaced when one is lost, which is told', async () => {
    const { clock, add, given, servers, places, changes } = world();
    add('a', 'b', 'c', 'd');
    await clock.advance(1_000);
    given.delete('a' as PeerKey);
    servers.delete('a' as PeerKey);
    assert.ok(!places.addresses().some((address) => address.includes('/p2p/a/')));
    await clock.advance(1_000);
    assert.deepEqual([...given], ['b', 'c', 'd']);
    assert.equal(changes(), 5);
  });

  it('are asked for again where they were refused, with growing pauses', async () => {
    const { clock, add, refusing, asked, given } = world();
    add('a');
    refusing.add('a' as PeerKey);
    await clock.advance(600_000);
    const pauses = asked.slice(1).map(({ ms }, i) => ms - (asked[i]?.ms ?? 0));
    assert.deepEqual(pauses.slice(0, 6), [1_000, 1_000, 2_000, 4_000, 8_000, 16_000]);
    assert.equal(Math.max(...pauses), 60_000);
    refusing.clear();
    await clock.advance(60_000);
    assert.deepEqual([...given], ['a']);
  });

  it('are asked for at once when somebody comes', async () => {
    const { clock, add, asked, places } = world();
    add('a');
    await places.poke();
    assert.deepEqual(asked, [{ ms: clock.monotonic(), relay: 'a' }]);
  });
});

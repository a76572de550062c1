import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Membership } from '#agent/mesh/membership/membership';
import { Dialler } from '#agent/mesh/sync/dialler';
import { OwnEndpoints } from '#agent/mesh/sync/own-endpoints';
import { PeerDirectory } from '#agent/mesh/sync/peer-directory';
import type { Network, PeerAddress, PeerKey } from '#agent/network/network';
import type { Aid, Said } from '#kel/identifiers';
import { parseRecord } from '#kel/record/parse';
import type { EndRecord } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { createParty } from '../../../../support/kit/party.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const addressOf = (aid: string) => `/dns4/${aid}.example/tcp/1` as PeerAddress;
const governor = 'gov' as Aid;
const self = 'self' as Aid;

/** @param prepare before the first round, which is at once */
function world(
  prepare: (it: {
    state: {
      members: readonly string[];
      hanging: Set<string>;
      invited: string;
      relayed: Set<string>;
      circuits: readonly string[];
    };
    known: Set<string>;
    directory: PeerDirectory;
  }) => void = () => undefined,
) {
  const clock = new SimulatedClock();
  const start = clock.now();
  const dials: { readonly at: number; readonly to: string }[] = [];
  const directory = new PeerDirectory();
  const known = new Set(['bob', 'gov']);
  const state = {
    members: ['bob', 'gov'] as readonly string[],
    hanging: new Set<string>(),
    invited: addressOf('invite') as string,
    relayed: new Set<string>(),
    circuits: [] as readonly string[],
  };
  const network = {
    dial: (addresses: readonly PeerAddress[]) => {
      const to = addresses.join(' ');
      dials.push({ at: clock.now() - start, to });
      if ([...state.hanging].some((aid) => to.includes(aid))) return new Promise(() => undefined);
      return Promise.reject(new Error('unreachable'));
    },
    relayOf: (peer: string) => (state.relayed.has(peer) ? 'relay' : undefined),
  } as unknown as Network;
  const membership = {
    others: () => state.members.map((aid) => ({ aid })),
    governor,
    door: undefined,
    get inviteAddresses() {
      return [state.invited];
    },
  } as unknown as Membership;
  const records = {
    latest: (_type: string, aid: string) =>
      known.has(aid)
        ? { record: { la: [addressOf(aid), 'not an address', ...state.circuits] } }
        : undefined,
  } as unknown as RecordStore;
  const dialler = new Dialler({
    network,
    membership,
    directory,
    records,
    clock,
    rng: new SeededRng('dialler'),
    journal: { failed: (event, error) => assert.fail(`${event}: ${error}`) },
    self,
  });
  const stop = new AbortController();
  prepare({ state, known, directory });
  const running = dialler.run(stop.signal);
  const to = (aid: string) => dials.filter((dial) => dial.to.includes(`${aid}.example`));
  const end = async () => {
    stop.abort();
    await running;
  };
  return { clock, dials, directory, known, state, dialler, to, end };
}

describe('dialler', () => {
  it('looks for a direct way to a member that is connected through a relay, ever more seldom', async () => {
    const { clock, to, end, directory, dialler } = world(({ state, directory }) => {
      state.relayed.add('peer of bob');
      state.circuits = ['/ip4/192.0.2.1/tcp/1/p2p/relay/p2p-circuit/p2p/bob'];
      directory.bind('peer of bob' as PeerKey, 'bob' as Aid);
    });
    await clock.advance(7_200_000);
    const dials = to('bob');
    assert.deepEqual([...new Set(dials.map((dial) => dial.to))], [addressOf('bob')]);
    const pauses = dials.slice(1).map(({ at }, i) => at - (dials[i]?.at ?? 0));
    assert.ok(Math.max(...pauses) > 600_000 && Math.max(...pauses) < 1_000_000, `${pauses}`);
    // That it has no direct way is no failure to reach it.
    assert.equal(dialler.failedDial('bob' as Aid), undefined);
    dialler.resetAll();
    await clock.advance(1_000);
    assert.equal(to('bob').length, dials.length + 1);
    directory.unbind('peer of bob' as PeerKey);
    await clock.advance(2_000);
    assert.ok(to('bob').at(-1)?.to.includes('/p2p-circuit/'));
    await end();
  });

  it('tries again with growing pauses up to about a minute and a half', async () => {
    const { clock, to, end } = world();
    await clock.advance(600_000);
    const times = to('bob').map(({ at }) => at);
    const pauses = times.slice(1).map((at, i) => at - (times[i] ?? 0));
    assert.ok(times.length >= 8 && times.length <= 20, `${times.length} dials`);
    assert.ok(
      (pauses[0] ?? 0) <= 3_000 && Math.max(...pauses) <= 92_000 && Math.max(...pauses) >= 60_000,
    );
    await end();
    const before = times.length;
    await clock.advance(600_000);
    assert.equal(to('bob').length, before, 'stopped');
  });

  it('leaves those alone that are bound, and comes back when they are not', async () => {
    const { clock, directory, to, end } = world((it) =>
      it.directory.bind('p' as PeerKey, 'bob' as Aid),
    );
    await clock.advance(30_000);
    assert.equal(to('bob').length, 0);
    assert.ok(to('gov').length > 0);
    directory.unbind('p' as PeerKey);
    await clock.advance(2_000);
    assert.equal(to('bob').length, 1);
    await end();
  });

  it('is not held up by one that never answers, nor calls it twice at a time', async () => {
    const { clock, to, end } = world(({ state }) => state.hanging.add('bob'));
    await clock.advance(300_000);
    assert.equal(to('bob').length, 1);
    assert.ok(to('gov').length > 5);
    await end();
  });

  it('dials at once again when there are new addresses', async () => {
    const { clock, dialler, to, end } = world();
    await clock.advance(300_000);
    const before = to('bob').length;
    dialler.reset('bob' as Aid);
    await clock.advance(1_000);
    assert.equal(to('bob').length, before + 1);
    await end();
  });

  it('keeps asking the governor, at the addresses of the invite too, while nobody else is known', async () => {
    const { clock, known, dials, end } = world((it) => {
      it.state.members = [];
      it.known.clear();
    });
    await clock.advance(5_000);
    assert.ok(dials.length > 0);
    assert.ok(dials.every((dial) => dial.to === addressOf('invite')));
    known.add('gov');
    await clock.advance(60_000);
    assert.equal(dials.at(-1)?.to, `${addressOf('gov')} ${addressOf('invite')}`);
    await end();
  });

  it('leaves the addresses of the invite away when the governor is another peer now', async () => {
    const { clock, dials, end } = world((it) => {
      it.state.members = [];
      it.state.invited = `${addressOf('invite')}/p2p/12D3KooWformer`;
    });
    await clock.advance(5_000);
    assert.ok(dials.length > 0);
    assert.ok(dials.every((dial) => dial.to === addressOf('gov')));
    await end();
  });
});

describe('own endpoints', () => {
  async function endpoints(addresses: readonly string[], hosts: readonly string[] = []) {
    const party = await createParty('endpoints');
    const current = [...addresses];
    const ports = new Map([[`EA${'t'.repeat(42)}` as Said, { port: 51_820 }]]);
    const network = {
      self: '12D3KooWGRUVhYDu3nEjcPz8mGZVZ9xHBi1vPWGPWnS4cW9VsHGF',
      addresses: () => current,
    } as unknown as Network;
    const mesh = `EM${'m'.repeat(42)}` as Said;
    const ahead: { clock: number; time: number; version: 1 | 2 } = {
      clock: 0,
      time: 0,
      version: 1,
    };
    const clock = {
      now: () => party.clock.now() + ahead.clock,
      monotonic: () => party.clock.monotonic(),
      sleep: (ms: number) => party.clock.sleep(ms),
    };
    const time = { now: () => party.clock.now() + ahead.time };
    const own = new OwnEndpoints({
      identity: party.identity,
      network,
      issuer: party.issuer,
      clock,
      time,
      mesh: () => mesh,
      recordVersion: () => ahead.version,
      ports: () => ports,
      hosts: async () => hosts,
    });
    const record = async () =>
      parseRecord(await party.clock.run(own.current())).record as EndRecord;
    return { party, current, ports, own, record, ahead };
  }

  it('are those of version 2 as soon as the mesh writes it', async () => {
    const { record, ahead } = await endpoints(['/ip4/198.51.100.1/tcp/7400']);
    const before = await record();
    assert.equal(before.x, undefined);
    ahead.version = 2;
    const after = await record();
    assert.deepEqual([after.x, after.cr, after.la], [{}, [], before.la]);
    assert.equal((await record()).d, after.d);
  });

  it('are dated by no clock that was set: ahead they stay, and set back they are replaced', async () => {
    const { record, ahead } = await endpoints(['/ip4/198.51.100.1/tcp/7400']);
    const first = await record();
    ahead.clock = 13 * 3_600_000;
    assert.equal((await record()).d, first.d, 'what others would refuse is not made');
    // An agent that was started with a clock that is ahead: others refuse what it makes.
    const other = await endpoints(['/ip4/198.51.100.1/tcp/7400']);
    other.ahead.clock = 7_200_000;
    other.ahead.time = 7_200_000;
    const refused = await other.record();
    other.ahead.clock = 0;
    assert.notEqual((await other.record()).d, refused.d, 'it is made anew when the clock is right');
  });

  it('say where this node is reached, and are issued once until that changes', async () => {
    const { party, current, ports, own, record } = await endpoints([
      '/ip4/192.0.2.1/tcp/7400/p2p/x',
      '/ip6/2001:db8::1/tcp/7400/p2p/x',
      '/ip4/127.0.0.1/tcp/7400/p2p/x',
    ]);
    const first = await record();
    assert.deepEqual(
      first.ue.map(({ a }) => a),
      [['192.0.2.1:51820', '[2001:db8::1]:51820']],
    );
    assert.equal(first.la.length, 2);
    assert.deepEqual(await own.current(), await own.current());
    assert.equal(party.records.latest('end', party.identity.aid)?.record.d, first.d);
    current.shift();
    assert.notEqual((await record()).d, first.d);
    const second = await record();
    ports.clear();
    assert.deepEqual((await record()).ue, []);
    const third = await record();
    await party.identity.rotate();
    assert.equal((await record()).es.s, 1);
    assert.equal(new Set([first.d, second.d, third.d, (await record()).d]).size, 4);
  });

  it('are in force as they were issued last, also within one millisecond', async () => {
    const { party, current, record } = await endpoints(['/ip4/192.0.2.1/tcp/1']);
    for (let port = 2; port < 40; port++) {
      current[0] = `/ip4/192.0.2.1/tcp/${port}`;
      const issued = await record();
      assert.equal(party.records.latest('end', party.identity.aid)?.record.d, issued.d);
    }
  });

  it('are dated anew twice a day', async () => {
    const { party, record } = await endpoints(['/ip4/192.0.2.1/tcp/1']);
    const first = await record();
    await party.clock.advance(11 * 3_600_000);
    assert.equal((await record()).d, first.d);
    await party.clock.advance(3_600_000);
    assert.ok((await record()).dt > first.dt);
  });

  it('use loopback only when there is nothing else, and the configured hosts before all', async () => {
    const loopback = await endpoints(['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1']);
    assert.deepEqual((await loopback.record()).ue[0]?.a, ['127.0.0.1:51820', '[::1]:51820']);
    const configured = await endpoints(['/ip4/192.0.2.1/tcp/1'], ['203.0.113.9', '2001:db8::9']);
    assert.deepEqual((await configured.record()).ue[0]?.a, [
      '203.0.113.9:51820',
      '[2001:db8::9]:51820',
    ]);
    const many = await endpoints(Array.from({ length: 40 }, (_, i) => `/ip4/192.0.2.${i}/tcp/1`));
    const record = await many.record();
    assert.deepEqual([record.la.length, record.ue[0]?.a.length], [16, 8]);
  });
});

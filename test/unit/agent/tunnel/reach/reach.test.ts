/** Two agents look for a way between their devices, over a simulated network and models of what stands before them. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { converse } from '#agent/network/conversation';
import type { Network, PeerAddress, PeerKey } from '#agent/network/network';
import { Reach } from '#agent/tunnel/reach/reach';
import { hear, reachManners, say } from '#agent/tunnel/reach/session';
import type { Aid, Said } from '#kel/identifiers';
import { createJournal } from '#src/journal';
import { probeToken } from '#src/wireguard/device-probes';
import type {
  InterfaceName,
  ProbeToken,
  TunnelDriver,
  UdpEndpoint,
} from '#src/wireguard/tunnel-driver';
import { parseUdpEndpoint } from '#src/wireguard/values';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';
import { SimulatedWorld } from '../../../../support/simulation/simulated-network.ts';
import { SimulatedSite, type Translation } from '../../../../support/simulation/simulated-site.ts';

const DEVICE = 'km0' as InterfaceName;
const aidOf = (letter: string) => `EA${letter}`.padEnd(44, 'x') as Aid;
const keyOf = (letter: string) => `EA${letter}`.padEnd(44, 'y') as unknown as Said;
const RELAY_PORT = 51_824;

interface Member {
  readonly letter: string;
  readonly site: SimulatedSite;
  readonly network: Network;
  readonly reach: Reach;
  /** Endpoint that was written last, and how often a handshake was begun with it. */
  endpoint: UdpEndpoint | undefined;
  begun: number;
}

/** `a` and `b` behind what is named, `q` with a public address, which relays. */
class Scene {
  readonly clock = new SimulatedClock();
  readonly #rng = new SeededRng('reach');
  readonly #world = new SimulatedWorld({ clock: this.clock, rng: this.#rng });
  readonly members = new Map<string, Member>();
  readonly #expected = new Map<ProbeToken, (from: UdpEndpoint) => void>();
  readonly #stop = new AbortController();
  readonly lent: string[] = [];
  isAlive = false;
  hasProbes = true;

  async build(a: Translation, b: Translation): Promise<void> {
    this.#add('a', new SimulatedSite(a, '192.168.1.2:51820', '45.77.0.101'));
    this.#add('b', new SimulatedSite(b, '192.168.2.2:51820', '45.77.0.102'));
    this.#add('q', new SimulatedSite('none', '45.77.0.1:51820', ''));
    for (const [one, other] of [
      ['a', 'q'],
      ['b', 'q'],
      ['a', 'b'],
    ] as const)
      await this.clock.run(this.get(one).network.dial(this.get(other).network.addresses()));
    for (const { reach } of this.members.values()) reach.start(this.#stop.signal);
  }

  end(): void {
    this.#stop.abort();
  }

  get(letter: string): Member {
    const member = this.members.get(letter);
    if (member === undefined) throw new RangeError(letter);
    return member;
  }

  byPeer(peer: PeerKey): Member | undefined {
    return [...this.members.values()].find(({ network }) => network.self === peer);
  }

  #add(letter: string, site: SimulatedSite): void {
    const { clock } = this;
    const plain = this.#world.network(letter);
    const hostOf = (peer: PeerKey) => (this.byPeer(peer)?.letter === 'q' ? '45.77.0.1' : undefined);
    const addressesOf = (peer: PeerKey) => {
      const host = hostOf(peer);
      return host === undefined ? [] : [`/ip4/${host}/tcp/7400` as PeerAddress];
    };
    const network: Network = new Proxy(plain, {
      get: (target, name) => {
        if (name === 'addressesOf') return addressesOf;
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const member: Omit<Member, 'reach'> = { letter, site, network, endpoint: undefined, begun: 0 };
    const directory = {
      peerOf: (aid: Aid) =>
        [...this.members.values()].find((one) => aidOf(one.letter) === aid)?.network.self,
      aidOf: (peer: PeerKey) => {
        const found = this.byPeer(peer)?.letter;
        return found === undefined ? undefined : aidOf(found);
      },
      bound: () => plain.peers(),
    };
    const other = letter === 'a' ? 'b' : 'a';
    const reach = new Reach({
      self: aidOf(letter),
      network,
      directory,
      driver: this.#driver(site),
      clock,
      rng: this.#rng.fork(letter),
      journal: createJournal(clock, 'error', () => undefined),
      isMember: (aid) => [...this.members.keys()].some((one) => aidOf(one) === aid),
      hosts: async () => ({ own: [site.innerHost], configured: [] }),
      devices: () => [{ name: DEVICE, port: site.port }],
      tunnelsWith: async () => [],
      placeOf: (_, { own }) =>
        own === keyOf(letter) ? { name: DEVICE, port: site.port } : undefined,
      lifeOf: async () => ({ lastHandshake: 0, isAlive: this.isAlive }),
      faint: async () => [],
      apply: async (_, keys, begins) => {
        const way = reach.wayOf(aidOf(other), keys);
        const made = this.get(letter);
        made.endpoint = way?.endpoint;
        if (begins) made.begun += 1;
      },
      borrow: async () => {
        this.lent.push(letter);
        return {
          relay: aidOf('q'),
          port: RELAY_PORT,
          peerPort: RELAY_PORT + 1,
          hosts: ['45.77.0.1'],
        };
      },
      answerLend: async () => undefined,
    });
    this.members.set(letter, Object.assign(member, { reach }));
  }

  #driver(site: SimulatedSite): Pick<TunnelDriver, 'probes'> {
    return {
      probes: async (_, came) => {
        if (!this.hasProbes) return undefined;
        const own = new Set<ProbeToken>();
        return {
          expect: (token) => {
            own.add(token);
            this.#expected.set(`${site.inner} ${token}` as ProbeToken, (from) => came(token, from));
          },
          send: (token, to) => this.#send(site, token, to),
          [Symbol.dispose]: () => {
            for (const token of own) this.#expected.delete(`${site.inner} ${token}` as ProbeToken);
          },
        };
      },
    };
  }

  #send(from: SimulatedSite, token: ProbeToken, to: UdpEndpoint): void {
    const source = from.send(to);
    this.clock.schedule(10, () => {
      for (const { site } of this.members.values())
        if (site.takes(to, source))
          this.#expected.get(`${site.inner} ${token}` as ProbeToken)?.(source);
    });
  }
}

const viewAt = (letter: string) => ({
  own: keyOf(letter),
  peer: keyOf(letter === 'a' ? 'b' : 'a'),
});

async function sought(a: Translation, b: Translation, hasProbes = true): Promise<Scene> {
  const scene = new Scene();
  scene.hasProbes = hasProbes;
  await scene.build(a, b);
  for (const [letter, other] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const)
    scene.get(letter).reach.want(aidOf(other), viewAt(letter));
  return scene;
}

describe('a way is looked for', () => {
  it('and found where both keep ports: both set what the other is seen as, and begin once', async () => {
    const scene = await sought('keeps-ports', 'same-for-all');
    const [a, b] = [scene.get('a'), scene.get('b')];
    await scene.clock.runUntil(() => a.begun > 0 && b.begun > 0, 5_000);
    assert.equal(a.endpoint, '45.77.0.102:40000');
    assert.equal(b.endpoint, '45.77.0.101:51820');
    scene.isAlive = true;
    await scene.clock.advance(20_000);
    assert.deepEqual([a.begun, b.begun, scene.lent], [1, 1, []]);
    assert.equal(a.reach.wayOf(aidOf('b'), viewAt('a'))?.relay, undefined);
    scene.end();
  });

  it('and is the relay that one of the two borrows where one does not', async () => {
    const scene = await sought('keeps-ports', 'per-destination');
    const [a, b] = [scene.get('a'), scene.get('b')];
    await scene.clock.runUntil(() => a.begun > 0 && b.begun > 0, 8_000);
    assert.deepEqual(scene.lent, ['a']);
    assert.deepEqual([a.endpoint, b.endpoint], ['45.77.0.1:51824', '45.77.0.1:51825']);
    assert.equal(b.reach.wayOf(aidOf('a'), viewAt('b'))?.relay, aidOf('q'));
    scene.end();
  });

  it('without probes by trying, and over the relay when nothing shakes hands', async () => {
    const scene = await sought('keeps-ports', 'keeps-ports', false);
    const [a, b] = [scene.get('a'), scene.get('b')];
    const relayed = [a, b].map((_, n) => `45.77.0.1:${RELAY_PORT + n}`);
    const isRelayed = () => a.endpoint === relayed[0] && b.endpoint === relayed[1];
    await scene.clock.runUntil(isRelayed, 16_000);
    // What there is was tried by both ends, and the relay came last.
    assert.deepEqual([scene.lent, a.begun, b.begun], [['a'], 2, 2]);
    scene.end();
  });

  it('by nobody where a session comes by itself', async () => {
    const scene = await sought('none', 'none');
    scene.isAlive = true;
    await scene.clock.advance(20_000);
    assert.deepEqual([scene.get('a').endpoint, scene.get('b').endpoint], [undefined, undefined]);
    scene.end();
  });

  it('to no address to which nobody sends because another says so', async () => {
    const scene = await sought('none', 'none');
    const { network } = scene.get('b');
    const token = probeToken(new Uint8Array(16));
    const candidates = ['127.0.0.1:53', '224.0.0.1:1', '[fe80::1]:1'].map((text) => ({
      kind: 'own' as const,
      endpoint: parseUdpEndpoint(text),
      token,
    }));
    for (const candidate of candidates) {
      const call = { ...viewAt('b'), canProbe: true, candidates: [candidate] };
      const ask = converse(
        { network, clock: scene.clock },
        reachManners,
        scene.get('a').network.self,
        async (conversation) => {
          await say(conversation, { kind: 'call', ...call });
          return hear(conversation, 'call');
        },
      );
      await assert.rejects(scene.clock.run(ask), { code: 'NETWORK_STREAM_CLOSED' });
    }
    assert.equal(scene.get('a').endpoint, undefined);
    scene.end();
  });

  it('for members and their own keys alone', async () => {
    const scene = await sought('none', 'none');
    const { network } = scene.get('q');
    const call = { own: keyOf('q'), peer: keyOf('q'), canProbe: true, candidates: [] };
    const ask = converse(
      { network, clock: scene.clock },
      reachManners,
      scene.get('a').network.self,
      async (conversation) => {
        await say(conversation, { kind: 'call', ...call });
        return hear(conversation, 'call');
      },
    );
    await assert.rejects(scene.clock.run(ask), { code: 'REACH_REFUSED' });
    scene.end();
  });
});

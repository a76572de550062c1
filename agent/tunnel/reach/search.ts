/** One search for a way, as one end of it makes it: both ends do the same, one of them asks for the relay. */
import type { Aid } from '#kel/identifiers';
import type { Journal } from '#src/journal';
import { scopeOf } from '#src/net/address-scope';
import { probeToken } from '#src/wireguard/device-probes';
import type { UdpEndpoint } from '#src/wireguard/tunnel-driver';
import type { PeerKey } from '../../network/network.ts';
import { candidatesOf, endpointOf, hostOfEndpoint } from './candidate.ts';
import type { DeviceWays, KeyPairing } from './device-ways.ts';
import { ReachError } from './errors.ts';
import type { OfferedCandidate } from './messages.ts';
import {
  askObservation,
  directHosts,
  type ObservationDeps,
  type OwnDevicePlace,
} from './observation.ts';
import { Probing } from './probing.ts';
import type { AnsweringSteps, OfferedRelay, OpeningSteps, ReachCall } from './session.ts';
import { attemptsOf, chooseWay, type FoundWay, nextAttempt, type Sighting } from './way.ts';

export interface OwnHosts {
  /** IP addresses of this machine, without those inside the mesh. */
  readonly own: readonly string[];
  /** IP addresses under which the operator says that UDP reaches it. */
  readonly configured: readonly string[];
}

/** What a member lends: UDP ports of one session of its relay. */
export interface Loan {
  readonly relay: Aid;
  readonly port: number;
  readonly peerPort: number;
  readonly hosts: readonly string[];
}

export interface SearchDeps extends ObservationDeps {
  readonly self: Aid;
  readonly directory: {
    peerOf(aid: Aid): PeerKey | undefined;
    aidOf(peer: PeerKey): Aid | undefined;
    bound(): readonly PeerKey[];
  };
  readonly ways: DeviceWays;
  readonly journal: Journal;
  readonly isMember: (aid: Aid) => boolean;
  readonly hosts: () => Promise<OwnHosts>;
  /** The own device on which the view stands. */
  readonly placeOf: (aid: Aid, keys: KeyPairing) => OwnDevicePlace | undefined;
  readonly lifeOf: (aid: Aid, keys: KeyPairing) => Promise<ViewLife>;
  /** Writes what {@link DeviceWays} says of the view. @param begins a handshake is begun at once */
  readonly apply: (aid: Aid, keys: KeyPairing, begins: boolean) => Promise<void>;
  /** Asks members for a relay to `aid`. @returns undefined where nobody lends one */
  readonly borrow: (aid: Aid) => Promise<Loan | undefined>;
}

export interface ViewLife {
  /** Milliseconds since the Unix epoch; 0: none. */
  readonly lastHandshake: number;
  /** It has a session, and what is asked is answered. */
  readonly isAlive: boolean;
}

/** Probes of the other end come within this, or not. */
const PROBE_MS = 1_500;
/** What a nearer way gets after the first probe has come. */
const NEARER_MS = 150;
const MAX_OBSERVERS = 2;
/** Mappings of UDP are kept for half a minute by the hastiest of those that translate (RFC 4787, REQ-5 asks for two minutes). */
const KEEPALIVE_S = 25;
/** After a change of ways the device hears the former one for as long as packets are under way on it. */
const INSIST_MS = [200, 800, 2_000];
const HANDSHAKE_LOOK_MS = 50;

export class Search implements OpeningSteps, AnsweringSteps, Disposable {
  readonly own: ReachCall;
  readonly #deps: SearchDeps;
  readonly #aid: Aid;
  readonly #keys: KeyPairing;
  readonly #probing: Probing | undefined;
  readonly #hosts: OwnHosts;

  private constructor(
    deps: SearchDeps,
    aid: Aid,
    own: ReachCall,
    probing: Probing | undefined,
    hosts: OwnHosts,
  ) {
    this.#deps = deps;
    this.#aid = aid;
    this.#keys = { own: own.own, peer: own.peer };
    this.own = own;
    this.#probing = probing;
    this.#hosts = hosts;
  }

  /** Asks members how they see the device, and expects probes. @throws REACH_REFUSED for a view that stands on no device */
  static async begin(deps: SearchDeps, aid: Aid, keys: KeyPairing): Promise<Search> {
    const device = deps.placeOf(aid, keys);
    if (device === undefined)
      throw new ReachError('REACH_REFUSED', 'the keys named stand on no device here');
    const [hosts, observed] = await Promise.all([deps.hosts(), observe(deps, aid, device, keys)]);
    const probing = await Probing.of(deps, device.name);
    const candidates = candidatesOf({ ...device, ...hosts, observed }).map(
      (candidate): OfferedCandidate => ({
        ...candidate,
        token: probing?.token() ?? probeToken(deps.rng.bytes(16)),
      }),
    );
    const own = { ...keys, canProbe: probing !== undefined, candidates };
    return new Search(deps, aid, own, probing, hosts);
  }

  /** As the end that was asked. */
  answer({ own, peer }: ReachCall): Promise<ReachCall> {
    const isSame = own === this.#keys.peer && peer === this.#keys.own;
    return isSame
      ? Promise.resolve(this.own)
      : Promise.reject(new ReachError('REACH_REFUSED', 'the keys named are others'));
  }

  async probe(peer: ReachCall): Promise<readonly Sighting[]> {
    const probing = this.#probing;
    if (probing === undefined || !peer.canProbe) return [];
    probing.send(peer.candidates);
    await probing.settled(PROBE_MS, NEARER_MS);
    return probing.arrivals.flatMap(({ token, from }) => {
      const index = this.own.candidates.findIndex((candidate) => candidate.token === token);
      return index < 0 ? [] : [{ index, source: from }];
    });
  }

  async settle(
    peer: ReachCall,
    seen: readonly Sighting[],
    other: readonly Sighting[],
  ): Promise<boolean> {
    const { self, lifeOf, journal } = this.#deps;
    journal.debug('reach.seen', {
      aid: this.#aid,
      own: this.own.candidates.map(({ endpoint }) => endpoint).join(' '),
      theirs: peer.candidates.map(({ endpoint }) => endpoint).join(' '),
      came: seen.map(({ index, source }) => `${index} ${source}`).join(', '),
      arrived: other.map(({ index, source }) => `${index} ${source}`).join(', '),
    });
    const isLower = self < this.#aid;
    const way = chooseWay(
      { candidates: this.own.candidates, seen },
      { candidates: peer.candidates, seen: other },
      isLower,
    );
    if (way !== undefined) {
      await this.#take(way);
      return true;
    }
    const { isAlive } = await lifeOf(this.#aid, this.#keys);
    if (isAlive) return true;
    if (this.own.canProbe && peer.canProbe) return false;
    return this.#attempt(attemptsOf(this.own.candidates, peer.candidates, isLower));
  }

  async lend() {
    const loan = await this.#deps.borrow(this.#aid);
    if (loan === undefined) return undefined;
    const { relay, port, peerPort, hosts } = loan;
    return {
      told: { relay, port: peerPort, hosts },
      take: () => this.relayed({ relay, port, hosts }),
    };
  }

  async relayed({ relay, port, hosts }: OfferedRelay): Promise<void> {
    if (!this.#deps.isMember(relay) || relay === this.#aid)
      throw new ReachError('REACH_REFUSED', 'who is to relay is no other member');
    const endpoint = endpointOf(this.#hostAmong(relay, hosts) ?? '', port);
    if (endpoint === undefined)
      throw new ReachError('REACH_NO_WAY', 'the relay has no address of a family that is here');
    await this.#set(endpoint, relay);
  }

  [Symbol.dispose](): void {
    this.#probing?.[Symbol.dispose]();
  }

  /** The address under which it is connected, else one of a family that this end has. */
  #hostAmong(relay: Aid, hosts: readonly string[]): string | undefined {
    const { directory, network } = this.#deps;
    const peer = directory.peerOf(relay);
    const connected = peer === undefined ? [] : directHosts(network, peer);
    const hasIpv4 = this.own.candidates.some(({ endpoint }) => !endpoint.startsWith('['));
    return (
      hosts.find((host) => connected.includes(host)) ??
      hosts.find((host) => !host.includes(':') === hasIpv4) ??
      hosts[0]
    );
  }

  #take({ own, peer }: FoundWay): Promise<void> {
    return this.#set(peer, undefined, own);
  }

  /** @param own as the other end sends to this one; undefined where it sends to a relay */
  async #set(endpoint: UdpEndpoint, relay: Aid | undefined, own?: UdpEndpoint): Promise<void> {
    const { ways, apply, lifeOf, clock } = this.#deps;
    const isTranslated = own === undefined || !this.#isOwnHost(hostOfEndpoint(own));
    const { isAlive } = await lifeOf(this.#aid, this.#keys);
    const way = { endpoint, relay, keepalive: isTranslated ? KEEPALIVE_S : undefined };
    ways.set(this.#aid, this.#keys, { ...way, insists: isAlive });
    await apply(this.#aid, this.#keys, !isAlive);
    if (isAlive) void this.#insist(clock.monotonic()).catch(() => undefined);
  }

  /** Packets that were under way on the former way lead the device back to it: until none can be any more. */
  async #insist(begun: number): Promise<void> {
    const { ways, apply, clock } = this.#deps;
    for (const due of INSIST_MS) {
      await clock.sleep(Math.max(0, begun + due - clock.monotonic()));
      await apply(this.#aid, this.#keys, false);
    }
    ways.relent(this.#aid, this.#keys);
  }

  #isOwnHost(host: string): boolean {
    return this.#hosts.own.includes(host);
  }

  /** Both ends set the same pair at the same moment and begin; then the next one. */
  async #attempt(attempts: readonly FoundWay[]): Promise<boolean> {
    const { clock, lifeOf } = this.#deps;
    const before = (await lifeOf(this.#aid, this.#keys)).lastHandshake;
    const begun = clock.monotonic();
    for (;;) {
      const next = nextAttempt(attempts, clock.monotonic() - begun);
      if (next === undefined) return false;
      const end = clock.monotonic() + next.forMs;
      await this.#take(next.way);
      while (clock.monotonic() < end) {
        if ((await lifeOf(this.#aid, this.#keys)).lastHandshake > before) return true;
        await clock.sleep(HANDSHAKE_LOOK_MS);
      }
    }
  }
}

/** By members to which the control connection is direct, those with a public address first: they see what the world sees. */
async function observe(
  deps: SearchDeps,
  other: Aid,
  device: OwnDevicePlace,
  { own }: KeyPairing,
): Promise<readonly UdpEndpoint[]> {
  const observers = deps.directory
    .bound()
    .map((peer) => ({ peer, host: directHosts(deps.network, peer)[0] }))
    .filter(({ peer, host }) => host !== undefined && deps.directory.aidOf(peer) !== other)
    .sort((a, b) => Number(isPublic(b.host)) - Number(isPublic(a.host)))
    .slice(0, MAX_OBSERVERS);
  const seen = await Promise.all(
    observers.map(({ peer }) =>
      askObservation(deps, peer, device, own).catch((error: unknown) => {
        deps.journal.failed('reach.not-observed', error, { peer }, 'debug');
        return [];
      }),
    ),
  );
  return [...new Set(seen.flat())];
}

function isPublic(host: string | undefined): boolean {
  return host !== undefined && scopeOf(host) === 'public';
}

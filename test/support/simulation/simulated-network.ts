/**
 * Networks in one process, on virtual time: loss, delay, reordering, partition and crash from a seed.
 *
 * They keep the contract of `agent/network/network.ts` as the libp2p driver does (`test/contract/network.test.ts`).
 * A lost stream message resets its stream, as TCP does in the end; a lost gossip message is just gone.
 */
import { createHash } from 'node:crypto';
import type { Network, PeerAddress, PeerKey } from '#agent/network/network';
import { peerKeyOf, peerOf } from '#agent/network/peer-key';
import { Secret } from '#src/secret';
import type { SeededRng } from '../doubles/seeded-rng.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import { SimulatedPeer, type SimulatedPeerOptions } from './simulated-peer.ts';
import type { Wire } from './simulated-stream.ts';

export interface SimulatedWorldOptions {
  readonly clock: SimulatedClock;
  readonly rng: SeededRng;
}

export interface SimulatedHost {
  readonly name: string;
  readonly self: PeerKey;
  readonly address: PeerAddress;
  network: SimulatedPeer | undefined;
}

export class SimulatedWorld {
  readonly clock: SimulatedClock;
  readonly rng: SeededRng;
  readonly #hosts = new Map<string, SimulatedHost>();
  #loss = 0;
  #delay: readonly [number, number] = [1, 10];
  #groups = new Map<string, number>();

  constructor(options: SimulatedWorldOptions) {
    this.clock = options.clock;
    this.rng = options.rng.fork('network');
  }

  /** The running network of `name`, started when there is none; its key and address depend on the name alone. */
  network(name: string, options: SimulatedPeerOptions = {}): Network {
    const host = this.#host(name);
    host.network ??= new SimulatedPeer(this, host, options);
    return host.network;
  }

  /** Also before the network runs, for bootstrap lists. */
  addressOf(name: string): PeerAddress {
    return this.#host(name).address;
  }

  /** @param probability of each message, 0 to 1 */
  setLoss(probability: number): void {
    this.#loss = probability;
  }

  /** @param min simulated milliseconds of one way, uniform up to `max` */
  setDelay(min: number, max: number): void {
    this.#delay = [min, max];
  }

  /** Cuts what connects one group to another; names in no group form one more. */
  partition(groups: readonly (readonly string[])[]): void {
    this.#groups = new Map(groups.flatMap((names, index) => names.map((name) => [name, index])));
    for (const { network } of this.#hosts.values()) network?.dropUnreachable();
  }

  heal(): void {
    this.#groups = new Map();
  }

  /** The process of `name` is gone: it is told nothing, its peers see the connection end. */
  crash(name: string): void {
    this.#host(name).network?.crash();
  }

  /** A new network with the key and address of one that crashed or was closed. */
  restart(name: string, options: SimulatedPeerOptions = {}): Network {
    if (this.#host(name).network) throw new Error(`expected ${name} to be down, it runs`);
    return this.network(name, options);
  }

  /** For the networks of this world. */
  find(address: PeerAddress): SimulatedHost | undefined {
    const peer = peerOf(address);
    for (const host of this.#hosts.values()) {
      if (address === host.address) return host;
      if (!peer && host.address.startsWith(`${address}/p2p/`)) return host;
    }
    return undefined;
  }

  addressOfPeer(peer: PeerKey): PeerAddress[] {
    return [...this.#hosts.values()].filter(({ self }) => self === peer).map((h) => h.address);
  }

  separated(a: SimulatedHost, b: SimulatedHost): boolean {
    return this.#groups.get(a.name) !== this.#groups.get(b.name);
  }

  wire(idleMs: number): Wire {
    return {
      clock: this.clock,
      idleMs,
      delay: () => this.delay(),
      loses: () => this.loses(),
    };
  }

  delay(): number {
    const [min, max] = this.#delay;
    return min + this.rng.next() * (max - min);
  }

  loses(): boolean {
    return this.#loss > 0 && this.rng.next() < this.#loss;
  }

  #host(name: string): SimulatedHost {
    const known = this.#hosts.get(name);
    if (known) return known;
    using seed = Secret.take(createHash('sha256').update(`simulated peer ${name}`).digest());
    const self = peerKeyOf(seed);
    const number = this.#hosts.size;
    const address = `/ip4/10.0.${number >> 8}.${number & 255}/tcp/7400/p2p/${self}` as PeerAddress;
    const host: SimulatedHost = { name, self, address, network: undefined };
    this.#hosts.set(name, host);
    return host;
  }
}

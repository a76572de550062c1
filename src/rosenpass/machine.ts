/**
 * Rosenpass without sockets, clock or files: datagrams and time go in, effects come out. Everything a stranger sends passes here first:
 * its length, its MAC, a rate, and only then a decapsulation of McEliece, which costs milliseconds.
 */
import { timingSafeEqual } from 'node:crypto';
import { Allowance } from '#src/allowance';
import type { Rng } from '#src/rng';
import { BiscuitKeys } from './biscuits.ts';
import { hashDomains } from './hash-domains.ts';
import type { HandshakeKems } from './initiator.ts';
import type { RosenpassVersion } from './keyed-hash.ts';
import {
  authenticatedPart,
  type InitConf,
  type InitHello,
  macOf,
  parseMessage,
  type RespHello,
} from './messages.ts';
import {
  type DatagramRefusal,
  type Outcome,
  PeerExchange,
  type RosenpassAddress,
  type RosenpassEffect,
  type RosenpassPeerOptions,
} from './peer-exchange.ts';
import { hashPublicKey, macFor, type PublicKeyHashes, peerIdKey } from './public-key-hashes.ts';
import { openInitConf, openInitHello } from './responder.ts';

/** InitHello of one source that are looked into: what a handshake repeats in ten seconds, and a little more. */
const SOURCE_RATE = { burst: 8, perSecond: 1 };
/** The same of a source where a peer is. */
const PEER_SOURCE_RATE = { burst: 16, perSecond: 4 };
/** Of all strangers together: a seventh of a core at most. */
const STRANGERS_RATE = { burst: 32, perSecond: 16 };
/** Of all sources where peers are; a peer more has a token more at once. */
const PEERS_RATE = { burst: 64, perSecond: 48 };
/** RespHello to one handshake of the own. */
const ANSWER_RATE = { burst: 8, perSecond: 1 };

/** Peers in one poll: datagrams wait no longer than for so many encapsulations. */
const MAX_DUE = 8;

const ALL = 'all';

export interface MachineOptions {
  readonly kems: HandshakeKems;
  /** 524,160 bytes */
  readonly ownPublicKey: Uint8Array;
  readonly peers: readonly (RosenpassPeerOptions & { readonly version: RosenpassVersion })[];
  readonly rng: Rng;
}

export class RosenpassMachine implements Disposable {
  readonly #options: MachineOptions;
  readonly #own: ReadonlyMap<RosenpassVersion, PublicKeyHashes>;
  readonly #peers: readonly PeerExchange[];
  readonly #byId: ReadonlyMap<string, PeerExchange>;
  readonly #sessions = new Map<string, PeerExchange>();
  readonly #biscuits: BiscuitKeys;
  readonly #refused = new Map<DatagramRefusal, number>();
  readonly #rates: Readonly<
    Record<'source' | 'peerSource' | 'strangers' | 'peers' | 'answers', Allowance<string>>
  >;
  #now = 0;

  /** Reads the public key of every peer once. @throws what that throws */
  constructor(options: MachineOptions) {
    const { kems, ownPublicKey, peers, rng } = options;
    this.#options = options;
    this.#biscuits = new BiscuitKeys(rng);
    const versions = new Set(peers.map(({ version }) => version));
    this.#own = new Map(
      [...versions].map((version) => [version, hashPublicKey(hashDomains[version], ownPublicKey)]),
    );
    const biscuits = this.#biscuits;
    const context = { kems, ownPublicKey, rng, biscuits, sessions: this.#sessions };
    this.#peers = peers.map((peer, index) => {
      const hashes = hashPublicKey(hashDomains[peer.version], peer.publicKey());
      const own = this.#own.get(peer.version) as PublicKeyHashes;
      return new PeerExchange(index, hashes, own, peer, context);
    });
    this.#byId = new Map(
      this.#peers.map((peer) => [peerIdKey(peer.hashes.domains, peer.hashes.peerId), peer]),
    );
    const clock = { monotonic: () => this.#now };
    this.#rates = {
      source: new Allowance(clock, SOURCE_RATE),
      peerSource: new Allowance(clock, PEER_SOURCE_RATE),
      strangers: new Allowance(clock, STRANGERS_RATE),
      peers: new Allowance(clock, { ...PEERS_RATE, burst: PEERS_RATE.burst + peers.length }),
      answers: new Allowance(clock, ANSWER_RATE),
    };
  }

  /** Ids of the peers, 32 bytes each, in the order of the options. */
  get peerIds(): readonly Uint8Array[] {
    return this.#peers.map(({ hashes }) => hashes.peerId);
  }

  /** Datagrams that changed nothing, by reason, since the start. */
  get refused(): ReadonlyMap<DatagramRefusal, number> {
    return this.#refused;
  }

  /** @param datagram not changed, not kept  @param now milliseconds, monotonic */
  handle(datagram: Uint8Array, from: RosenpassAddress, now: number): readonly RosenpassEffect[] {
    this.#now = now;
    const outcome = this.#take(datagram, from);
    if (typeof outcome !== 'string') return outcome;
    this.#refused.set(outcome, (this.#refused.get(outcome) ?? 0) + 1);
    return [];
  }

  /** What is due, of some peers at a time: where more are, {@link wakeAt} says so. */
  poll(now: number): readonly RosenpassEffect[] {
    this.#now = now;
    this.#biscuits.expire(now);
    const due: PeerExchange[] = [];
    for (const peer of this.#peers) {
      if (due.length === MAX_DUE) break;
      if (peer.wakeAt() <= now) due.push(peer);
    }
    return due.flatMap((peer) => peer.poll(now));
  }

  /** When {@link poll} has something to do; Infinity for never. */
  wakeAt(): number {
    return this.#peers.reduce(
      (soonest, peer) => Math.min(soonest, peer.wakeAt()),
      this.#biscuits.expiresAt ?? Number.POSITIVE_INFINITY,
    );
  }

  [Symbol.dispose](): void {
    for (const peer of this.#peers) peer[Symbol.dispose]();
    this.#biscuits[Symbol.dispose]();
  }

  #take(datagram: Uint8Array, from: RosenpassAddress): Outcome {
    const message = parseMessage(datagram, this.#options.kems.staticKem.ciphertextLength);
    if (message === undefined) return 'malformed';
    if (message.kind === 'cookie-reply')
      return this.#sessionOf(message.sid)?.takeCookie(message, this.#now) ?? 'no-session';
    const own = this.#addressed(datagram);
    if (own === undefined) return 'wrong-mac';
    switch (message.kind) {
      case 'init-hello':
        return this.#answer(own, message, from);
      case 'resp-hello':
        return this.#confirm(own, message, from);
      case 'init-conf':
        return this.#accept(own, message, from);
      case 'empty-data':
        return this.#sessionOf(message.sid, own)?.finish(message, from) ?? 'no-session';
    }
  }

  /** The own key in the version with whose hash the MAC fits. */
  #addressed(datagram: Uint8Array): PublicKeyHashes | undefined {
    const [authenticated, mac] = [authenticatedPart(datagram), macOf(datagram)];
    return [...this.#own.values()].find((own) => timingSafeEqual(macFor(own, authenticated), mac));
  }

  #answer(own: PublicKeyHashes, hello: InitHello, from: RosenpassAddress): Outcome {
    if (!this.#mayCost(from)) return 'over-rate';
    const { kems, ownPublicKey } = this.#options;
    const find = (id: Uint8Array) => this.#byId.get(peerIdKey(own.domains, id));
    const claimed = openInitHello(kems, own, ownPublicKey, hello, find);
    if (typeof claimed === 'string') return claimed;
    using held = claimed;
    return held.peer.answer(hello, held.chainingKey, from, this.#now);
  }

  #confirm(own: PublicKeyHashes, answer: RespHello, from: RosenpassAddress): Outcome {
    const peer = this.#sessionOf(answer.sidi, own);
    if (peer === undefined) return 'no-session';
    if (!this.#rates.answers.take(answer.sidi.toHex())) return 'over-rate';
    return peer.confirm(answer, from, this.#now);
  }

  #accept(own: PublicKeyHashes, confirmation: InitConf, from: RosenpassAddress): Outcome {
    const opened = openInitConf(own, this.#biscuits, confirmation, this.#now);
    if (typeof opened === 'string') return opened;
    using proven = opened;
    const peer = this.#byId.get(peerIdKey(own.domains, proven.peerId));
    return peer?.accept(proven, confirmation, from, this.#now) ?? 'unknown-peer';
  }

  #sessionOf(sid: Uint8Array, own?: PublicKeyHashes): PeerExchange | undefined {
    const peer = this.#sessions.get(sid.toHex());
    return own === undefined || peer?.hashes.domains === own.domains ? peer : undefined;
  }

  /** Whether an InitHello from there may cost a decapsulation. */
  #mayCost({ source }: RosenpassAddress): boolean {
    const isPeer = this.#peers.some((peer) => peer.isAt(source));
    const { source: strangerSource, peerSource, strangers, peers } = this.#rates;
    const [one, all] = isPeer ? [peerSource, peers] : [strangerSource, strangers];
    // Not taken from all where one has none left: who floods from one place leaves the others theirs.
    return one.take(source) && all.take(ALL);
  }
}

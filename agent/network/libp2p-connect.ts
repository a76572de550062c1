/** Connections to peers: which of several is used, and how one comes to be. A connection through a relay stands in until a direct one does. */
import type { Clock } from '#src/clock';
import { raceDials } from './dial-race.ts';
import { NetworkError } from './errors.ts';
import { isRelayed, relayIn } from './host-of.ts';
import type { Libp2pConnection, Libp2pNode } from './libp2p-node.ts';
import type { PeerAddress, PeerKey } from './network.ts';
import { addressText, peerOf } from './peer-key.ts';

/** Ways to one peer that are tried in one dial. */
const MAX_WAYS = 16;
/** Of these, through relays that are at hand, whatever the peer says of them: its newest word may not have come yet. */
const MAX_AT_HAND = 3;
/** A relayed connection stays so long beside a direct one: for what is said on it, and should the direct one break at once. */
const STANDS_IN_MS = 60_000;

export interface ConnectorDeps {
  readonly node: Libp2pNode;
  /** @throws NETWORK_BAD_ADDRESS when none can be read */
  readable(
    addresses: readonly PeerAddress[],
  ): Parameters<Libp2pNode['services']['ways']['take']>[0][];
  peerId(peer: PeerKey): Libp2pConnection['remotePeer'];
  readonly clock: Clock;
  admits(peer: PeerKey): boolean;
  /** Connected members that serve as relays. */
  servers(): Promise<readonly PeerKey[]>;
}

export class Connector {
  readonly #deps: ConnectorDeps;
  readonly #underWay = new Map<PeerKey, Promise<PeerKey>>();

  constructor(deps: ConnectorDeps) {
    this.#deps = deps;
  }

  /** Those that are open, the one to be used first: direct before relayed, and the newest of these. */
  connections(peer: PeerKey): readonly Libp2pConnection[] {
    return this.#deps.node
      .getConnections()
      .filter(({ remotePeer, status }) => status === 'open' && remotePeer.toString() === peer)
      .reverse()
      .sort((a, b) => Number(isThroughRelay(a)) - Number(isThroughRelay(b)));
  }

  /** @param peer undefined: the one that the addresses name, or whoever is there  @throws NETWORK_UNREACHABLE, NETWORK_BAD_ADDRESS, the reason of `signal` */
  async connect(
    peer: PeerKey | undefined,
    addresses: readonly PeerAddress[],
    signal: AbortSignal,
  ): Promise<PeerKey> {
    const target = peer ?? addresses.map(peerOf).find((one) => one !== undefined);
    if (target === undefined) return this.#race(undefined, addresses, signal);
    const former = this.#underWay.get(target);
    // It may know other addresses: when it fails, these are tried.
    if (former !== undefined) await former.catch(() => undefined);
    signal.throwIfAborted();
    const dial = this.#race(target, addresses, signal).finally(() => {
      if (this.#underWay.get(target) === dial) this.#underWay.delete(target);
    });
    this.#underWay.set(target, dial);
    return dial;
  }

  /** A direct connection to a peer has come up: those through relays go after a while, in order. */
  async retireRelayed(peer: PeerKey, signal: AbortSignal): Promise<void> {
    if (!this.connections(peer).some(isThroughRelay)) return;
    await this.#deps.clock.sleep(STANDS_IN_MS, signal);
    const open = this.connections(peer);
    if (open.every(isThroughRelay)) return;
    for (const connection of open.filter(isThroughRelay))
      await connection.close({ signal }).catch((error: Error) => connection.abort(error));
  }

  async #race(
    target: PeerKey | undefined,
    addresses: readonly PeerAddress[],
    signal: AbortSignal,
  ): Promise<PeerKey> {
    const { node, readable, clock, admits } = this.#deps;
    const [best] = target === undefined ? [] : this.connections(target);
    const known =
      addresses.length === 0 && target !== undefined ? await this.#known(target) : addresses;
    const ways =
      best === undefined
        ? await this.#withRelays(target, known)
        : known.filter((way) => !isRelayed(way));
    if (best !== undefined && (ways.length === 0 || !isThroughRelay(best)))
      return best.remotePeer.toString() as PeerKey;
    const what = known.join(', ') || target;
    if (target !== undefined && !admits(target))
      throw new NetworkError('NETWORK_UNREACHABLE', `${what}: it is not admitted`);
    const read = readable(
      ways.map((way) =>
        target === undefined || way.includes('/p2p/')
          ? way
          : (`${way}/p2p/${target}` as PeerAddress),
      ),
    );
    try {
      const connection = await raceDials({
        clock,
        ways: read,
        signal,
        take: (way, until) => node.services.ways.take(way, until),
        surplus: (late) => late.abort(new Error('another way was first')),
      });
      await this.#remember(connection);
      return connection.remotePeer.toString() as PeerKey;
    } catch (cause) {
      signal.throwIfAborted();
      // It may have come by itself meanwhile.
      if (target !== undefined && this.connections(target).length > 0) return target;
      throw new NetworkError('NETWORK_UNREACHABLE', `${what}: ${messageOf(cause)}`, { cause });
    }
  }

  /** Direct ones first; room is kept for those through relays. */
  async #withRelays(
    target: PeerKey | undefined,
    known: readonly PeerAddress[],
  ): Promise<readonly PeerAddress[]> {
    const [relayed = [], direct = []] = [true, false].map((want) =>
      known.filter((way) => isRelayed(way) === want),
    );
    const servers = target === undefined ? [] : await this.#deps.servers();
    const atHand = servers
      .filter((relay) => relay !== target && !relayed.some((way) => relayIn(way) === relay))
      .slice(0, MAX_AT_HAND)
      .map((relay) => `/p2p/${relay}/p2p-circuit/p2p/${target}` as PeerAddress);
    const through = [...relayed, ...atHand].slice(0, MAX_WAYS / 2);
    return [...direct.slice(0, MAX_WAYS - through.length), ...through];
  }

  async #known(peer: PeerKey): Promise<readonly PeerAddress[]> {
    const { node, peerId } = this.#deps;
    const found = await node.peerStore.get(peerId(peer)).catch(() => undefined);
    return (found?.addresses ?? []).map(({ multiaddr }) => addressText(multiaddr));
  }

  /** Where it was reached need not be among the addresses that it tells. */
  async #remember({ remotePeer, remoteAddr }: Libp2pConnection): Promise<void> {
    if (isRelayed(addressText(remoteAddr))) return;
    const { peerStore } = this.#deps.node;
    await peerStore.merge(remotePeer, { multiaddrs: [remoteAddr] }).catch(() => undefined);
  }
}

function isThroughRelay({ remoteAddr }: Libp2pConnection): boolean {
  return isRelayed(addressText(remoteAddr));
}

export function messageOf(cause: unknown): string {
  if (cause instanceof AggregateError) return cause.errors.map(messageOf).join('; ');
  return cause instanceof Error ? cause.message : String(cause);
}

/**
 * How a member sees a device of this end, behind whatever translates its address: no server but the members themselves. The device's
 * own socket sends a probe to a device of the member, whose agent tells from where it came. Where devices have no probes, the member
 * tells under which endpoint a tunnel of the two comes, and from which address the control connection.
 */
import type { Aid, Said } from '#kel/identifiers';
import { probeToken } from '#src/wireguard/device-probes';
import type { InterfaceName, UdpEndpoint } from '#src/wireguard/tunnel-driver';
import { type Conversation, converse } from '../../network/conversation.ts';
import { hostOf } from '../../network/host-of.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import { endpointOf } from './candidate.ts';
import type { SeenTunnel } from './messages.ts';
import { Probing, type ProbingDeps } from './probing.ts';
import { hear, reachManners, say } from './session.ts';

/** A probe needs half a round trip; a third one comes within this even where two are lost. */
const WAIT_MS = 1_200;
const MAX_TARGETS = 4;

export interface OwnDevicePlace {
  readonly name: InterfaceName;
  /** UDP port. */
  readonly port: number;
}

export interface ObservationDeps extends ProbingDeps {
  readonly network: Pick<Network, 'open' | 'handle' | 'addressesOf'>;
  readonly devices: () => readonly OwnDevicePlace[];
  /** The tunnels with `aid`, as the own devices show its end. */
  readonly tunnelsWith: (aid: Aid) => Promise<readonly SeenTunnel[]>;
}

/** Asks `peer` how it sees `device`. @param key SAID of the `tun` record with which the device has tunnels */
export async function askObservation(
  deps: ObservationDeps,
  peer: PeerKey,
  device: OwnDevicePlace,
  key: Said,
): Promise<readonly UdpEndpoint[]> {
  using probing = await Probing.of(deps, device.name);
  const token = probing && probeToken(deps.rng.bytes(16));
  return await converse(deps, reachManners, peer, async (conversation) => {
    await say(conversation, { kind: 'observe', token });
    const { ports } = await hear(conversation, 'ready');
    if (token !== undefined) {
      const endpoints = directHosts(deps.network, peer).flatMap((host) =>
        ports.map((port) => endpointOf(host, port)),
      );
      const targets = endpoints.filter((endpoint) => endpoint !== undefined).slice(0, MAX_TARGETS);
      probing?.send(targets.map((endpoint) => ({ token, endpoint })));
    }
    const { from, host, tunnels } = await hear(conversation, 'observed');
    const seen = tunnels.filter(({ tunnelKey }) => tunnelKey === key).map((tunnel) => tunnel.from);
    // Many translations keep the port; where this one does not, nothing comes of it.
    const guess = host === undefined ? undefined : endpointOf(host, device.port);
    return [from, ...seen, guess].filter((endpoint) => endpoint !== undefined);
  });
}

/** Answers one who has asked with `token`. */
export async function answerObservation(
  deps: ObservationDeps,
  conversation: Conversation,
  aid: Aid,
  token: Parameters<Probing['expect']>[0] | undefined,
): Promise<void> {
  using open = new DisposableStack();
  const probings: Probing[] = [];
  const ports: number[] = [];
  for (const { name, port } of token === undefined ? [] : deps.devices()) {
    const probing = await Probing.of(deps, name);
    if (probing === undefined || token === undefined) continue;
    probings.push(open.use(probing));
    probing.expect(token);
    ports.push(port);
  }
  await say(conversation, { kind: 'ready', ports });
  if (probings.length > 0)
    await Promise.race(probings.map((probing) => probing.settled(WAIT_MS, 0)));
  const from = probings.flatMap(({ arrivals }) => arrivals)[0]?.from;
  const host = directHosts(deps.network, conversation.stream.peer)[0];
  const tunnels = await deps.tunnelsWith(aid);
  await say(conversation, { kind: 'observed', from, host, tunnels: tunnels.slice(0, 4) });
}

/** Addresses of the connection to `peer` itself: none where it goes through another. */
export function directHosts(
  network: Pick<Network, 'addressesOf'>,
  peer: PeerKey,
): readonly string[] {
  const hosts = network
    .addressesOf(peer)

    .map(hostOf)
    .filter((host) => host !== undefined);
  return [...new Set(hosts)];
}

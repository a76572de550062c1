/**
 * A running organisation: its parts, made and wired to each other (here), and the life of them all.
 * It holds no policy of its own.
 */
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { TunRecord } from '#kel/record/record';
import { watchSteps } from '#src/clock-steps';
import { sha256 } from '#src/crypto/hash';
import { peerSeedLabel } from '#src/crypto/labels';
import { Secret } from '#src/secret';
import { SteadyTime } from '#src/steady-time';
import { StateTable } from '#src/store/state-table';
import { serveNodes } from '../../identity/node/node-service.ts';
import type { RotationOptions } from '../../identity/own/identity.ts';
import type { Draft } from '../../identity/records/record-issuer.ts';
import type { OwnWitnesses } from '../../identity/witness/own-witnesses.ts';
import { WitnessService } from '../../identity/witness/witness-service.ts';
import type { QueryClient } from '../../mesh/query/query-client.ts';
import type { Gossip } from '../../mesh/sync/gossip.ts';
import type { Knocking } from '../../mesh/sync/knocking.ts';
import type { OwnTwin } from '../../mesh/sync/own-twin.ts';
import { PeerClocks } from '../../mesh/sync/peer-clocks.ts';
import { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { RecordGossip } from '../../mesh/sync/record-gossip.ts';
import type { Sync } from '../../mesh/sync/sync.ts';
import type { Watcher } from '../../mesh/watch/watcher.ts';
import type { Network } from '../../network/network.ts';
import type { OwnTunnelKeys } from '../../tunnel/pairs/own-tunnel-keys.ts';
import type { PairAgreements } from '../../tunnel/pairs/pair-agreements.ts';
import type { TunnelSettings, Tunnels } from '../../tunnel/pairs/tunnels.ts';
import type { TunnelProofs } from '../../tunnel/proof/tunnel-proofs.ts';
import { Emergency } from '../../tunnel/rotation/emergency.ts';
import type { PairRequest } from '../../tunnel/rotation/pair-requests.ts';
import type { Rotations } from '../../tunnel/rotation/rotations.ts';
import { type RotationPolicy, Schedule } from '../../tunnel/rotation/schedule.ts';
import type { RunningDrivers } from '../drivers.ts';
import type { Organisation } from '../organisation.ts';
import { Background } from './background.ts';
import { type ExchangeParts, openExchangeParts } from './exchange-parts.ts';
import { MeshPresence } from './mesh-presence.ts';
import { Operator } from './operator.ts';
import { OwnEventConfirmation } from './own-event-confirmation.ts';
import { OwnKeyRotations } from './own-key-rotations.ts';
import { Reactions } from './reactions.ts';
import { RotationSequence } from './rotation-sequence.ts';
import { openTunnelParts, type TunnelParts } from './tunnel-parts.ts';

export interface AgentSettings {
  readonly tunnel: TunnelSettings;
  readonly rotation: RotationPolicy;
  /** Addresses under which UDP reaches this node; empty: those of the network. */
  readonly endpointHosts: readonly string[];
  /** What this organisation would like to be called where it asks to join; undefined: it proposes nothing. */
  readonly name?: string;
}

interface AgentParts extends TunnelParts, ExchangeParts {
  readonly operator: Operator;
  readonly organisation: Organisation;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly time: SteadyTime;
  readonly driverDescription: string;
  readonly stop: AbortController;
  readonly progress: StateTable;
  readonly scheduleTable: StateTable;
}

export class Agent {
  readonly organisation: Organisation;
  readonly network: Network;
  readonly sync: Sync;
  /** A second agent with the own keys, if there is one. */
  readonly twin: OwnTwin;
  /** Under which everything runs that the operator asks for. */
  readonly operator: Operator;
  readonly gossip: Gossip;
  readonly recordGossip: RecordGossip;
  readonly agreements: PairAgreements;
  readonly tunnels: Tunnels;
  readonly proofs: TunnelProofs;
  readonly ownKeys: OwnTunnelKeys;
  readonly directory: PeerDirectory;
  readonly rotations: Rotations;
  readonly schedule: Schedule;
  readonly emergency: Emergency;
  /** Of the own log. */
  readonly witnesses: OwnWitnesses;
  /** Which WireGuard carries the tunnels. */
  readonly driverDescription: string;
  readonly watcher: Watcher;
  readonly knocking: Knocking;
  /** The time that epochs follow. */
  readonly time: SteadyTime;
  readonly queries: QueryClient;
  readonly #parts: AgentParts;
  readonly #ownKeyRotations: OwnKeyRotations;
  readonly #rotating: RotationSequence;
  readonly #presence: MeshPresence;
  readonly #confirmation: OwnEventConfirmation;
  readonly #reactions: Reactions;
  readonly #background: Background;

  private constructor(parts: AgentParts, rotation: RotationPolicy) {
    const { clock, rng, journal } = parts.organisation.drivers;
    this.#parts = parts;
    this.organisation = parts.organisation;
    this.network = parts.network;
    this.directory = parts.directory;
    this.driverDescription = parts.driverDescription;
    this.sync = parts.sync;
    this.twin = parts.twin;
    this.operator = parts.operator;
    this.gossip = parts.gossip;
    this.recordGossip = parts.recordGossip;
    this.agreements = parts.agreements;
    this.tunnels = parts.tunnels;
    this.proofs = parts.proofs;
    this.ownKeys = parts.ownKeys;
    this.rotations = parts.rotations;
    this.witnesses = parts.witnesses;
    this.watcher = parts.watcher;
    this.knocking = parts.knocking;
    this.time = parts.time;
    this.queries = parts.queries;
    const { signal } = this;
    const background = new Background(signal, journal);
    const schedule = new Schedule(rotation, { clock, rng, table: parts.scheduleTable, journal });
    const ownKeyRotations = new OwnKeyRotations(parts);
    const rotating = new RotationSequence({ ...parts, ownKeyRotations, schedule, background });
    const presence = new MeshPresence({ ...parts, ownKeyRotations, signal });
    const active = { ...parts, ownKeyRotations, presence, background, signal };
    const confirmation = new OwnEventConfirmation(active);
    const { membership, identity } = parts.organisation;
    this.emergency = new Emergency({
      network: parts.network,
      directory: parts.directory,
      clock,
      journal,
      table: parts.scheduleTable,
      askedBy: rotation.askedBy,
      delegator: () => identity.state.delegator,
      governors: () => membership.charter?.governors.slice(0, 1) ?? [],
      rotate: () => rotating.log(),
    });
    this.schedule = schedule;
    this.#background = background;
    this.#ownKeyRotations = ownKeyRotations;
    this.#rotating = rotating;
    this.#presence = presence;
    this.#confirmation = confirmation;
    this.#reactions = new Reactions({ ...active, schedule, confirmation });
  }

  /** Opens everything and starts to serve. Devices that an earlier run left are taken over as they are. */
  static async start(
    organisation: Organisation,
    drivers: RunningDrivers,
    settings: AgentSettings,
  ): Promise<Agent> {
    const { identity } = organisation;
    const { db } = organisation.drivers;
    using kek = await identity.storageKey('peer-key');
    using seed = peerSeed(kek);
    const network = await drivers.network(seed);
    await using onFailure = new AsyncDisposableStack();
    onFailure.defer(() => network.close());
    const stop = new AbortController();
    const operator = new Operator();
    const directory = new PeerDirectory();
    const { clock } = organisation.drivers;
    const clocks = new PeerClocks(clock);
    const time = new SteadyTime(clock, () => clocks.recent());
    const ground = { organisation, drivers, network, directory, clocks, time };
    const tunnelParts = await openTunnelParts({ ...ground, settings: settings.tunnel });
    const exchangeParts = await openExchangeParts({
      ...ground,
      tunnels: tunnelParts.tunnels,
      endpointHosts: settings.endpointHosts,
      name: settings.name,
      signal: stop.signal,
      operator,
    });
    const agent = new Agent(
      {
        ...ground,
        ...tunnelParts,
        ...exchangeParts,
        operator,
        driverDescription: drivers.tunnels.description,
        stop,
        progress: await StateTable.open(db, 'progress'),
        scheduleTable: await StateTable.open(db, 'schedule'),
      },
      settings.rotation,
    );
    onFailure.defer(() => stop.abort());
    await agent.#start();
    onFailure.move();
    return agent;
  }

  /** @throws as `PairRequests.ask` */
  askPair(aid: Aid, request: PairRequest): Promise<void> {
    return this.#parts.requests.ask(aid, request);
  }

  get signal(): AbortSignal {
    return this.#parts.stop.signal;
  }

  /** As {@link RotationSequence.log}. */
  rotate(options?: RotationOptions): Promise<KeyState> {
    return this.#rotating.log(options);
  }

  /** As {@link RotationSequence.tunnelKeys}. */
  rotateTunnelKeys(): Promise<TunRecord> {
    return this.#rotating.tunnelKeys();
  }

  /** As {@link rotateTunnelKeys} without a moment for tunnels that change over: for keys that `beside` revokes in the same event. */
  renewTunnelKeys(beside: readonly Draft[] = []): Promise<TunRecord> {
    return this.#ownKeyRotations.renew(beside);
  }

  /** Stops serving and anchors the audit log. Tunnels stay up unless `removeTunnels`. */
  async stop({ removeTunnels }: { readonly removeTunnels: boolean }): Promise<void> {
    const { keeper, drivers } = this.organisation;
    this.#parts.stop.abort();
    await this.proofs.stop();
    if (removeTunnels) await this.tunnels.removeAll();
    // While the witnesses can still be asked.
    await keeper
      .anchor()
      .catch((error: unknown) => drivers.journal.failed('audit.anchor-failed', error, {}, 'error'));
    await this.network.close();
    await this.organisation.close();
  }

  async #start(): Promise<void> {
    const { signal } = this;
    const { membership, intake, kel, identity, keeper } = this.organisation;
    this.#reactions.start();
    this.#reactions.joinTopics();
    keeper.start(signal);
    this.agreements.start();
    this.#parts.requests.start((from, request) => this.rotations.answer(from, request));
    this.emergency.start();
    this.#parts.acknowledgements.start(signal);
    this.proofs.start(signal);
    this.#serve();
    this.#confirmation.start();
    if (membership.isIn)
      await this.#presence
        .enter()
        .catch((error: unknown) =>
          this.#background.deferIfAwaiting(this.tunnels.deviceFailure ?? error),
        );
    // Whoever starts an agent hears at once that its interface cannot be made; one that runs shows it in its status.
    if (this.tunnels.deviceFailure !== undefined) throw this.tunnels.deviceFailure;
    await this.#parts.endpoints.current();
    this.knocking.start();
    this.sync.start(signal);
    this.sync.comparison.onDecided(() => this.#background.run(this.#confirmation.confirm()));
    this.#parts.evidence.start(signal);
    this.watcher.start(signal);
    this.#parts.queryService.start();
    this.#background.run(this.#reactions.recordForks());
    void this.#confirmation.run();
    void this.#parts.dialler.run(signal);
    void this.schedule.run(signal, async (kind) => {
      await (kind === 'id' ? this.rotate() : this.rotateTunnelKeys());
    });
    const { clock, journal } = this.organisation.drivers;
    void watchSteps(clock, signal, (ms) => journal.warn('clock.stepped', { ms }));
    this.organisation.drivers.journal.info('agent.started', {
      aid: identity.aid,
      sn: identity.state.sn,
      logs: kel.aids().length,
      refused: intake.refused,
    });
  }

  /** Approves nodes, and receipts the events of others. */
  #serve(): void {
    const { witness, desk, drivers } = this.organisation;
    const { directory, network } = this;
    serveNodes(network, desk, drivers.clock);
    new WitnessService({
      network,
      witness,
      clock: drivers.clock,
      aidOf: (peer) => directory.aidOf(peer),
    }).start();
  }
}

function peerSeed(kek: Secret): Secret {
  using label = Secret.take(peerSeedLabel(kek.expose()));
  return Secret.take(sha256(label.expose()));
}

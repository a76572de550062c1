/**
 * A running organisation: its parts, made and wired to each other (here), and the life of them all.
 * It holds no policy of its own.
 */
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { GatewayFields } from '#kel/record/extension';
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
import { WitnessService } from '../../identity/witness/witness-service.ts';
import { PeerClocks } from '../../mesh/sync/peer-clocks.ts';
import { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import { HostNames } from '../../network/host-names.ts';
import { VersionedNetwork } from '../../network/versioned-network.ts';
import type { TunnelSettings } from '../../tunnel/pairs/tunnels.ts';
import type { LendingSettings } from '../../tunnel/relay/lending.ts';
import { Emergency } from '../../tunnel/rotation/emergency.ts';
import type { PairRequest } from '../../tunnel/rotation/pair-requests.ts';
import { type RotationPolicy, Schedule } from '../../tunnel/rotation/schedule.ts';
import type { RunningDrivers } from '../drivers.ts';
import type { Organisation } from '../organisation.ts';
import { Background } from './background.ts';
import { type ExchangeParts, openExchangeParts } from './exchange-parts.ts';
import { MeshPresence } from './mesh-presence.ts';
import { NewerRecords } from './newer-records.ts';
import { Operator } from './operator.ts';
import { OwnEventConfirmation } from './own-event-confirmation.ts';
import { OwnKeyRotations } from './own-key-rotations.ts';
import { Reactions } from './reactions.ts';
import { RotationSequence } from './rotation-sequence.ts';
import { openTunnelParts, type TunnelParts } from './tunnel-parts.ts';
import { UnderlayWatch } from './underlay-watch.ts';

export interface AgentSettings {
  readonly tunnel: TunnelSettings;
  readonly rotation: RotationPolicy;
  /** Addresses under which UDP reaches this node; empty: those of the network. */
  readonly endpointHosts: readonly string[];
  /** Prefixes behind this node that others may reach through it; undefined: there are none. */
  readonly gateway?: GatewayFields;
  /** What members are relayed by this node; undefined: nothing. */
  readonly lending?: LendingSettings;
  /** What this organisation would like to be called where it asks to join; undefined: it proposes nothing. */
  readonly name?: string;
}

interface AgentParts extends TunnelParts, ExchangeParts {
  readonly operator: Operator;
  readonly organisation: Organisation;
  readonly network: VersionedNetwork;
  readonly directory: PeerDirectory;
  readonly time: SteadyTime;
  readonly driverDescription: string;
  readonly gateway: GatewayFields | undefined;
  readonly stop: AbortController;
  readonly progress: StateTable;
  readonly scheduleTable: StateTable;
}

/**
 * What of a running organisation whoever started it gets beside its life: who serves it to an operator hands each verb the part
 * that the verb needs.
 */
export interface RunningParts
  extends Pick<
    AgentParts,
    | 'organisation'
    | 'network'
    | 'directory'
    | 'time'
    | 'driverDescription'
    | 'operator'
    | 'sync'
    | 'twin'
    | 'gossip'
    | 'recordGossip'
    | 'knocking'
    | 'watcher'
    | 'queries'
    | 'witnesses'
    | 'agreements'
    | 'epochKeys'
    | 'tunnels'
    | 'proofs'
    | 'paths'
    | 'looks'
    | 'edgeTest'
    | 'ownKeys'
    | 'rotations'
  > {
  readonly schedule: Schedule;
  readonly emergency: Emergency;
  /** Aborted when the agent stops. */
  readonly signal: AbortSignal;
  /** As {@link RotationSequence.log}. */
  readonly rotate: (options?: RotationOptions) => Promise<KeyState>;
  /** As {@link RotationSequence.tunnelKeys}. */
  readonly rotateTunnelKeys: () => Promise<TunRecord>;
  /** As `rotateTunnelKeys` without a moment for tunnels that change over: for keys that `beside` revokes in the same event. */
  readonly renewTunnelKeys: (beside?: readonly Draft[]) => Promise<TunRecord>;
  /** As `PairRequests.ask`. */
  readonly askPair: (aid: Aid, request: PairRequest) => Promise<void>;
}

export interface Running {
  readonly agent: Agent;
  readonly parts: RunningParts;
}

export class Agent {
  readonly #parts: AgentParts;
  readonly #schedule: Schedule;
  readonly #emergency: Emergency;
  readonly #ownKeyRotations: OwnKeyRotations;
  readonly #rotating: RotationSequence;
  readonly #presence: MeshPresence;
  readonly #confirmation: OwnEventConfirmation;
  readonly #reactions: Reactions;
  readonly #background: Background;

  private constructor(parts: AgentParts, rotation: RotationPolicy) {
    const { clock, rng, journal } = parts.organisation.drivers;
    this.#parts = parts;
    const { signal } = parts.stop;
    const background = new Background(signal, journal);
    const schedule = new Schedule(rotation, { clock, rng, table: parts.scheduleTable, journal });
    const ownKeyRotations = new OwnKeyRotations(parts);
    const rotating = new RotationSequence({ ...parts, ownKeyRotations, schedule, background });
    const presence = new MeshPresence({ ...parts, ownKeyRotations, signal });
    const active = { ...parts, ownKeyRotations, presence, background, signal };
    const confirmation = new OwnEventConfirmation(active);
    const { membership, identity } = parts.organisation;
    this.#emergency = new Emergency({
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
    this.#schedule = schedule;
    this.#background = background;
    this.#ownKeyRotations = ownKeyRotations;
    this.#rotating = rotating;
    this.#presence = presence;
    this.#confirmation = confirmation;
    const newerRecords = new NewerRecords({
      ...parts.organisation,
      self: identity.aid,
      rotateTunnelKeys: () => rotating.tunnelKeys(),
      clock,
      rng,
      journal,
      signal,
    });
    this.#reactions = new Reactions({ ...active, schedule, confirmation, newerRecords });
  }

  /** Opens everything and starts to serve. Devices that an earlier run left are taken over as they are. */
  static async start(
    organisation: Organisation,
    drivers: RunningDrivers,
    settings: AgentSettings,
  ): Promise<Running> {
    const { identity } = organisation;
    const { db } = organisation.drivers;
    using kek = await identity.storageKey('peer-key');
    using seed = peerSeed(kek);
    const { membership } = organisation;
    const network = new VersionedNetwork(
      await drivers.network(seed),
      () => membership.recordVersion,
    );
    await using onFailure = new AsyncDisposableStack();
    onFailure.defer(() => network.close());
    const stop = new AbortController();
    const operator = new Operator();
    const directory = new PeerDirectory();
    const { clock } = organisation.drivers;
    const clocks = new PeerClocks(clock);
    const time = new SteadyTime(clock, () => clocks.recent());
    const hostNames = new HostNames(settings.endpointHosts, {
      clock,
      journal: organisation.drivers.journal,
      resolve:
        drivers.resolveHost ??
        (() => Promise.reject(new Error('there is nobody to ask for names'))),
    });
    const ground = { organisation, drivers, network, directory, clocks, time, hostNames };
    const tunnelParts = await openTunnelParts({
      ...ground,
      settings: settings.tunnel,
      lending: settings.lending,
    });
    const exchangeParts = await openExchangeParts({
      ...ground,
      tunnels: tunnelParts.tunnels,
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
        gateway: settings.gateway,
        stop,
        progress: await StateTable.open(db, 'progress'),
        scheduleTable: await StateTable.open(db, 'schedule'),
      },
      settings.rotation,
    );
    onFailure.defer(() => stop.abort());
    await agent.#start();
    const { underlay, ways } = drivers;
    const { prefix } = settings.tunnel;
    if (underlay !== undefined)
      void new UnderlayWatch({
        ways,
        read: underlay,
        isOwn: (device) => device.startsWith(prefix) && /^\d$/.test(device.slice(prefix.length)),
        clock,
        journal: organisation.drivers.journal,
        changed: () => network.underlayChanged(),
      }).run(stop.signal);
    onFailure.move();
    return { agent, parts: agent.#running() };
  }

  /** Stops serving and anchors the audit log. Tunnels stay up unless `removeTunnels`. */
  async stop({ removeTunnels }: { readonly removeTunnels: boolean }): Promise<void> {
    const { organisation, network, proofs, tunnels, stop, relay } = this.#parts;
    const { keeper, drivers } = organisation;
    stop.abort();
    await proofs.stop();
    if (removeTunnels) {
      await tunnels.removeAll();
      await relay?.stop();
    }
    // While the witnesses can still be asked.
    await keeper
      .anchor()
      .catch((error: unknown) => drivers.journal.failed('audit.anchor-failed', error, {}, 'error'));
    await network.close();
    await organisation.close();
  }

  #running(): RunningParts {
    return {
      ...this.#parts,
      schedule: this.#schedule,
      emergency: this.#emergency,
      signal: this.#parts.stop.signal,
      rotate: (options) => this.#rotating.log(options),
      rotateTunnelKeys: () => this.#rotating.tunnelKeys(),
      renewTunnelKeys: (beside = []) => this.#ownKeyRotations.renew(beside),
      askPair: (aid, request) => this.#parts.requests.ask(aid, request),
    };
  }

  async #start(): Promise<void> {
    const parts = this.#parts;
    const { signal } = parts.stop;
    const { membership, intake, kel, identity, keeper, drivers } = parts.organisation;
    const { sync, tunnels } = parts;
    this.#reactions.start();
    this.#reactions.joinTopics();
    keeper.start(signal);
    parts.agreements.start();
    parts.requests.start((from, request) => parts.rotations.answer(from, request));
    this.#emergency.start();
    parts.reach.start(signal);
    parts.lending?.start(signal);
    parts.acknowledgements.start(signal);
    parts.proofs.start(signal);
    parts.paths.start(signal);
    parts.looks.start();
    this.#serve();
    this.#confirmation.start();
    if (membership.isIn)
      await this.#presence
        .enter()
        .catch((error: unknown) =>
          this.#background.deferIfAwaiting(tunnels.deviceFailure ?? error),
        );
    // Whoever starts an agent hears at once that its interface cannot be made; one that runs shows it in its status.
    if (tunnels.deviceFailure !== undefined) throw tunnels.deviceFailure;
    await parts.endpoints.current();
    parts.knocking.start();
    sync.start(signal);
    sync.comparison.onDecided(() => this.#background.run(this.#confirmation.confirm()));
    parts.evidence.start(signal);
    parts.watcher.start(signal);
    parts.queryService.start();
    this.#background.run(this.#reactions.recordForks());
    void this.#confirmation.run();
    void parts.dialler.run(signal);
    this.#schedule.run(signal, async (kind) => {
      await (kind === 'id' ? this.#rotating.log() : this.#rotating.tunnelKeys());
    });
    const { clock, journal } = drivers;
    void watchSteps(clock, signal, (ms) => journal.warn('clock.stepped', { ms }));
    journal.info('agent.started', {
      aid: identity.aid,
      sn: identity.state.sn,
      logs: kel.aids().length,
      refused: intake.refused,
    });
  }

  /** Approves nodes, and receipts the events of others. */
  #serve(): void {
    const { organisation, directory, network } = this.#parts;
    const { witness, desk, drivers } = organisation;
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

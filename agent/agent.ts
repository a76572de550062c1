/**
 * A running organisation: wires identity, sync, agreements, tunnels and proofs to each other.
 * It holds no policy of its own; each arrow of `docs/architecture.md` is one subscription below.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { TunRecord } from '#kel/record/record';
import { algorithmOfKey, verifyKeySignatures } from '#kel/state/key-signatures';
import type { KeyState } from '#kel/state/key-state';
import { formatDateTime } from '#src/clock';
import { sha256 } from '#src/crypto/hash';
import { label } from '#src/crypto/labels';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import { AgreementStore } from './agreement/agreement-store.ts';
import type { RunningDrivers } from './drivers.ts';
import { EvidenceExchange } from './duplicity/evidence-exchange.ts';
import type { RotationChange } from './identity/identity.ts';
import type { Charter } from './membership/charter.ts';
import { overlayAddress } from './membership/overlay-address.ts';
import type { Network } from './network/network.ts';
import { takeApproval } from './node/approval.ts';
import { withDelegators } from './node/delegators.ts';
import { bringRequest, serveNodes } from './node/node-service.ts';
import { requestStream } from './node/request.ts';
import { type Organisation, recordOwnEvents } from './organisation.ts';
import { TunnelProofs } from './proof/tunnel-proofs.ts';
import type { Draft } from './records/record-issuer.ts';
import { Acknowledgements } from './revocation/acknowledgements.ts';
import { RotationError } from './rotation/errors.ts';
import { type PairRequest, PairRequests } from './rotation/pair-requests.ts';
import { Rotations } from './rotation/rotations.ts';
import { type RotationPolicy, Schedule } from './rotation/schedule.ts';
import { StateTable } from './state-table.ts';
import { Dialler } from './sync/dialler.ts';
import { Gossip } from './sync/gossip.ts';
import { issuerOf } from './sync/issuer-of.ts';
import { OwnEndpoints } from './sync/own-endpoints.ts';
import { PeerDirectory } from './sync/peer-directory.ts';
import { Sync } from './sync/sync.ts';
import { OwnTunnelKeys } from './tunnel/own-tunnel-keys.ts';
import { PairAgreements } from './tunnel/pair-agreements.ts';
import { type PairReceipt, type TunnelSettings, Tunnels } from './tunnel/tunnels.ts';
import { Watcher } from './watch/watcher.ts';
import { OwnWitnesses } from './witness/own-witnesses.ts';
import { WitnessService } from './witness/witness-service.ts';

/** Number of the storage key that seals agreements. */
const AGREEMENT_KEK = 1;
/** Number of the storage key from which the network identity derives. */
const NETWORK_KEK = 3;
/** An own event that waits for receipts is tried again this often, and witnesses that were away are asked again. */
const CONFIRM_MS = 5_000;

export interface AgentSettings {
  readonly tunnel: TunnelSettings;
  readonly rotation: RotationPolicy;
  /** Addresses under which UDP reaches this node; empty: those of the network. */
  readonly endpointHosts: readonly string[];
}

export class Agent {
  readonly organisation: Organisation;
  readonly network: Network;
  readonly sync: Sync;
  readonly gossip: Gossip;
  readonly agreements: PairAgreements;
  readonly tunnels: Tunnels;
  readonly proofs: TunnelProofs;
  readonly ownKeys: OwnTunnelKeys;
  readonly directory: PeerDirectory;
  readonly rotations: Rotations;
  readonly schedule: Schedule;
  /** Of the own log. */
  readonly witnesses: OwnWitnesses;
  /** Which WireGuard carries the tunnels. */
  readonly driverDescription: string;
  readonly watcher: Watcher;
  readonly #evidence: EvidenceExchange;
  readonly #requests: PairRequests;
  readonly #acknowledgements: Acknowledgements;
  readonly #endpoints: OwnEndpoints;
  readonly #dialler: Dialler;
  readonly #progress: StateTable;
  readonly #stop = new AbortController();
  readonly #confirming = new SerialQueue();
  readonly #changing = new SerialQueue();
  readonly #recording = new SerialQueue();
  #entered: Promise<void> | undefined;
  #lastCharter: Charter | undefined;

  private constructor(
    organisation: Organisation,
    network: Network,
    parts: {
      store: AgreementStore;
      table: StateTable;
      pairTable: StateTable;
      proofTable: StateTable;
      progress: StateTable;
      scheduleTable: StateTable;
      agreements: PairAgreements;
      ownKeys: OwnTunnelKeys;
      drivers: RunningDrivers;
      directory: PeerDirectory;
      witnessTable: StateTable;
    },
    settings: AgentSettings,
  ) {
    const { identity, kel, records, intake, issuer, membership, watch, keeper, verifySignature } =
      organisation;
    const { clock, rng, journal } = organisation.drivers;
    this.organisation = organisation;
    this.network = network;
    this.directory = parts.directory;
    this.driverDescription = parts.drivers.tunnels.description;
    this.agreements = parts.agreements;
    this.ownKeys = parts.ownKeys;
    this.#progress = parts.progress;
    const { directory } = this;
    this.witnesses = new OwnWitnesses({
      network,
      peerOf: (aid) => directory.peerOf(aid),
      kel,
      table: parts.witnessTable,
      clock,
      journal,
      self: identity.aid,
      signal: this.#stop.signal,
    });
    this.tunnels = new Tunnels(
      {
        identity,
        membership,
        records,
        kel,
        ownKeys: this.ownKeys,
        pairKeys: this.agreements,
        driver: parts.drivers.tunnels,
        network,
        directory,
        clock,
        rng,
        table: parts.pairTable,
        journal,
        isRevoked: (tunnelKey) => organisation.revocations.ofEpoch(tunnelKey) !== undefined,
      },
      settings.tunnel,
    );
    this.#endpoints = new OwnEndpoints({
      identity,
      network,
      issuer,
      clock,
      mesh: () => membership.mesh,
      ports: () => this.tunnels.devices,
      hosts: settings.endpointHosts,
    });
    this.sync = new Sync({
      network,
      identity,
      kel,
      records,
      intake,
      membership,
      directory,
      clock,
      rng,
      verifySignature,
      endpoints: () => this.#endpoints.current(),
      journal,
    });
    this.#evidence = new EvidenceExchange({
      network,
      membership,
      directory,
      kel,
      watch,
      clock,
      rng,
      journal,
    });
    this.watcher = new Watcher({
      kel,
      watch,
      membership,
      network,
      directory,
      fetchLog: parts.drivers.fetchLog,
      clock,
      rng,
      journal,
    });
    this.gossip = new Gossip({
      network,
      issuerOf,
      known: () => withDelegators(membership.heard(), kel),
      process: (message) => kel.process(message),
      behind: (author) => this.sync.catchUp(author),
      refused: (outcome, from) =>
        journal.warn('event.refused', {
          code: outcome.code,
          said: outcome.said,
          aid: outcome.aid,
          from,
        }),
    });
    this.#requests = new PairRequests({
      network,
      directory,
      clock,
      answer: (from, request) => this.rotations.answer(from, request),
    });
    this.rotations = new Rotations({
      membership,
      records,
      tunnels: this.tunnels,
      agreements: this.agreements,
      directory,
      requests: this.#requests,
      skewOf: (aid) => this.sync.skewOf(aid),
      clock,
      journal,
    });
    this.schedule = new Schedule(settings.rotation, {
      clock,
      rng,
      table: parts.scheduleTable,
      journal,
      rotate: async (kind) => {
        await (kind === 'id' ? this.rotate() : this.rotateTunnelKeys());
      },
    });
    this.#acknowledgements = new Acknowledgements({
      self: identity.aid,
      records,
      intake,
      issuer,
      membership,
      revocations: organisation.revocations,
      apply: () => this.tunnels.reconcile(),
      clock,
      journal,
    });
    this.proofs = new TunnelProofs({
      identity,
      membership,
      kel,
      records,
      keeper,
      pairKeys: this.agreements,
      overlay: parts.drivers.overlay,
      tunnels: () => this.tunnels.status(),
      verifySignature,
      clock,
      rng,
      table: parts.proofTable,
      journal,
    });
    this.#dialler = new Dialler({
      network,
      membership,
      directory,
      records,
      clock,
      rng,
      self: identity.aid,
    });
  }

  /** Opens everything and starts to serve. Devices that an earlier run left are taken over as they are. */
  static async start(
    organisation: Organisation,
    drivers: RunningDrivers,
    settings: AgentSettings,
  ): Promise<Agent> {
    const { identity, membership, kel, records, issuer, keeper, verifySignature } = organisation;
    const { clock, rng, db, suite, journal } = organisation.drivers;
    using seed = await identity.storageKey(NETWORK_KEK);
    const network = await drivers.network(new Secret(sha256(label('libp2p', seed.expose()))));
    await using onFailure = new AsyncDisposableStack();
    onFailure.defer(() => network.close());
    const directory = new PeerDirectory();
    const store = await AgreementStore.open(db, await identity.storageKey(AGREEMENT_KEK), rng);
    const ownKeys = new OwnTunnelKeys({ identity, records, issuer, mlKem: suite.mlKem1024, clock });
    const pending: { sync?: Sync; agent?: Agent } = {};
    const agreements = await PairAgreements.open({
      identity,
      membership,
      kel,
      records,
      ownKeys,
      store,
      network,
      directory,
      clock,
      journal,
      table: await StateTable.open(db, 'agreed'),
      agreement: {
        suite,
        rng,
        verifySignature: (keys, threshold, message, signatures) => {
          const indexed = signatures.flatMap(({ index, raw }) => {
            const algorithm = algorithmOfKey(keys[index] ?? '');
            return algorithm === undefined
              ? []
              : [{ code: '', algorithm, index, ondex: undefined, raw }];
          });
          return verifyKeySignatures(verifySignature, keys, threshold, message, indexed)
            .isSatisfied;
        },
      },
      recorded: (peer, th, epoch) => keeper.record('psk-agreed', { peer, th, epoch }),
      stale: (peer) => pending.sync?.request(peer),
      isRevoked: (tunnelKey) => organisation.revocations.ofEpoch(tunnelKey) !== undefined,
      skewOf: (aid) => pending.sync?.skewOf(aid),
      askRenewal: async (aid, view, th) =>
        pending.agent?.askPair(aid, { kind: 'renew', ...view, th, epoch: 0 }),
      tellEpoch: (aid, view, epoch) => {
        const th = pending.agent?.agreements.agreed(aid, view)?.th;
        if (th === undefined) return;
        const telling = pending.agent?.askPair(aid, { kind: 'epoch', ...view, th, epoch });
        telling?.catch(() => undefined);
      },
    });
    const agent = new Agent(
      organisation,
      network,
      {
        store,
        agreements,
        ownKeys,
        drivers,
        directory,
        table: await StateTable.open(db, 'agent'),
        pairTable: await StateTable.open(db, 'tunnel'),
        proofTable: await StateTable.open(db, 'proof'),
        progress: await StateTable.open(db, 'progress'),
        scheduleTable: await StateTable.open(db, 'schedule'),
        witnessTable: await StateTable.open(db, 'witnessed'),
      },
      settings,
    );
    pending.sync = agent.sync;
    pending.agent = agent;
    onFailure.defer(() => agent.#stop.abort());
    await agent.#start();
    onFailure.move();
    return agent;
  }

  /** @throws as {@link PairRequests.ask} */
  askPair(aid: Aid, request: PairRequest): Promise<void> {
    return this.#requests.ask(aid, request);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  async #start(): Promise<void> {
    const { signal } = this.#stop;
    const { membership, intake, kel, identity, keeper } = this.organisation;
    this.#lastCharter = membership.charter;
    this.#subscribe();
    if (membership.mesh !== undefined) this.gossip.join(membership.mesh);
    keeper.start(signal);
    this.agreements.start();
    this.#requests.start();
    this.#acknowledgements.start(signal);
    this.proofs.start(signal);
    this.#serveWitness();
    if (membership.isIn)
      await this.#enter().catch((error: unknown) => this.#deferIfAwaiting(error));
    await this.#endpoints.current();
    this.sync.start(signal);
    this.#evidence.start(signal);
    this.watcher.start(signal);
    this.#later(this.#recordForks());
    void this.#confirmLoop();
    void this.#dialler.run(signal);
    void this.schedule.run(signal);
    this.organisation.drivers.journal.info('agent.started', {
      aid: identity.aid,
      sn: identity.state.sn,
      logs: kel.aids().length,
      refused: intake.refused,
    });
  }

  #subscribe(): void {
    const { membership, intake, kel, identity } = this.organisation;
    const { signal } = this.#stop;
    const unsubscribe = [
      kel.subscribe((state, message) => this.#eventAccepted(state, message)),
      intake.subscribe((record) => {
        if (record.t === 'chr' || record.t === 'rvk') this.#later(membership.refresh());
        if (record.i === identity.aid) this.sync.push();
        else if (record.t === 'tun' || record.t === 'end') {
          if (record.t === 'end') this.#dialler.reset(record.i);
          this.tunnels.poke(record.i);
        }
      }),
      membership.subscribe(() => this.#later(this.#membershipChanged())),
      kel.subscribeDuplicity(() => this.#later(this.#recordForks())),
    ];
    this.sync.onBound((aid) => {
      this.tunnels.poke(aid);
      const peer = this.directory.peerOf(aid);
      if (peer !== undefined) this.#evidence.push(peer);
    });
    this.tunnels.listen({
      established: (aid) => this.proofs.prove(aid),
      removed: (aid, reason) => this.#later(this.#tunnelRemoved(aid, reason)),
      receipt: (aid, receipt) => this.#later(this.#receipt(aid, receipt)),
    });
    signal.addEventListener('abort', () => {
      for (const off of unsubscribe) off();
    });
  }

  #eventAccepted(state: KeyState, message: Uint8Array): void {
    const { identity, membership } = this.organisation;
    if (state.aid === identity.aid) {
      this.#later(this.gossip.publish(message));
      return;
    }
    if (membership.charter?.governors.includes(state.aid) === true)
      this.#later(membership.refresh());
    this.tunnels.poke(state.aid);
    // It may seal the rotation of this node.
    if (identity.pending !== undefined && state.aid === identity.state.delegator)
      this.#later(this.#confirm());
  }

  /** Forks that became known go into the audit log, those of an earlier run included. */
  #recordForks(): Promise<void> {
    const { suspensions, keeper, identity, drivers } = this.organisation;
    return this.#recording.run(async () => {
      for (const fork of suspensions.unrecorded()) {
        const { aid, sn, accepted, conflicting } = fork;
        const isOwn = aid === identity.aid;
        drivers.journal.error(isOwn ? 'identity.forked' : 'aid.suspended', {
          code: 'KEL_DUPLICITOUS',
          aid,
          sn,
          first: accepted,
          second: conflicting,
        });
        await keeper.record('duplicity', { peer: aid, sn, first: accepted, second: conflicting });
        await suspensions.recorded(fork);
      }
    });
  }

  async #membershipChanged(): Promise<void> {
    const { membership, keeper, intake, kel } = this.organisation;
    const { charter } = membership;
    if (membership.mesh !== undefined) this.gossip.join(membership.mesh);
    if (charter !== undefined && charter.said !== this.#lastCharter?.said) {
      await keeper.record('membership', {
        charter: charter.said,
        version: charter.version,
        change: describeChange(this.#lastCharter, charter),
      });
    }
    for (const aid of this.#lastCharter?.members.keys() ?? []) {
      const peer = this.directory.peerOf(aid);
      if (peer !== undefined && !membership.maySync(aid)) {
        this.directory.unbind(peer);
        this.#later(this.network.disconnect(peer));
      }
    }
    this.#lastCharter = charter;
    for (const knock of this.sync.knocks.list()) {
      if (!membership.maySync(knock.aid)) continue;
      await kel.process(knock.log);
      await intake.take(knock.endpoints, (type, issuer) => type === 'end' && issuer === knock.aid);
    }
    if (membership.isIn) {
      await this.#enter();
      await this.#replaceRevoked();
    } else await this.tunnels.reconcile();
    this.sync.push();
    this.tunnels.pokeAll();
  }

  /** Being a member: own tunnel keys sealed, device up, endpoints published, proofs answered. */
  async #enter(): Promise<void> {
    if (this.#entered !== undefined) {
      await this.#entered;
      return this.tunnels.reconcile();
    }
    this.#entered = this.#enterOnce().catch((error: unknown) => {
      this.#entered = undefined;
      throw error;
    });
    return this.#entered;
  }

  async #enterOnce(): Promise<void> {
    await this.#ensureTunnelKeys();
    await this.#announceNode();
    await this.tunnels.start(this.#stop.signal);
    await this.#endpoints.current();
    await this.proofs.listen();
    for (const { aid, view } of await this.tunnels.status())
      if (view !== undefined) this.proofs.prove(aid);
  }

  async #ensureTunnelKeys(): Promise<void> {
    const { records, identity } = this.organisation;
    const before = records.list('tun', identity.aid).at(-1)?.record.d;
    const { record } = await this.ownKeys.ensureCurrent();
    if (record.d !== before) await this.#recordTunnelKey(record.d);
    await this.#replaceRevoked();
  }

  /** Whoever delegated this node may revoke its keys: then the next ones follow at once. */
  async #replaceRevoked(): Promise<void> {
    const { records, identity, revocations } = this.organisation;
    const newest = records.list('tun', identity.aid).at(-1)?.record.d;
    if (newest === undefined || revocations.ofEpoch(newest) === undefined) return;
    const { record } = await this.ownKeys.renew();
    await this.#recordTunnelKey(record.d);
  }

  async #recordTunnelKey(said: Said): Promise<void> {
    const { records, keeper } = this.organisation;
    const message = records.get(said)?.message;
    if (message !== undefined)
      await keeper.record('tunnel-key', { record: said, digest: sha256(message) });
  }

  async #announceNode(): Promise<void> {
    const { records, identity, issuer, membership } = this.organisation;
    const { mesh, charter } = membership;
    const member = charter?.members.get(identity.aid);
    if (mesh === undefined || member === undefined) return;
    const address = overlayAddress(mesh, identity.aid);
    const last = records.latest('nod', identity.aid)?.record;
    if (last?.role === member.role && last.region === member.region && last.ov[0] === address)
      return;
    await issuer.issueSealed([
      {
        type: 'nod',
        fields: {
          o: identity.aid,
          role: member.role,
          region: member.region,
          of: ['A'],
          rq: ['A'],
          ov: [address],
        },
      },
    ]);
  }

  /** Receipts others' events, and has the own ones receipted. */
  #serveWitness(): void {
    const { identity, witness, desk, drivers } = this.organisation;
    const { directory, network, witnesses } = this;
    serveNodes(network, desk, drivers.clock);
    new WitnessService({
      network,
      witness,
      clock: drivers.clock,
      serves: (peer) => {
        const aid = directory.aidOf(peer);
        return aid !== undefined && witness.serves(aid);
      },
    }).start();
    identity.confirmWith({
      expectReachable: (aids, threshold) => witnesses.expectReachable(aids, threshold),
      collect: (event, aids, take) =>
        witnesses.collect(event, aids, async (receipt) => {
          const isLate = identity.pending?.said !== event.said;
          const isEnough = await take(receipt);
          if (isLate) this.#later(this.gossip.publish(receipt));
          return isEnough;
        }),
    });
  }

  async #confirmLoop(): Promise<void> {
    const { clock } = this.organisation.drivers;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(CONFIRM_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      await this.#confirm().catch((error: unknown) => this.#later(Promise.reject(error)));
    }
  }

  /** Finishes what waited, and brings witnesses level that were away. */
  #confirm(): Promise<void> {
    return this.#confirming.run(() => this.#confirmOnce());
  }

  async #confirmOnce(): Promise<void> {
    const { identity, issuer, membership } = this.organisation;
    if (identity.pending !== undefined && !(await identity.resume())) {
      await this.#askDelegator();
      return;
    }
    await issuer.settle();
    if (this.#progress.get('establishment') !== identity.state.establishment.said)
      await this.#ownKeysChanged();
    if (membership.isIn && this.#entered === undefined)
      await this.#enter().catch((error: unknown) => this.#deferIfAwaiting(error));
    await this.witnesses.catchUp(identity.state, async (receipt) => {
      if (await identity.takeReceipt(receipt)) await this.gossip.publish(receipt);
    });
  }

  /** A rotation of a node waits for its organisation: it is brought there as long as it does. */
  async #askDelegator(): Promise<void> {
    const { identity, kel, membership, drivers } = this.organisation;
    const { pending, state } = identity;
    const peer = state.delegator === undefined ? undefined : this.directory.peerOf(state.delegator);
    if (pending?.type !== 'drt' || peer === undefined) return;
    const name = membership.charter?.members.get(identity.aid)?.name ?? 'node';
    const request = await requestStream(kel, pending);
    const answer = await bringRequest(this.network, drivers.clock, peer, name, request);
    if (answer.kind === 'refused')
      drivers.journal.warn('node.refused', { code: answer.code, reason: answer.reason });
    if (answer.kind !== 'approved') return;
    await takeApproval(kel, pending, answer.stream);
  }

  /** Without its witnesses the node runs on as it is; what it wanted to seal is tried again. */
  #deferIfAwaiting(error: unknown): void {
    const { code, message } = error as { code?: string; message: string };
    if (code?.startsWith('IDENTITY_AWAITS_') !== true) throw error;
    this.organisation.drivers.journal.warn('event.waits', { code, message });
  }

  /**
   * Rotates the own log to its pre-rotated keys; the tunnels follow one by one without losing packets.
   * Audit log anchored before, new tunnel keys sealed after, known to the peers next, in use last.
   */
  async rotate(change: RotationChange = {}): Promise<KeyState> {
    const { identity, keeper } = this.organisation;
    await this.tunnels.makeRoom();
    await keeper.anchor().catch((error: unknown) => this.#deferIfAwaiting(error));
    await identity.rotate(change);
    await this.#ownKeysChanged();
    await this.schedule.rotated('id');
    return identity.state;
  }

  /** After a rotation, whoever noticed it first: its second call finds nothing to do. */
  #ownKeysChanged(): Promise<void> {
    return this.#changing.run(() => this.#followOwnKeys());
  }

  async #followOwnKeys(): Promise<void> {
    const { identity, keeper, membership } = this.organisation;
    await recordOwnEvents(identity, keeper, this.#progress);
    if (membership.isIn) {
      await this.#ensureTunnelKeys();
      await this.#tunnelKeysChanged();
    }
    this.sync.push();
  }

  /** The next key epoch of the own tunnel keys under the same event of the log. Throws TUNNEL_BUSY, ROTATION_NO_TUNNEL. */
  async rotateTunnelKeys(): Promise<TunRecord> {
    if (!this.organisation.membership.isIn)
      throw new RotationError('ROTATION_NO_TUNNEL', 'this organisation is in no mesh');
    await this.tunnels.makeRoom();
    const record = await this.renewTunnelKeys();
    await this.schedule.rotated('tunnel');
    return record;
  }

  /** As {@link rotateTunnelKeys} without looking whether there is room: for keys that `beside` revokes in the same event. */
  async renewTunnelKeys(beside: readonly Draft[] = []): Promise<TunRecord> {
    const { record } = await this.ownKeys.renew(beside);
    await this.#recordTunnelKey(record.d);
    await this.#tunnelKeysChanged();
    this.sync.push();
    return record;
  }

  async #tunnelKeysChanged(): Promise<void> {
    await this.tunnels.reconcile();
    await this.#endpoints.current();
    this.tunnels.pokeAll();
  }

  /** Stops serving and anchors the audit log. Tunnels stay up unless `removeTunnels`. */
  async stop({ removeTunnels }: { readonly removeTunnels: boolean }): Promise<void> {
    const { keeper, drivers } = this.organisation;
    this.#stop.abort();
    await this.proofs.stop();
    if (removeTunnels) await this.tunnels.removeAll();
    // While the witnesses can still be asked.
    await keeper
      .anchor()
      .catch((error: unknown) =>
        drivers.journal.error('audit.anchor-failed', { message: (error as Error).message }),
      );
    await this.network.close();
    await this.organisation.close();
  }

  async #tunnelRemoved(aid: Aid, reason: string): Promise<void> {
    const { keeper, drivers } = this.organisation;
    await keeper.record('tunnel-down', {
      peer: aid,
      reason,
      time: formatDateTime(drivers.clock.now()),
    });
  }

  async #receipt(peer: Aid, receipt: PairReceipt): Promise<void> {
    const { step, kind, view, generation, rxBytes, txBytes } = receipt;
    await this.organisation.keeper.record('rotation', {
      peer,
      kind,
      step,
      own: view.own,
      theirs: view.peer,
      generation,
      rx: Math.max(0, rxBytes),
      tx: Math.max(0, txBytes),
    });
  }

  #later(task: Promise<unknown>): void {
    task.catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      const { code, message } = error as { code?: string; message: string };
      this.organisation.drivers.journal.error('agent.failed', { code: code ?? 'none', message });
    });
  }
}

function describeChange(before: Charter | undefined, after: Charter): string {
  const added = [...after.members.keys()].filter((aid) => before?.members.has(aid) !== true);
  const gone = [...(before?.members.keys() ?? [])].filter((aid) => !after.members.has(aid));
  return (
    [...added.map((aid) => `+${aid}`), ...gone.map((aid) => `-${aid}`)].join(' ').slice(0, 4_096) ||
    'terms'
  );
}

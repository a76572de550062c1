/** The parts of a running agent that turn key states into tunnels: agreements, devices, changes of keys, proofs. */
import type { Aid, Said } from '#kel/identifiers';
import {
  algorithmOfKey,
  type VerifySignature,
  verifyKeySignatures,
} from '#kel/state/key-signatures';
import { scopeOf } from '#src/net/address-scope';
import type { SteadyTime } from '#src/steady-time';
import { StateTable } from '#src/store/state-table';
import type { Relay } from '#src/wireguard/relay-program';
import { reachableAddresses } from '../../mesh/membership/reachable.ts';
import { Acknowledgements } from '../../mesh/revocation/acknowledgements.ts';
import type { PeerClocks } from '../../mesh/sync/peer-clocks.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { HostNames } from '../../network/host-names.ts';
import { hostOf } from '../../network/host-of.ts';
import type { Network } from '../../network/network.ts';
import type { AgreementDeps } from '../../tunnel/agreement/agreement.ts';
import { AgreementStore } from '../../tunnel/agreement/agreement-store.ts';
import { mixableSources } from '../../tunnel/agreement/policy.ts';
import { agreementPair } from '../../tunnel/pairs/agreement-pair.ts';
import { Edges } from '../../tunnel/pairs/edges.ts';
import { EpochKeys } from '../../tunnel/pairs/epoch-keys.ts';
import { OwnTunnelKeys } from '../../tunnel/pairs/own-tunnel-keys.ts';
import { NO_AGREEMENT, PairAgreements } from '../../tunnel/pairs/pair-agreements.ts';
import { type TunnelSettings, Tunnels } from '../../tunnel/pairs/tunnels.ts';
import { Views } from '../../tunnel/pairs/views.ts';
import { Echoes } from '../../tunnel/path/echoes.ts';
import { EdgeTest } from '../../tunnel/path/edge-test.ts';
import { PairLooks } from '../../tunnel/path/pair-looks.ts';
import { PathKeeper } from '../../tunnel/path/path-keeper.ts';
import { RouteMtus } from '../../tunnel/path/path-mtus.ts';
import { TunnelProofs } from '../../tunnel/proof/tunnel-proofs.ts';
import { ReachError } from '../../tunnel/reach/errors.ts';
import { directHosts } from '../../tunnel/reach/observation.ts';
import { Reach } from '../../tunnel/reach/reach.ts';
import { say } from '../../tunnel/reach/session.ts';
import { borrowRelay } from '../../tunnel/relay/borrowing.ts';
import { Lending, type LendingSettings } from '../../tunnel/relay/lending.ts';
import { PairRequests } from '../../tunnel/rotation/pair-requests.ts';
import { Rotations } from '../../tunnel/rotation/rotations.ts';
import type { RunningDrivers } from '../drivers.ts';
import type { Organisation } from '../organisation.ts';

/** While no charter says another. */
const USUAL_EPOCH_SECONDS = 3_600;

export interface TunnelPartsDeps {
  readonly organisation: Organisation;
  readonly drivers: RunningDrivers;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly settings: TunnelSettings;
  /** Under which UDP reaches this node, as the operator says. */
  readonly hostNames: HostNames;
  /** Undefined: this node lends no relay. */
  readonly lending: LendingSettings | undefined;
  /** Of members, as they were heard. */
  readonly clocks: PeerClocks;
  /** The time that epochs follow. */
  readonly time: SteadyTime;
}

export interface TunnelParts {
  readonly ownKeys: OwnTunnelKeys;
  readonly agreements: PairAgreements;
  readonly epochKeys: EpochKeys;
  readonly tunnels: Tunnels;
  readonly requests: PairRequests;
  readonly rotations: Rotations;
  readonly acknowledgements: Acknowledgements;
  readonly proofs: TunnelProofs;
  readonly paths: PathKeeper;
  readonly looks: PairLooks;
  readonly edgeTest: EdgeTest;
  readonly reach: Reach;
  /** Of this node; undefined where it lends none. */
  readonly lending: Lending | undefined;
  readonly relay: Relay | undefined;
}

export async function openTunnelParts(deps: TunnelPartsDeps): Promise<TunnelParts> {
  const { organisation, drivers, network, directory } = deps;
  const { identity, membership, kel, records, intake, issuer, keeper, verifySignature } =
    organisation;
  const { clock, rng, db, suite, journal } = organisation.drivers;
  const { overlay } = drivers;
  const store = await AgreementStore.open(db, await identity.storageKey('agreements'), rng);
  const ownKeys = new OwnTunnelKeys({
    identity,
    records,
    issuer,
    mlKem: suite.mlKem1024,
    clock,
    rng,
    recordVersion: () => membership.recordVersion,
  });
  const isRevoked = (tunnelKey: Said) => organisation.revocations.ofEpoch(tunnelKey) !== undefined;
  const views = new Views({ identity, kel, records, ownKeys, clock, isRevoked });
  const edges = new Edges({ membership, mixable: () => mixableSources });
  const requests = new PairRequests({ network, directory, clock });
  const skewOf = (aid: Aid) => deps.clocks.skewOf(aid, deps.time.now());
  const epochKeys = new EpochKeys({
    self: identity.aid,
    store,
    pairOf: (aid, view) => agreementPair({ membership, identity, records }, aid, view),
    epochSeconds: () => membership.charter?.epochs.lengthSeconds ?? USUAL_EPOCH_SECONDS,
    clock,
    time: deps.time,
    journal,
    skewOf,
    tellEpoch: (aid, view, epoch, th) => {
      requests.ask(aid, { kind: 'epoch', ...view, th, epoch }).catch(() => undefined);
    },
  });
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
    time: deps.time,
    journal,
    table: await StateTable.open(db, 'agreed'),
    agreement: {
      suite,
      rng,
      verifySignature: agreementVerifier(verifySignature),
    },
    recorded: (peer, th, epoch) => keeper.record('psk-agreed', { peer, th, epoch }),
    views,
    edges,
    skewOf,
    askRenewal: async (aid, view, th) =>
      requests.ask(aid, { kind: 'renew', ...view, th, epoch: 0 }),
    epochKeys,
  });
  const echoes = new Echoes({ overlay, membership, identity, clock, rng });
  const routeMtus = new RouteMtus();
  const lending =
    deps.lending === undefined || drivers.relay === undefined
      ? undefined
      : await openLending(deps, drivers.relay, deps.lending);
  const reach: Reach = new Reach({
    self: identity.aid,
    network,
    directory,
    driver: drivers.tunnels,
    clock,
    rng,
    journal,
    isMember: (aid) => membership.standing.other(aid) !== undefined,
    hosts: async () => ({
      own: ownHosts(network, membership.mesh),
      configured: await deps.hostNames.addresses(),
    }),
    devices: () => [...tunnels.devices.values()],
    tunnelsWith: (aid) => tunnels.ways.tunnelsWith(aid),
    placeOf: (aid, keys) => tunnels.ways.placeOf(aid, keys),
    lifeOf: (aid, keys) => tunnels.ways.lifeOf(aid, keys),
    apply: (aid, keys, begins) => tunnels.ways.apply(aid, keys, begins),
    faint: () => tunnels.ways.faint(),
    borrow: (aid) => borrowRelay({ network, directory, clock, journal }, aid),
    answerLend: async (conversation, from, to) => {
      if (lending === undefined) throw new ReachError('REACH_REFUSED', 'this node lends no relay');
      await say(conversation, await lending.lend(from, to));
    },
  });
  const tunnels: Tunnels = new Tunnels(
    {
      ...(drivers.wakeSocket === undefined ? {} : { wakeSocket: drivers.wakeSocket }),
      askAwake: (aid, view) =>
        requests.ask(aid, { kind: 'wake', ...view, th: NO_AGREEMENT, epoch: 0 }),
      askAsleep: (aid, view) =>
        requests.ask(aid, { kind: 'sleep', ...view, th: NO_AGREEMENT, epoch: 0 }),
      identity,
      membership,
      views,
      edges,
      ownKeys,
      pairKeys: agreements,
      epochKeys,
      driver: drivers.tunnels,
      network,
      directory,
      clock,
      rng,
      table: await StateTable.open(db, 'tunnel'),
      journal,
      isRevoked,
      routeMtu: (aid) => routeMtus.of(aid)?.bytes,
      ...(overlay.datagrams === undefined ? {} : { reaches: (aid: Aid) => echoes.reaches(aid) }),
      wayOf: (aid, view) => reach.wayOf(aid, view),
      seekWay: (aid, view) => reach.want(aid, view),
    },
    deps.settings,
  );
  const rotations = new Rotations({
    membership,
    records,
    tunnels,
    agreements,
    epochKeys,
    directory,
    requests,
    skewOf,
    clock,
    journal,
  });
  const acknowledgements = new Acknowledgements({
    self: identity.aid,
    records,
    intake,
    issuer,
    membership,
    revocations: organisation.revocations,
    apply: () => tunnels.reconcile(),
    clock,
    journal,
  });
  const proofs = new TunnelProofs({
    identity,
    membership,
    kel,
    records,
    keeper,
    pairKeys: agreements,
    epochKeys,
    overlay: drivers.overlay,
    tunnels,
    verifySignature,
    clock,
    rng,
    table: await StateTable.open(db, 'proof'),
    journal,
  });
  const { ways } = drivers;
  const looks = new PairLooks({
    network,
    directory,
    clock,
    membership,
    views,
    tunnels,
    agreements,
    epochKeys,
    echoes,
  });
  const paths = new PathKeeper({
    ways,
    tunnels,
    echoes,
    routeMtus,
    membership,
    identity,
    clock,
    journal,
  });
  const { relay } = drivers;
  return {
    ownKeys,
    agreements,
    epochKeys,
    tunnels,
    requests,
    rotations,
    acknowledgements,
    proofs,
    paths,
    looks,
    edgeTest: new EdgeTest({ echoes, clock }),
    reach,
    lending,
    relay,
  };
}

async function openLending(
  { organisation, network, directory, hostNames }: TunnelPartsDeps,
  relay: Relay,
  settings: LendingSettings,
): Promise<Lending> {
  const { identity, membership } = organisation;
  const { clock, journal, db } = organisation.drivers;
  const lending = new Lending(
    {
      relay,
      clock,
      journal,
      table: await StateTable.open(db, 'lent'),
      self: identity.aid,
      isMember: (aid) => membership.standing.other(aid) !== undefined,
      hosts: async () => (await hostNames.addresses()).filter((host) => scopeOf(host) === 'public'),
      hostOf: (aid) => {
        const peer = directory.peerOf(aid);
        return peer === undefined ? undefined : directHosts(network, peer)[0];
      },
    },
    settings,
  );
  membership.subscribe(() => {
    lending.expel().catch((error: unknown) => journal.failed('relay.failed', error));
  });
  return lending;
}

/** Addresses of this machine that are none of a relayed connection, and none inside the mesh. */
function ownHosts(network: Network, mesh: Said | undefined): readonly string[] {
  const hosts = reachableAddresses(network.addresses(), mesh).map(hostOf);
  return [...new Set(hosts.filter((host) => host !== undefined))];
}

/** An agreement names key and signature by index alone: the algorithm is that of the key. */
function agreementVerifier(verifySignature: VerifySignature): AgreementDeps['verifySignature'] {
  return (keys, threshold, message, signatures) => {
    const indexed = signatures.flatMap(({ index, raw }) => {
      const algorithm = algorithmOfKey(keys[index] ?? '');
      return algorithm === undefined ? [] : [{ code: '', algorithm, index, ondex: undefined, raw }];
    });
    return verifyKeySignatures(verifySignature, keys, threshold, message, indexed).isSatisfied;
  };
}

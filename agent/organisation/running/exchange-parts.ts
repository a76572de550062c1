/** The parts of a running agent by which it shares logs, records and evidence with others. */

import { issuerOf } from '#kel/event/issuer-of';
import type { SteadyTime } from '#src/steady-time';
import { StateTable } from '#src/store/state-table';
import { withDelegators } from '../../identity/node/delegators.ts';
import { OwnWitnesses } from '../../identity/witness/own-witnesses.ts';
import { EvidenceExchange } from '../../mesh/duplicity/evidence-exchange.ts';
import { QueryClient } from '../../mesh/query/query-client.ts';
import { QueryService } from '../../mesh/query/query-service.ts';
import { Dialler } from '../../mesh/sync/dialler.ts';
import { MemberFavour } from '../../mesh/sync/favour.ts';
import { Gossip } from '../../mesh/sync/gossip.ts';
import { Knocking } from '../../mesh/sync/knocking.ts';
import { OwnEndpoints } from '../../mesh/sync/own-endpoints.ts';
import { OwnTwin } from '../../mesh/sync/own-twin.ts';
import type { PeerClocks } from '../../mesh/sync/peer-clocks.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import { RecordGossip } from '../../mesh/sync/record-gossip.ts';
import { Sync } from '../../mesh/sync/sync.ts';
import { Watcher } from '../../mesh/watch/watcher.ts';
import type { HostNames } from '../../network/host-names.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import type { Tunnels } from '../../tunnel/pairs/tunnels.ts';
import type { RunningDrivers } from '../drivers.ts';
import type { Organisation } from '../organisation.ts';
import type { Operator } from './operator.ts';

export interface ExchangePartsDeps {
  readonly organisation: Organisation;
  readonly drivers: RunningDrivers;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly tunnels: Pick<Tunnels, 'devices'>;
  /** Of members, as they are heard. */
  readonly clocks: PeerClocks;
  /** The time that is told to others, and compared with theirs. */
  readonly time: SteadyTime;
  /** Addresses under which UDP reaches this node; none: the addresses of the network. */
  readonly hostNames: HostNames;
  /** What this organisation would like to be called where it asks to join. */
  readonly name: string | undefined;
  readonly signal: AbortSignal;
  readonly operator: Operator;
}

export interface ExchangeParts {
  /** Of the own log. */
  readonly witnesses: OwnWitnesses;
  readonly endpoints: OwnEndpoints;
  readonly sync: Sync;
  /** A second agent with the own keys, if there is one. */
  readonly twin: OwnTwin;
  readonly evidence: EvidenceExchange;
  readonly watcher: Watcher;
  /** What this organisation asks others, and what it answers. */
  readonly queries: QueryClient;
  readonly queryService: QueryService;
  readonly gossip: Gossip;
  readonly recordGossip: RecordGossip;
  readonly dialler: Dialler;
  readonly knocking: Knocking;
}

export async function openExchangeParts({
  organisation,
  drivers,
  network,
  directory,
  tunnels,
  clocks,
  time,
  hostNames,
  name,
  signal,
  operator,
}: ExchangePartsDeps): Promise<ExchangeParts> {
  const { identity, kel, records, intake, issuer, membership, watch, verifySignature } =
    organisation;
  const { clock, rng, db, journal } = organisation.drivers;
  const witnesses = new OwnWitnesses({
    network,
    peerOf: (aid) => directory.peerOf(aid),
    kel,
    table: await StateTable.open(db, 'witnessed'),
    clock,
    journal,
    self: identity.aid,
    signal: signal,
  });
  const endpoints = new OwnEndpoints({
    identity,
    network,
    issuer,
    clock,
    time,
    mesh: () => membership.mesh,
    recordVersion: () => membership.recordVersion,
    ports: () => tunnels.devices,
    hosts: () => hostNames.addresses(),
  });
  const sync = new Sync({
    network,
    identity,
    kel,
    records,
    intake,
    membership,
    directory,
    clock,
    clocks,
    time,
    rng,
    verifySignature,
    endpoints: () => endpoints.current(),
    journal,
  });
  const twin = new OwnTwin({
    identity,
    clock,
    journal,
    hasIssued: (said) => endpoints.hasIssued(said),
    reissue: () => {
      endpoints.renew();
      sync.push();
    },
  });
  intake.subscribe((record) => {
    if (record.t === 'end') void twin.seen(record);
  });
  identity.compareWith(async () => {
    // Whoever copies a state directory does not block its owner.
    if (!operator.isActing) twin.expectAlone();
    return sync.comparison.expectNewest();
  });
  network.setFavour(new MemberFavour({ membership, directory, records, clock }));
  const evidence = new EvidenceExchange({
    network,
    membership,
    directory,
    kel,
    watch,
    clock,
    rng,
    journal,
  });
  const watcher = new Watcher({
    kel,
    replies: organisation.replies,
    watch,
    membership,
    network,
    directory,
    fetchLog: drivers.fetchLog,
    clock,
    rng,
    journal,
  });
  const aidOf = (peer: PeerKey) => directory.aidOf(peer);
  const queries = new QueryClient({
    network,
    identity,
    clock,
    aidOf,
    bound: () => directory.bound(),
  });
  const queryService = new QueryService({
    network,
    identity,
    kel,
    verifySignature,
    clock,
    aidOf,
    mayHave: (peer, aid) => watcher.mayHave(peer, aid),
  });
  const gossip = new Gossip({
    network,
    issuerOf,
    known: (aid) => {
      if (membership.hears(aid)) return true;
      const heard = [...membership.known()].filter((known) => membership.hears(known));
      return withDelegators(heard, kel).has(aid);
    },
    process: (message) => kel.process(message),
    behind: (author) => sync.catchUp(author),
    refused: (outcome, from) =>
      journal.warn('event.refused', {
        code: outcome.code,
        said: outcome.said,
        aid: outcome.aid,
        from,
      }),
  });
  const recordGossip = new RecordGossip({
    network,
    mayIssue: (type, issuer) => membership.mayIssue(type, issuer),
    messageOf: (said) => records.get(said)?.message,
    sealingLog: async (issuer, said, maxBytes) => {
      const seal = await intake.sealedIn(issuer, said);
      return seal === undefined ? new Uint8Array(0) : kel.export(issuer, seal.sn, maxBytes);
    },
    takeLog: async (issuer, log) => {
      await kel.process(log, { accepts: (aid) => aid === issuer });
    },
    take: (message) => intake.take(message, (type, issuer) => membership.mayIssue(type, issuer)),
    behind: (author) => sync.catchUp(author),
  });
  const dialler = new Dialler({
    network,
    membership,
    directory,
    records,
    clock,
    rng,
    journal,
    self: identity.aid,
  });
  const knocking = new Knocking({
    network,
    directory,
    membership,
    sync,
    dialler,
    self: identity.aid,
    name,
    clock,
    journal,
  });
  return {
    witnesses,
    endpoints,
    sync,
    twin,
    evidence,
    watcher,
    queries,
    queryService,
    gossip,
    recordGossip,
    dialler,
    knocking,
  };
}

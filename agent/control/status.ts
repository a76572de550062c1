/** What `status`, `peer list` and `mesh show` tell: plain data, the same for people and for scripts. */

import { networkInterfaces } from 'node:os';
import type { Aid, Said } from '#kel/identifiers';
import type { Contribution } from '#kel/record/edge-rule';
import { type KeyStateReport, keyStateReport } from '#kel/verify/report';
import type { KeyStore } from '#src/keystore/key-store';
import { epochStart } from '../mesh/membership/epoch.ts';
import { overlayAddress } from '../mesh/membership/overlay-address.ts';
import { levelOf } from '../mesh/membership/policy/contribution.ts';
import type { PeerKey } from '../network/network.ts';
import { diskWarning } from '../organisation/disk-space.ts';
import type { Organisation } from '../organisation/organisation.ts';
import type { RunningParts } from '../organisation/running/agent.ts';
import type { TunnelStatus } from '../tunnel/pairs/tunnels.ts';
import type { PathLimit } from '../tunnel/path/path-mtu.ts';
import { forkReason, suspensionsJson } from './evidence-verbs.ts';
import {
  type ChangeReason,
  changeReason,
  type ReasonCode,
  type TunnelLook,
  type TunnelReason,
  tunnelReason,
} from './tunnel-reason.ts';
import type { Parts } from './verb.ts';
import { ownWitnessesJson, witnessJson } from './witness-verbs.ts';

/** What the status reads. */
export const statusParts = {
  organisation: [
    'identity',
    'kel',
    'records',
    'intake',
    'membership',
    'suspensions',
    'provenance',
    'witness',
    'drivers',
  ],
  agent: [
    'network',
    'directory',
    'time',
    'driverDescription',
    'sync',
    'twin',
    'gossip',
    'recordGossip',
    'knocking',
    'witnesses',
    'agreements',
    'epochKeys',
    'tunnels',
    'proofs',
    'paths',
    'ownKeys',
    'rotations',
    'schedule',
  ],
} as const satisfies Parts<keyof Organisation, keyof RunningParts>;

type StatusOrganisation = Pick<Organisation, (typeof statusParts.organisation)[number]>;
type StatusAgent = Pick<RunningParts, (typeof statusParts.agent)[number]>;

/** What the operator has confirmed. @param against what other stores said of this one */
export function confirmJson(
  { identity }: Pick<Organisation, 'identity'>,
  against: string | undefined,
) {
  const { aid, sn, said } = identity.state;
  return { schema: 'kelmesh.id-confirm/1', aid, sn, said, against: against ?? null };
}

/** Who holds the keys, and where. */
interface KeyPlace {
  readonly driver: KeyStore['description']['driver'] | 'custodians';
  readonly location: string;
}

export interface IdentityJson extends KeyStateReport {
  /** The log holds events that were not made here. */
  readonly foreignEvents: boolean;
  /** Why own events wait. */
  readonly stepBack: string | null;
  /** By name, where they sign and no key is here. */
  readonly custodians?: readonly string[];
  readonly keyStore: KeyPlace;
}

export function identityJson(
  organisation: Pick<Organisation, 'identity' | 'drivers'>,
): IdentityJson {
  const { state } = organisation.identity;
  return {
    ...keyStateReport(state),
    foreignEvents: organisation.identity.hasForeignEvents,
    stepBack: organisation.identity.stepBack ?? null,
    keyStore: {
      driver: organisation.drivers.keyStore.description.driver,
      location: organisation.drivers.keyStore.description.location,
    },
  };
}

export function meshJson(organisation: Pick<Organisation, 'membership' | 'identity'>) {
  const { membership, identity } = organisation;
  const { charter, mesh } = membership;
  if (mesh === undefined) return null;
  return {
    mesh,
    name: charter?.name ?? null,
    version: charter?.version ?? null,
    charter: charter?.said ?? null,
    governors: charter?.governors.slice(0, 1) ?? [membership.governor as Aid],
    isMember: membership.isIn,
    isGovernor: charter?.governors[0] === identity.aid,
    successor: charter?.governors[1] ?? null,
    revoked:
      membership.ownRevocation === undefined
        ? null
        : { from: membership.ownRevocation.from, reason: membership.ownRevocation.why },
    epochSeconds: charter?.epochs.lengthSeconds ?? null,
    minimumLevel: charter?.minimumLevel ?? null,
    recordVersion: membership.recordVersion,
    setBack: setBackJson(membership),
    members: [...(charter?.members.values() ?? [])].map(({ aid, name, role, region }) => ({
      aid,
      name,
      role,
      region,
      overlay: [overlayAddress(mesh, aid)],
    })),
  };
}

/** A charter that is refused because it would take the mesh back to an earlier version of records; null: there is none. */
function setBackJson({ standing }: Pick<Organisation['membership'], 'standing'>) {
  const { setBack } = standing;
  if (setBack === undefined) return null;
  const { d: charter, n: version, i: by } = setBack;
  return { charter, version, by };
}

/** Who asks to join; at a member that does not govern, whether the governor knows. */
export function knocksJson(agent: Pick<RunningParts, 'sync'>) {
  return agent.sync.knocks.list().map(({ aid, at, addresses, name, via, isPassedOn }) => ({
    aid,
    at: new Date(at).toISOString(),
    addresses,
    name: name ?? null,
    via: via ?? null,
    passedOn: isPassedOn === true,
  }));
}

/** How far this organisation's own wish to join has come; null for a member. */
function admissionJson(agent: Pick<RunningParts, 'knocking'>) {
  const admission = agent.knocking.admission();
  if (admission === undefined) return null;
  const { state, by, since, reason } = admission;
  return {
    state,
    by: by ?? null,
    since: since === undefined ? null : new Date(since).toISOString(),
    reason,
  };
}

/** A connection to another agent: `by` names the member that passes it on. */
interface ControlPath {
  readonly path: 'direct' | 'relayed';
  readonly by: string | null;
  /** As this end sees it. */
  readonly address: string | null;
}

/** Another member, and the tunnel to it. */
export interface PeerRow {
  readonly aid: Aid;
  /** In the charter. */
  readonly name: string;
  readonly overlay: readonly string[];
  readonly state: TunnelReason['state'] | 'suspended';
  /** Why it is not up; both null when it is. */
  readonly reason: string | null;
  readonly reasonCode: ReasonCode | null;
  /** Where its log stands here; null: there is none. */
  readonly sn: number | null;
  readonly said: Said | null;
  /** What its key was made of says which strategies protect the tunnel; null while none is agreed. */
  readonly level: 'A' | 'AB' | null;
  /** The preshared key in force; null while none is agreed. */
  readonly psk: {
    /** What was mixed into it, in the order of edge policy. */
    readonly sources: readonly Contribution[];
    /** From when on it counts: RFC 3339, UTC. */
    readonly since: string;
  } | null;
  /** How its packets go; null while there is no tunnel that is up. */
  readonly path: 'direct' | 'relayed' | null;
  /** Name of the member that relays; null: none does. */
  readonly relay: string | null;
  readonly epoch: number | null;
  /** First bytes of the agreement id, hex. */
  readonly agreement: string | null;
  readonly agreedAt: string | null;
  readonly generation: number;
  /** SAID of the record that both ends have signed. */
  readonly proof: Said | null;
  readonly interface: string | null;
  /** Prefixes behind it that are routed to it. */
  readonly prefixes: readonly string[];
  readonly endpoint: string | null;
  readonly lastHandshake: string | null;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly connected: boolean;
  /** How the control connection goes; null: there is none. */
  readonly control: ControlPath | null;
  readonly clockSkewMs: number | null;
  /** Bytes of the longest packet to it, and what limits it below the device; null: not known yet. */
  readonly mtu: { readonly bytes: number; readonly reason: string | null } | null;
  /** Why newer keys of a tunnel that is up wait; null: none do. */
  readonly change: ChangeReason | null;
  /** Why the preshared key keeps its epoch; null when it does not. */
  readonly postponed: string | null;
  /** Addresses of two agents that speak for it; null: there is one, as far as is known. */
  readonly twoPlaces: readonly string[] | null;
}

export async function peersJson(
  organisation: StatusOrganisation,
  agent: StatusAgent,
): Promise<readonly PeerRow[]> {
  const { membership, kel } = organisation;
  const statuses = await agent.tunnels.status();
  const epochs = new Map<Aid, number>();
  for (const { aid, view, agreed } of statuses)
    if (view !== undefined && agreed !== undefined)
      epochs.set(aid, await agent.epochKeys.epochOf(aid, view));
  const isOnline = hasAddress(organisation, agent);
  const inStanding = statuses.map((status): PeerRow => {
    const member = membership.charter?.members.get(status.aid);
    const state = kel.state(status.aid);
    const look = lookOf(organisation, agent, status, isOnline);
    const { state: word, reason, reasonCode } = tunnelReason(look);
    const { view, agreed } = status;
    const epoch = epochs.get(status.aid);
    const proof =
      view === undefined || agreed === undefined
        ? undefined
        : agent.proofs.proofOf(status.aid, view.own, view.peer, agreed.th);
    return {
      aid: status.aid,
      name: member?.name ?? '',
      overlay: membership.mesh === undefined ? [] : [overlayAddress(membership.mesh, status.aid)],
      state: word,
      reason,
      reasonCode,
      sn: state?.sn ?? null,
      said: state?.said ?? null,
      level: view === undefined || agreed === undefined ? null : levelOf(agreed.sources),
      psk: pskJson(agreed, epoch, membership.charter?.epochs.lengthSeconds),
      path: word !== 'up' ? null : status.relay === undefined ? 'direct' : 'relayed',
      relay:
        word !== 'up' || status.relay === undefined
          ? null
          : (membership.charter?.members.get(status.relay)?.name ?? status.relay),
      epoch: epoch ?? null,
      agreement:
        status.agreed === undefined
          ? null
          : Buffer.from(status.agreed.th).toString('hex').slice(0, 16),
      agreedAt: status.agreed === undefined ? null : new Date(status.agreed.at).toISOString(),
      generation: status.view?.generation ?? 0,
      proof: proof?.d ?? null,
      interface: status.device?.name ?? null,
      prefixes: status.subnets,
      endpoint: status.peer?.endpoint ?? null,
      lastHandshake:
        (status.peer?.lastHandshake ?? 0) === 0
          ? null
          : new Date(status.peer?.lastHandshake ?? 0).toISOString(),
      rxBytes: Number(status.peer?.rxBytes ?? 0n),
      txBytes: Number(status.peer?.txBytes ?? 0n),
      connected: agent.directory.peerOf(status.aid) !== undefined,
      control: controlPath(agent, organisation, status.aid),
      clockSkewMs: agent.sync.skewOf(status.aid) ?? null,
      mtu: mtuJson(agent.paths.limitOf(status.aid), status.peer?.endpoint),
      change: changeReason(look) ?? null,
      postponed: agent.rotations.postponement(status.aid),
      twoPlaces: agent.sync.placesOf(status.aid) ?? null,
    };
  });
  return [...inStanding, ...suspendedJson(organisation)];
}

/** @param epoch of the key in force  @param epochSeconds of the charter in force */
function pskJson(
  agreed: TunnelStatus['agreed'],
  epoch: number | undefined,
  epochSeconds: number | undefined,
): PeerRow['psk'] {
  if (agreed === undefined || epoch === undefined || epochSeconds === undefined) return null;
  const since = Math.max(agreed.at, epochStart(epoch, epochSeconds));
  return { sources: agreed.sources, since: new Date(since).toISOString() };
}

function mtuJson(limit: PathLimit | undefined, endpoint: string | undefined) {
  if (limit === undefined) return null;
  const { bytes, underlay, isMeasured } = limit;
  if (underlay !== undefined)
    return { bytes, reason: `the way to ${endpoint ?? 'it'} takes ${underlay} bytes` };
  return { bytes, reason: isMeasured ? `longer packets do not arrive` : null };
}

function controlPath(
  { directory, network }: Pick<StatusAgent, 'directory' | 'network'>,
  { membership }: Pick<Organisation, 'membership'>,
  aid: Aid,
): ControlPath | null {
  const peer = directory.peerOf(aid);
  if (peer === undefined) return null;
  const [address = null] = network.addressesOf(peer);
  const relay = network.relayOf(peer);
  if (relay === undefined) return { path: 'direct', by: null, address };
  const by = directory.aidOf(relay);
  const name = by && membership.charter?.members.get(by)?.name;
  return { path: 'relayed', by: name || by || relay, address };
}

/** Members that get no tunnel because their log has forked. */
function suspendedJson({
  membership,
  kel,
}: Pick<Organisation, 'membership' | 'kel'>): readonly PeerRow[] {
  const members = membership.isIn ? [...(membership.charter?.members.values() ?? [])] : [];
  return members.flatMap(({ aid, name }) => {
    const suspension = membership.suspensionOf(aid);
    if (suspension === undefined) return [];
    const state = kel.state(aid);
    return [
      {
        aid,
        name,
        overlay: membership.mesh === undefined ? [] : [overlayAddress(membership.mesh, aid)],
        state: 'suspended',
        reason: forkReason(suspension.sn, suspension.saids),
        reasonCode: 'suspended',
        sn: state?.sn ?? null,
        said: state?.said ?? null,
        level: null,
        psk: null,
        path: null,
        relay: null,
        epoch: null,
        agreement: null,
        agreedAt: null,
        generation: 0,
        proof: null,
        interface: null,
        prefixes: [],
        endpoint: null,
        lastHandshake: null,
        rxBytes: 0,
        txBytes: 0,
        connected: false,
        control: null,
        clockSkewMs: null,
        mtu: null,
        change: null,
        postponed: null,
        twoPlaces: null,
      },
    ];
  });
}

/** What the state word and its reason are told from. */
function lookOf(
  { kel, records }: StatusOrganisation,
  agent: StatusAgent,
  status: TunnelStatus,
  isOnline: boolean,
): TunnelLook {
  const { aid, view, peer, device, coming, failure } = status;
  return {
    edge: status.edge,
    isAsleep: status.isAsleep,
    hasLog: kel.state(aid) !== undefined,
    hasTunnelKeys: records.latest('tun', aid) !== undefined,
    isConnected: agent.directory.peerOf(aid) !== undefined,
    active: view && {
      ports: { own: device?.port, peer: peer?.endpoint },
      handshakeAge: status.handshakeAge,
      silentMs: status.silentMs,
      isUnanswered: status.isUnanswered,
    },
    coming: coming && {
      isAgreed: coming.isAgreed,
      stagedMs: coming.stagedMs,
      ports: { own: coming.ownPort, peer: coming.endpoint },
    },
    isLeftBehind: agent.tunnels.leftBehind(aid) !== undefined,
    isOutdated: isOutdated(records.latest('end', aid)?.record.p, agent),
    isApart: agent.epochKeys.apartSince(aid) !== undefined,
    failure,
    peerRefusal: failure?.refusal,
    ownDevice: agent.tunnels.deviceFailure,
    path: device && agent.paths.faultOf(aid, device.name),
    // Two agents of one machine need none.
    hasAddress: isOnline || /^(127\.|\[::1\])/.test(peer?.endpoint ?? ''),
  };
}

/** The peer that it was last connected as, whether or not it is bound now: what it speaks is refused before it can prove who it is. */
function isOutdated(peer: string | undefined, { network }: Pick<RunningParts, 'network'>): boolean {
  return peer !== undefined && network.isOutdated(peer as PeerKey);
}

/** Whether anything could leave this machine: an address of no loopback and of no tunnel. */
function hasAddress(
  { identity, membership }: Pick<Organisation, 'identity' | 'membership'>,
  { tunnels }: Pick<RunningParts, 'tunnels'>,
): boolean {
  const own = membership.mesh && overlayAddress(membership.mesh, identity.aid);
  const names = new Set([...tunnels.devices.values()].map(({ name }) => String(name)));
  return Object.entries(networkInterfaces()).some(
    ([name, addresses = []]) =>
      !names.has(name) &&
      addresses.some(
        ({ address, internal }) => !internal && address !== own && !address.startsWith('fe80:'),
      ),
  );
}

/** The clock of this machine was set; null when it shows the time that epochs follow. */
function clockStepJson({ time }: Pick<RunningParts, 'time'>) {
  const { step } = time;
  return step === undefined ? null : { byMs: step.byMs, at: new Date(step.at).toISOString() };
}

/** Null where there is no disk to look at. */
function diskJson({ drivers }: Pick<Organisation, 'drivers'>) {
  const space = drivers.disk?.();
  if (space === undefined) return null;
  const { path, freeBytes, totalBytes, freeFiles } = space;
  const warning = diskWarning(space) ?? null;
  return { path, freeBytes, totalBytes, freeFiles: freeFiles ?? null, warning };
}

function twinJson({ twin }: Pick<RunningParts, 'twin'>) {
  const { found } = twin;
  return found === undefined
    ? null
    : { since: new Date(found.since).toISOString(), addresses: found.addresses };
}

export type StatusJson = Awaited<ReturnType<typeof statusJson>>;

export async function statusJson(organisation: StatusOrganisation, agent: StatusAgent) {
  const peers = await peersJson(organisation, agent);
  const { membership, identity, intake } = organisation;
  const { currentRecord } = agent.ownKeys;
  const current =
    membership.isIn && currentRecord !== undefined
      ? agent.tunnels.devices.get(currentRecord)
      : undefined;
  return {
    schema: 'kelmesh.status/1',
    aid: identity.aid,
    sn: identity.state.sn,
    said: identity.state.said,
    foreignEvents: identity.hasForeignEvents,
    stepBack: identity.stepBack ?? null,
    twin: twinJson(agent),
    mesh: meshJson(organisation),
    driver: agent.driverDescription,
    interface: current?.name ?? null,
    port: current?.port ?? null,
    overlay: membership.mesh === undefined ? [] : [overlayAddress(membership.mesh, identity.aid)],
    addresses: agent.network.addresses(),
    clockStep: clockStepJson(agent),
    rotating: agent.tunnels.isRotating,
    agreements: agent.agreements.runs,
    peersUp: peers.filter(({ state }) => state === 'up').length,
    peers,
    admission: admissionJson(agent),
    knocks: knocksJson(agent),
    witnessThreshold: identity.state.witnessThreshold,
    witnesses: ownWitnessesJson(organisation, agent),
    waiting:
      identity.pending === undefined
        ? null
        : { sn: identity.pending.sn, said: identity.pending.said },
    witness: witnessJson(organisation),
    suspended: suspensionsJson(organisation),
    escrow: organisation.kel.escrowed().length,
    auditLeaves: organisation.provenance.log.size,
    disk: diskJson(organisation),
    counters: {
      gossip: { ...agent.gossip.counters },
      recordGossip: { ...agent.recordGossip.counters },
      recordsRefused: intake.refused,
      recordsUnknown: intake.unknown,
      knocksDropped: agent.sync.knocks.dropped,
      connectionsTurnedAway: agent.network.turnedAway,
      sessions: agent.sync.sessions,
    },
    nextRotation: agent.schedule.next(),
    nextEpoch: new Date(agent.epochKeys.nextEpochAt()).toISOString(),
  };
}

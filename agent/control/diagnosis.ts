/**
 * What `doctor` finds in a status: each root cause once, with its cure, and the members that it concerns. Pure: the same status gives
 * the same checks.
 */
import type { Aid } from '#kel/identifiers';
import type { Signature } from '../tunnel/path/signature.ts';
import { type Check, checkOf } from './checks.ts';
import type { PeerRow, StatusJson } from './status.ts';
import type { ReasonCode } from './tunnel-reason.ts';

/** Why tunnels are down that has one cause at this machine, whatever is said of each. */
const OF_THIS_MACHINE: ReadonlySet<ReasonCode | Signature> = new Set([
  'no-address',
  'own-device-failed',
  'link-down',
  'address-missing',
]);
/** Why tunnels are down that only both ends together can tell. */
const BETWEEN_ENDS: ReadonlySet<ReasonCode> = new Set([
  'no-handshake',
  'silent',
  'unanswered',
  'session-ended',
  'epochs-apart',
  'setting-up',
]);
/** Tunnels that are watched at a time. */
const MAX_WATCHED = 16;
/** Seconds may pass between the handshake and the proof. */
const PROOF_MS = 60_000;
/** Clocks that differ by this much make agreements and records wait. */
const SKEW_MS = 30_000;

export interface Question {
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
  /** The AID or the name of the one member that is asked about. */
  readonly only?: string | undefined;
  /** What was told from a look at both ends. */
  readonly signatures?: ReadonlyMap<Aid, Signature>;
}

/** Those that a look at both ends may tell more of. @param only as in {@link Question} */
export function toWatch(status: StatusJson, only?: string): readonly Aid[] {
  return status.peers
    .filter(({ aid, name }) => only === undefined || aid === only || name === only)
    .filter(({ reasonCode }) => reasonCode !== null && BETWEEN_ENDS.has(reasonCode))
    .slice(0, MAX_WATCHED)
    .map(({ aid }) => aid);
}

export function diagnose(
  status: StatusJson,
  { now, only, signatures = new Map() }: Question,
): readonly Check[] {
  const peers = status.peers.filter(
    ({ aid, name }) => only === undefined || aid === only || name === only,
  );
  return [
    ...ofMachine(status),
    ...ofIdentity(status),
    ...ofMesh(status),
    ...ofTunnels(peers, signatures),
    ...ofMembers(peers, now),
  ];
}

function ofMachine({ clockStep, disk, driver }: StatusJson): readonly Check[] {
  const checks = [checkOf('driver', `tunnels are carried by ${driver}`)];
  if (clockStep !== null)
    checks.push(checkOf('clock-stepped', `the clock was set, by ${clockStep.byMs} ms`));
  if (disk !== null && disk.warning !== null) checks.push(checkOf('disk', disk.warning));
  return checks;
}

function ofIdentity(status: StatusJson): readonly Check[] {
  const { twin, stepBack, foreignEvents, waiting, suspended } = status;
  const checks: Check[] = [];
  const fork = suspended.find(({ own }) => own);
  if (fork !== undefined)
    checks.push(checkOf('own-fork', `the own log has forked: ${fork.reason}`));
  if (twin !== null)
    checks.push(
      checkOf(
        'twin',
        `since ${twin.since} another agent runs with the keys of this one, at ${twin.addresses.join(', ') || 'an unknown address'}`,
      ),
    );
  if (stepBack !== null) checks.push(checkOf('step-back', `own events wait: ${stepBack}`));
  if (foreignEvents && fork === undefined)
    checks.push(checkOf('foreign-events', 'the own log holds events that were not made here'));
  if (waiting !== null)
    checks.push(checkOf('event-waits', `event ${waiting.sn} is signed and not final yet`));
  return checks;
}

function ofMesh({ mesh, admission, aid, peers }: StatusJson): readonly Check[] {
  if (mesh === null) return [checkOf('no-mesh', 'this organisation is in no mesh')];
  if (mesh.revoked !== null)
    return [
      checkOf('removed', `removed by the governor: ${mesh.revoked.reason || 'no reason given'}`),
    ];
  if (!mesh.isMember)
    return admission?.state === 'not-reached' || admission?.state === 'door-only'
      ? [checkOf('governor-not-reached', `the governor has not heard of it: ${admission.reason}`)]
      : [checkOf('not-admitted', admission?.reason ?? 'the governor has not admitted it yet')];
  const governor = peers.find((peer) => mesh.governors.includes(peer.aid));
  return governor === undefined || governor.connected || mesh.governors.includes(aid)
    ? []
    : [
        checkOf(
          'governor-away',
          `the governor ${governor.name} is not connected: who is admitted or removed is not heard`,
        ),
      ];
}

/** What is wrong at this machine is said once; what is wrong with members, once for each cause. */
function ofTunnels(
  peers: readonly PeerRow[],
  found: ReadonlyMap<Aid, Signature>,
): readonly Check[] {
  const byCode = new Map<ReasonCode | Signature, PeerRow[]>();
  for (const peer of peers) {
    const code = peer.reasonCode && (found.get(peer.aid) ?? peer.reasonCode);
    if (code !== null) byCode.set(code, [...(byCode.get(code) ?? []), peer]);
  }
  const checks: Check[] = [];
  const up = peers.filter(({ state }) => state === 'up').length;
  if (peers.length > 0 && up === peers.length)
    checks.push(checkOf('tunnels', `${up} of ${peers.length} tunnels are up`));
  for (const [code, rows] of byCode) {
    const [first] = rows;
    const reason = first?.reason ?? '';
    const text =
      OF_THIS_MACHINE.has(code) || rows.length === 1 ? reason : `${rows.length} members: ${reason}`;
    checks.push(checkOf(code, text, OF_THIS_MACHINE.has(code) ? [] : rows));
  }
  for (const code of ['change-blocked', 'old-version'] as const) {
    const waiting = peers.filter(({ change }) => change?.reasonCode === code);
    const [first] = waiting;
    if (first !== undefined) checks.push(checkOf(code, first.change?.reason ?? '', waiting));
  }
  return checks;
}

function ofMembers(peers: readonly PeerRow[], now: number): readonly Check[] {
  const checks: Check[] = [];
  const each = (
    code: Parameters<typeof checkOf>[0],
    isSo: (peer: PeerRow) => boolean,
    words: (peer: PeerRow) => string,
  ): void => {
    const rows = peers.filter(isSo);
    const [first] = rows;
    if (first !== undefined) checks.push(checkOf(code, words(first), rows));
  };
  each(
    'not-proven',
    ({ state, proof, agreedAt }) =>
      state === 'up' && proof === null && now - Date.parse(agreedAt ?? '') > PROOF_MS,
    () => 'a tunnel is up, and no proof of it is signed by both ends',
  );
  each(
    'mtu-lowered',
    ({ mtu }) => mtu !== null && mtu.reason !== null,
    ({ mtu }) => `packets of ${mtu?.bytes} bytes at most go to it: ${mtu?.reason}`,
  );
  each(
    'clock-skew',
    ({ clockSkewMs }) => Math.abs(clockSkewMs ?? 0) > SKEW_MS,
    ({ clockSkewMs }) =>
      `its clock and this one are ${Math.round((clockSkewMs ?? 0) / 1_000)} s apart`,
  );
  each(
    'two-places',
    ({ twoPlaces }) => twoPlaces !== null,
    ({ twoPlaces }) =>
      `two agents speak for it, from ${twoPlaces?.join(', ') || 'unknown addresses'}`,
  );
  return checks;
}

/** Why a tunnel is not up: one of a closed list of codes, and words that name ports where ports matter. Pure. */
import { unreachable } from '#src/errors';
import type { StepFailure } from '../tunnel/pairs/changes.ts';
import type { Edge } from '../tunnel/pairs/edges.ts';
import type { PathFault } from '../tunnel/path/path-fault.ts';

/** WireGuard rejects a session older than this (REJECT_AFTER_TIME), so a handshake older than it carries nothing. */
const REJECT_AFTER_MS = 180_000;
/** A first handshake and two retries (REKEY_TIMEOUT is 5 s) have come by then. */
const HANDSHAKE_MS = 16_000;

/** In `docs/operations.md` with what to look at; a test compares. */
export const reasonCodes = [
  'no-log',
  'no-tunnel-keys',
  'not-connected',
  'agreeing',
  'agreement-failed',
  'setting-up',
  'own-device-failed',
  'peer-device-failed',
  'no-address',
  'link-down',
  'address-missing',
  'routed-elsewhere',
  'not-routed',
  'no-handshake',
  'silent',
  'unanswered',
  'session-ended',
  'epochs-apart',
  'change-blocked',
  'left-behind',
  'old-version',
  'suspended',
  'asleep',
  'policy-closed',
  'policy-lacking',
] as const;

export type ReasonCode = (typeof reasonCodes)[number];

export interface TunnelReason {
  readonly state: 'up' | 'waiting' | 'down';
  /** Null when it is up. */
  readonly reasonCode: ReasonCode | null;
  readonly reason: string | null;
}

/** Where the ends of a view stand. */
export interface Ports {
  /** UDP port of the own device. */
  readonly own: number | undefined;
  /** Address and UDP port of the other end, as far as they are known. */
  readonly peer: string | undefined;
}

export interface TunnelLook {
  /** It has no tunnel until a packet wants to go there. */
  readonly isAsleep: boolean;
  /** What the policy has for the two. */
  readonly edge: Edge;
  readonly hasLog: boolean;
  readonly hasTunnelKeys: boolean;
  readonly isConnected: boolean;
  /** The view that this end routes to; undefined: none. */
  readonly active:
    | {
        readonly ports: Ports;
        /** Milliseconds; undefined: there was no handshake. */
        readonly handshakeAge: number | undefined;
        /** How long nothing has come although it was asked; undefined: it is alive, or not known yet. */
        readonly silentMs: number | undefined;
        /** An end that answers echoes answers none, though its WireGuard is heard. */
        readonly isUnanswered: boolean;
      }
    | undefined;
  /** The first view of a pair, or the one after the active one. */
  readonly coming:
    | { readonly isAgreed: boolean; readonly stagedMs: number | undefined; readonly ports: Ports }
    | undefined;
  readonly isLeftBehind: boolean;
  readonly isApart: boolean;
  /** It speaks a version of the protocols alone that this end does not speak any more. */
  readonly isOutdated: boolean;
  /** The last step with this peer that failed, since when none has succeeded. */
  readonly failure: Pick<StepFailure, 'code' | 'message'> | undefined;
  /** What the other end said when it refused. */
  readonly peerRefusal: string | undefined;
  /** An own device that could not be made or changed. */
  readonly ownDevice: { readonly message: string } | undefined;
  /** Why packets would not go into the tunnel; undefined: they would, or nobody can say. */
  readonly path: PathFault | undefined;
  /** This machine has an address besides those of loopback and of its tunnels. */
  readonly hasAddress: boolean;
}

const UP: TunnelReason = { state: 'up', reasonCode: null, reason: null };

export function tunnelReason(look: TunnelLook): TunnelReason {
  const { active, path } = look;
  const none = ofPolicy(look.edge);
  if (none !== undefined) return none;
  if (look.isAsleep)
    return because('waiting', 'asleep', 'it sleeps: the first packet to it brings the tunnel up');
  const lives =
    active?.handshakeAge !== undefined &&
    active.handshakeAge < REJECT_AFTER_MS &&
    active.silentMs === undefined &&
    !active.isUnanswered;
  // Without an address nothing leaves the machine, whatever was heard a moment ago.
  if (lives && look.hasAddress && path === undefined) return UP;
  const ofThis = ofMachine(look) ?? (active && path && ofPath(path));
  if (ofThis === undefined && look.isOutdated) return because('down', 'old-version', OLD_VERSION);
  return ofThis ?? (active === undefined ? ofComing(look) : ofActive(look, active));
}

/** Of a tunnel that is up. */
export interface ChangeReason {
  readonly reasonCode: 'change-blocked' | 'old-version';
  readonly reason: string;
}

const OLD_VERSION =
  'its agent speaks version 1 of the protocols alone, and the mesh has moved to version 2: it has to be updated';

/** Why newer keys of a tunnel wait, although packets go under the former ones; undefined: none do, or not for long enough. */
export function changeReason({ active, coming, isOutdated }: TunnelLook): ChangeReason | undefined {
  if (active === undefined) return undefined;
  if (isOutdated)
    return { reasonCode: 'old-version', reason: `no newer keys come: ${OLD_VERSION}` };
  if (coming?.isAgreed !== true) return undefined;
  if (coming.stagedMs === undefined || coming.stagedMs < HANDSHAKE_MS) return undefined;
  return {
    reasonCode: 'change-blocked',
    reason: `newer keys wait: no handshake comes ${between(coming.ports)}`,
  };
}

/** What keeps packets out of the tunnel at this end, whatever the other end does. */
function ofPath(path: PathFault): TunnelReason {
  switch (path.kind) {
    case 'link-down':
      return because('down', path.kind, `the own interface ${path.device} is down or gone`);
    case 'address-missing':
      return because(
        'down',
        path.kind,
        `the own overlay address ${path.address} is on no interface`,
      );
    case 'routed-elsewhere':
      return because(
        'down',
        path.kind,
        `packets to it go into ${path.device}${path.table === undefined ? '' : `, by a rule for table ${path.table}`}: not into its tunnel`,
      );
    case 'not-routed':
      return because('down', path.kind, `the system sends no packets to it: ${path.said}`);
    default:
      return unreachable(path);
  }
}

/** Where there is to be no tunnel. */
function ofPolicy(edge: Edge): TunnelReason | undefined {
  if (edge.kind === 'closed') {
    const { rule, closedBy } = edge.terms;
    const by = closedBy === 'rule' && rule !== null ? `rule ${rule + 1}` : 'its topology';
    return because('down', 'policy-closed', `the policy of the mesh has no such tunnel: ${by}`);
  }
  if (edge.kind === 'lacking')
    return because(
      'down',
      'policy-lacking',
      `the policy requires ${edge.lacking.join(', ')}, which this node cannot mix into a key`,
    );
  return undefined;
}

/** What keeps every tunnel of this machine down. */
function ofMachine({ ownDevice, hasAddress }: TunnelLook): TunnelReason | undefined {
  if (!hasAddress)
    return because('down', 'no-address', 'this machine has no address but those of its tunnels');
  if (ownDevice !== undefined)
    return because('down', 'own-device-failed', `the own interface: ${ownDevice.message}`);
  return undefined;
}

function ofActive(
  { isApart, isConnected }: TunnelLook,
  { ports, handshakeAge, silentMs, isUnanswered }: NonNullable<TunnelLook['active']>,
): TunnelReason {
  const alone = isConnected ? '' : ', and it is not connected';
  if (isApart)
    return because(
      'down',
      'epochs-apart',
      'the two ends are at different key epochs, and agree afresh',
    );
  if (handshakeAge === undefined) return because('down', 'no-handshake', noHandshake(ports));
  if (silentMs !== undefined && handshakeAge < REJECT_AFTER_MS)
    return because(
      'down',
      'silent',
      `nothing has come for ${seconds(silentMs)} s, though it was asked, ${between(ports)}${alone}`,
    );
  if (isUnanswered && handshakeAge < REJECT_AFTER_MS)
    return because(
      'down',
      'unanswered',
      `its WireGuard is heard, ${between(ports)}, and no packet through the tunnel is answered`,
    );
  return because(
    'down',
    'session-ended',
    `last handshake ${seconds(handshakeAge)} s ago, ${between(ports)}${alone}`,
  );
}

function ofComing(look: TunnelLook): TunnelReason {
  const { isConnected, coming, failure, peerRefusal, isLeftBehind } = look;
  if (!look.hasLog) return because('waiting', 'no-log', 'its log has not arrived yet');
  if (!look.hasTunnelKeys)
    return because('waiting', 'no-tunnel-keys', 'its tunnel keys have not arrived yet');
  if (isLeftBehind)
    return because(
      'down',
      'left-behind',
      `it has not followed the last rotations, and has no tunnel until it does${isConnected ? '' : '; it is not connected'}`,
    );
  if (coming?.isAgreed !== true) {
    if (!isConnected)
      return because('waiting', 'not-connected', 'it is not connected, so no key is agreed');
    return failure?.code.startsWith('AGREEMENT_') === true
      ? because(
          'waiting',
          'agreement-failed',
          `no key is agreed: ${failure.code}, ${failure.message}`,
        )
      : because('waiting', 'agreeing', 'no key is agreed yet');
  }
  if (peerRefusal?.startsWith('WIREGUARD_') === true)
    return because(
      'waiting',
      'peer-device-failed',
      `a key is agreed, but the other end cannot set up its interface: ${peerRefusal}`,
    );
  if (coming.stagedMs !== undefined && coming.stagedMs >= HANDSHAKE_MS)
    return because('down', 'no-handshake', noHandshake(coming.ports));
  return because('waiting', 'setting-up', 'a key is agreed, the tunnel is being set up');
}

function noHandshake(ports: Ports): string {
  return `a key is agreed, but no handshake comes ${between(ports)}: UDP does not get through`;
}

function between({ own, peer }: Ports): string {
  const here = own === undefined ? 'an own UDP port that is not known' : `own UDP port ${own}`;
  return `between ${here} and ${peer ?? 'an address of the other end that is not known'}`;
}

function seconds(ms: number): number {
  return Math.round(ms / 1_000);
}

function because(state: 'waiting' | 'down', reasonCode: ReasonCode, reason: string): TunnelReason {
  return { state, reasonCode, reason };
}

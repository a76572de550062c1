/** The checks of `doctor`: a closed list of codes, each with how bad it is and what to do. `docs/doctor.md` has the same table. */
import type { Signature } from '../tunnel/path/signature.ts';
import type { ReasonCode } from './tunnel-reason.ts';

export type Severity = 'ok' | 'info' | 'warning' | 'error';

export interface Check {
  readonly code: CheckCode;
  readonly severity: Severity;
  readonly text: string;
  /** What to do; empty where nothing is to be done. */
  readonly cure: string;
  /** Members that it concerns, by name or AID; empty: it is of this machine. */
  readonly peers: readonly string[];
}

interface CheckKind {
  readonly severity: Severity;
  readonly cure: string;
}

const ownChecks = {
  config: {
    severity: 'error',
    cure: 'Correct the configuration; `kelmesh config check` says whether it is right.',
  },
  'identity-missing': { severity: 'error', cure: '`kelmesh init` makes the identity.' },
  'agent-not-running': {
    severity: 'error',
    cure: '`kelmesh up`, or `systemctl start kelmesh`; why it ended stands in the journal.',
  },
  agent: { severity: 'ok', cure: '' },
  driver: { severity: 'ok', cure: '' },
  'clock-stepped': {
    severity: 'warning',
    cure: 'Run NTP, and look at what set the clock. Key epochs go on as before until members confirm it.',
  },
  disk: {
    severity: 'warning',
    cure: 'Make room: without it no key changes and no tunnel comes up.',
  },
  'own-fork': {
    severity: 'error',
    cure: 'Somebody else signs with the keys of this organisation: `kelmesh id rotate`, and inform the members.',
  },
  twin: {
    severity: 'error',
    cure: 'Stop one of the two, then `kelmesh id confirm` at the one that lives. If the other is not yours: `kelmesh id rotate` here, now.',
  },
  'step-back': {
    severity: 'error',
    cure: 'Put the newest state directory back, bring a member in reach, or `kelmesh id confirm`.',
  },
  'foreign-events': {
    severity: 'warning',
    cure: '`kelmesh id log` shows them. If they are not yours: `kelmesh id rotate`.',
  },
  'event-waits': {
    severity: 'warning',
    cure: 'Its witnesses must be in reach: `kelmesh witness list`.',
  },
  'no-mesh': { severity: 'info', cure: '`kelmesh mesh create NAME`, or `kelmesh mesh join LINE`.' },
  removed: { severity: 'error', cure: 'Speak with the governor; it can admit the AID again.' },
  'governor-not-reached': {
    severity: 'error',
    cure: 'TCP 7400 of the governor, or of the member in the invite line, from here; `network.bootstrap`.',
  },
  'not-admitted': {
    severity: 'warning',
    cure: 'The governor has the request: `kelmesh mesh admit` there, with the AID compared by another way.',
  },
  'governor-away': {
    severity: 'warning',
    cure: 'TCP 7400 of one of the two; tunnels that are up stay up meanwhile.',
  },
  tunnels: { severity: 'ok', cure: '' },
  'mtu-lowered': {
    severity: 'info',
    cure: 'Nothing: the routes have the MTU that passes. Full packets need a way that takes 1,500 bytes, or less `tunnel.mtu`.',
  },
  'not-proven': {
    severity: 'warning',
    cure: 'TCP 7411 (`tunnel.proof-port`) on the overlay, at both ends: a firewall filters it.',
  },
  'clock-skew': { severity: 'warning', cure: 'Run NTP at both ends.' },
  'two-places': {
    severity: 'warning',
    cure: 'A copy of its state directory runs: tell its operator, who stops one of the two.',
  },
} as const satisfies Record<string, CheckKind>;

/** Of tunnels that are not up: the codes of `status`. */
const tunnelChecks: { readonly [C in ReasonCode]: CheckKind } = {
  'no-log': {
    severity: 'info',
    cure: 'It was admitted a moment ago, or the two agents are not connected.',
  },
  'no-tunnel-keys': { severity: 'info', cure: 'Its agent must run, and know that it is a member.' },
  'not-connected': {
    severity: 'warning',
    cure: 'TCP 7400 of one of the two ends; `network.announce` behind NAT; whether its agent runs.',
  },
  agreeing: {
    severity: 'info',
    cure: 'Wait some seconds; if it lasts, the journal of both for `psk.failed`.',
  },
  'agreement-failed': {
    severity: 'error',
    cure: 'The code that is named, in docs/errors.md; the clocks of both.',
  },
  'setting-up': {
    severity: 'info',
    cure: 'Wait some seconds; if it lasts, the journal for `tunnel.retry`.',
  },
  'own-device-failed': {
    severity: 'error',
    cure: 'Whether its name or port is taken: `ip link`, `ss -ulpn`; `tunnel.interface` and `tunnel.port`.',
  },
  'peer-device-failed': {
    severity: 'error',
    cure: 'The operator of the other end: the status there has `own-device-failed`.',
  },
  'no-address': {
    severity: 'error',
    cure: 'The network of this machine: no interface has an address.',
  },
  'link-down': {
    severity: 'error',
    cure: 'It is put back within two seconds; if it lasts, something takes it down: `ip monitor link`.',
  },
  'address-missing': {
    severity: 'error',
    cure: 'It is put back within two seconds; if it lasts, something takes it away: `ip monitor address`.',
  },
  'routed-elsewhere': {
    severity: 'error',
    cure: 'The other VPN, or whoever set that route: `ip rule`, `ip -6 route get ADDRESS`. Let it leave the prefix of the mesh alone.',
  },
  'not-routed': {
    severity: 'error',
    cure: '`ip rule` and `ip -6 route show table all`: a kill switch of another VPN, or a blackhole.',
  },
  'no-handshake': {
    severity: 'error',
    cure: 'UDP between the two ports named, in both directions; `tunnel.endpoints`. `kelmesh doctor --peer NAME` asks the other end too.',
  },
  silent: { severity: 'error', cure: 'The other machine, and the way to it.' },
  unanswered: {
    severity: 'error',
    cure: 'UDP 7411 (`tunnel.proof-port`) on the overlay is filtered at one end, or allowed IPs were changed there. `kelmesh doctor --peer NAME` asks the other end too.',
  },
  'session-ended': {
    severity: 'error',
    cure: 'The other machine, the way to it, and the firewalls for the two ports named.',
  },
  'epochs-apart': {
    severity: 'warning',
    cure: 'They agree afresh; if it lasts, the clocks of both.',
  },
  'change-blocked': {
    severity: 'warning',
    cure: 'UDP between the two ports named: a change of keys needs the four ports from `tunnel.port` on, at both ends.',
  },
  'left-behind': { severity: 'error', cure: 'Whether its agent runs: `kelmesh rotate status`.' },
  suspended: {
    severity: 'error',
    cure: '`kelmesh id evidence list`; then `kelmesh id evidence resolve`.',
  },
  'old-version': {
    severity: 'error',
    cure: 'Its operator updates the agent there: the mesh has moved to records of version 2, and there is no way back.',
  },
  asleep: {
    severity: 'info',
    cure: 'It is meant so: the policy has a lazy tunnel there, which comes up with the first packet.',
  },
  'policy-closed': {
    severity: 'info',
    cure: 'It is meant so: `kelmesh mesh policy show --pair A B`; the governor can change it.',
  },
  'policy-lacking': {
    severity: 'error',
    cure: 'The version and the configuration of this node; `kelmesh mesh policy show --pair A B`.',
  },
};

/** Of tunnels that are not up, where both ends were looked at. */
const signatureChecks: { readonly [C in Signature]: CheckKind } = {
  'no-endpoint': {
    severity: 'error',
    cure: 'No end knows where the other is: `tunnel.endpoints`, or `--endpoint` at `init`, of one of the two.',
  },
  'key-unknown-there': {
    severity: 'error',
    cure: 'It has not heard of the newest keys of this end: whether the two agents are connected, and its journal for `record.refused`.',
  },
  'key-outdated-here': {
    severity: 'error',
    cure: 'This end has not heard of its newest keys: whether the two agents are connected, and the journal for `record.refused`.',
  },
  'psk-mismatch': {
    severity: 'error',
    cure: '`kelmesh rotate psk --peer NAME` agrees afresh; if it comes again, the clocks of both.',
  },
  'reply-blocked': {
    severity: 'error',
    cure: 'Datagrams reach it, and its answers do not come here: UDP from its port to the own one, firewalls and NAT of both.',
  },
  'own-reply-blocked': {
    severity: 'error',
    cure: 'Its datagrams come here, and the answers do not reach it: UDP from the own port to its port, firewalls and NAT of both.',
  },
  'udp-blocked': {
    severity: 'error',
    cure: 'No datagram reaches it: UDP to its port, `tunnel.endpoints` there, firewalls and NAT of both.',
  },
  'allowed-ips-wrong': {
    severity: 'error',
    cure: 'Its device takes packets and drops them: something beside its agent changes allowed IPs there (`wg show`), or filters the overlay.',
  },
};

export type CheckCode = keyof typeof ownChecks | ReasonCode | Signature;

export const checkKinds: { readonly [C in CheckCode]: CheckKind } = {
  ...ownChecks,
  ...tunnelChecks,
  ...signatureChecks,
};

/** Names of this many members; of more it is said how many. */
const MAX_NAMED = 16;

/** @param peers whom it concerns */
export function checkOf(
  code: CheckCode,
  text: string,
  peers: readonly { readonly aid: string; readonly name: string }[] = [],
): Check {
  const { severity, cure } = checkKinds[code];
  const named = peers.slice(0, MAX_NAMED).map(({ aid, name }) => name || aid);
  const more = peers.length - named.length;
  return {
    code,
    severity,
    text,
    cure,
    peers: more > 0 ? [...named, `and ${more} more`] : named,
  };
}

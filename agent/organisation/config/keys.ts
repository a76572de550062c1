/** Every key of the configuration file: what it takes, its default, what it does. The one place that `config check --help` and the parser read. */
import { isIP } from 'node:net';
import { formatIpPrefix, parseIpPrefix } from '#src/net/ip-prefix';
import { parseWindow, rotationEvents } from '../../tunnel/rotation/schedule.ts';

export type KeyKind =
  | { readonly type: 'text'; readonly pattern?: RegExp; readonly what: string }
  | { readonly type: 'path' }
  | { readonly type: 'choice'; readonly of: readonly string[] }
  | { readonly type: 'integer'; readonly min: number; readonly max: number; readonly unit: string }
  | { readonly type: 'boolean' }
  | {
      readonly type: 'list';
      readonly pattern: Pick<RegExp, 'test'>;
      readonly what: string;
      readonly max: number;
    };

export interface ConfigKey {
  readonly kind: KeyKind;
  /** Undefined: the key may be missing, and what that means is in `does`. */
  readonly fallback?: string | number | boolean | readonly string[];
  readonly required?: boolean;
  readonly does: string;
}

// A value never looks like a protocol name: there is one way to match, and no backtracking.
const multiaddr = /^(\/[a-z0-9-]+(\/(?![a-z0-9-]+(\/|$))[^/\s]+)?)+$/;
const ipAddress = { test: (text: string) => isIP(text) !== 0 && !text.includes('%') };
const ipPrefix = {
  test: (text: string) => {
    const parsed = parseIpPrefix(text);
    return parsed !== undefined && formatIpPrefix(parsed) === text;
  },
};
/** A name ends in a label with a letter: no misspelt address passes for one. */
const DNS_NAME =
  /^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;
const endpointHost = {
  test: (text: string) =>
    ipAddress.test(text) || (DNS_NAME.test(text) && /[a-z]/i.test(text.split('.').at(-1) ?? '')),
};

/** By `section.key`; a key without section stands at the top of the file. */
export const configKeys = {
  name: {
    kind: {
      type: 'text',
      pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
      what: '1 to 63 of a-z, 0-9 and hyphen',
    },
    required: true,
    does: 'name of this organisation, as the governor proposes it to the others',
  },
  state: {
    kind: { type: 'path' },
    fallback: '/var/lib/kelmesh',
    does: 'directory of logs, records and the audit log',
  },
  'control.socket': {
    kind: { type: 'path' },
    does: 'socket of the running agent; default: control.sock in the state directory',
  },
  'control.group': {
    kind: {
      type: 'text',
      pattern: /^([A-Za-z_][A-Za-z0-9_-]{0,31}|\d{1,10})$/,
      what: 'a group of /etc/group, or its number',
    },
    does: 'whose members may read `status` and other lists, at a socket of their own; default: nobody but the user who runs the agent',
  },
  'control.status-socket': {
    kind: { type: 'path' },
    fallback: '/run/kelmesh/status.sock',
    does: 'socket for the group of `control.group`, mode 0660; in a directory that the group can enter and only the agent writes',
  },
  'keystore.tier': {
    kind: { type: 'choice', of: ['sealed-file', 'softhsm', 'pkcs11'] },
    fallback: 'sealed-file',
    does: 'where private keys live: a file sealed with a passphrase, SoftHSM, or any PKCS#11 token',
  },
  'keystore.secret-file': {
    kind: { type: 'path' },
    does: 'file (mode 0600) with the passphrase or PIN; without it kelmesh asks on the terminal',
  },
  'keystore.module': {
    kind: { type: 'path' },
    does: 'PKCS#11 module; default for softhsm: where Debian puts it',
  },
  'keystore.token': {
    kind: { type: 'text', what: 'a token label of up to 32 characters', pattern: /^.{1,32}$/ },
    fallback: 'kelmesh',
    does: 'label of the PKCS#11 token',
  },
  'keystore.algorithm': {
    kind: { type: 'choice', of: ['ed25519', 'p256'] },
    fallback: 'ed25519',
    does: 'algorithm of new signing keys',
  },
  'log.kind': {
    kind: { type: 'choice', of: ['CBOR', 'JSON'] },
    fallback: 'CBOR',
    does: 'serialization of the own key event log',
  },
  'log.level': {
    kind: { type: 'choice', of: ['debug', 'info', 'warn', 'error'] },
    fallback: 'info',
    does: 'least level of what the agent writes to stderr',
  },
  'network.listen': {
    kind: { type: 'list', pattern: multiaddr, what: 'multiaddrs', max: 16 },
    fallback: ['/ip4/0.0.0.0/tcp/7400', '/ip6/::/tcp/7400'],
    does: 'where the agent listens for other agents',
  },
  'network.tls-port': {
    kind: { type: 'integer', min: 0, max: 65_535, unit: 'TCP port' },
    fallback: 443,
    does: 'port on which a node that serves as a relay listens within TLS as well, for networks that let out nothing else; where another program has it the node goes without; 0: none',
  },
  'network.announce': {
    kind: { type: 'list', pattern: multiaddr, what: 'multiaddrs', max: 16 },
    fallback: [],
    does: 'addresses told to others beside those of `listen`, e.g. behind NAT',
  },
  'network.bootstrap': {
    kind: { type: 'list', pattern: multiaddr, what: 'multiaddrs ending in /p2p/…', max: 64 },
    fallback: [],
    does: 'agents to dial at start',
  },
  'network.mdns': {
    kind: { type: 'boolean' },
    fallback: true,
    does: 'find agents on the local network',
  },
  'network.relay': {
    kind: { type: 'choice', of: ['auto', 'serve', 'use', 'off'] },
    fallback: 'auto',
    does: 'serve: pass on control connections between members that cannot reach each other; use: be reached through members that do; auto: serve where `tunnel.endpoints` or `network.announce` says how this node is reached, else use',
  },
  'tunnel.driver': {
    kind: { type: 'choice', of: ['auto', 'kernel', 'userspace'] },
    fallback: 'auto',
    does: 'WireGuard in the kernel, or a program; auto: the kernel where it can',
  },
  'tunnel.program': {
    kind: { type: 'path' },
    does: 'userspace program; default: the fastest found',
  },
  'tunnel.interface': {
    kind: {
      type: 'text',
      pattern: /^[A-Za-z0-9][A-Za-z0-9_.-]{0,13}$/,
      what: '1 to 14 of A-Z, a-z, 0-9, _, . and -, beginning with a letter or digit',
    },
    fallback: 'kelmesh',
    does: 'interface name without its last digit: two alternate when keys rotate',
  },
  'tunnel.port': {
    kind: { type: 'integer', min: 1, max: 65_532, unit: 'UDP port' },
    fallback: 51_820,
    does: 'UDP port of the first interface; up to three more, in use while keys change, have the next ones',
  },
  'tunnel.endpoints': {
    kind: { type: 'list', pattern: endpointHost, what: 'IP addresses or DNS names', max: 8 },
    fallback: [],
    does: 'addresses or names under which UDP reaches this node; names are resolved again every minute; default: the addresses on which the agent listens',
  },
  'tunnel.mtu': {
    kind: { type: 'integer', min: 1_280, max: 9_000, unit: 'bytes' },
    fallback: 1_420,
    does: 'MTU of the interface',
  },
  'tunnel.keepalive': {
    kind: { type: 'integer', min: 1, max: 3_600, unit: 'seconds' },
    fallback: 25,
    does: 'persistent keepalive of the end that starts the handshakes',
  },
  'tunnel.lazy-idle': {
    kind: { type: 'integer', min: 5, max: 86_400, unit: 'seconds' },
    fallback: 300,
    does: 'how long nothing goes through a lazy tunnel before it sleeps again',
  },
  'tunnel.prefixes': {
    kind: { type: 'list', pattern: ipPrefix, what: 'IP prefixes, zero bits behind them', max: 64 },
    fallback: [],
    does: 'prefixes behind this node that other members may reach through it, where the policy of the mesh lets them',
  },
  'tunnel.gateway-rank': {
    kind: { type: 'integer', min: 0, max: 255, unit: 'rank' },
    fallback: 100,
    does: 'of several nodes that name one prefix the lowest rank has it',
  },
  'tunnel.drain': {
    kind: { type: 'integer', min: 1, max: 3_600, unit: 'seconds' },
    fallback: 180,
    does: 'how long the former key of a rotated tunnel stays',
  },
  'tunnel.proof-port': {
    kind: { type: 'integer', min: 1, max: 65_535, unit: 'TCP port' },
    fallback: 7_411,
    does: 'port on the overlay address for tunnel proofs; the same in the whole mesh',
  },
  'relay.lends': {
    kind: { type: 'boolean' },
    fallback: true,
    does: 'with a public address in `tunnel.endpoints`: relay ciphertext between members that find no other way',
  },
  'relay.port': {
    kind: { type: 'integer', min: 1, max: 65_408, unit: 'UDP port' },
    does: 'first of 128 UDP ports of the relay; default: those after the ports of the interfaces',
  },
  'relay.daily': {
    kind: { type: 'integer', min: 1, max: 1_000_000, unit: 'GB' },
    fallback: 20,
    does: 'what is relayed for one member a day at most, both directions together',
  },
  'relay.rate': {
    kind: { type: 'integer', min: 1, max: 100_000, unit: 'Mbit/s' },
    fallback: 200,
    does: 'how fast one pair is relayed at most, both directions together',
  },
  'rotation.tunnel': {
    kind: { type: 'integer', min: 0, max: 8_760, unit: 'hours' },
    fallback: 0,
    does: 'new tunnel keys this often; 0: on demand and with each rotation of the log',
  },
  'rotation.id': {
    kind: { type: 'integer', min: 0, max: 87_600, unit: 'hours' },
    fallback: 0,
    does: 'rotate the key event log this often; 0: on demand',
  },
  'rotation.jitter': {
    kind: { type: 'integer', min: 0, max: 90, unit: 'percent' },
    fallback: 10,
    does: 'part of the interval by which a rotation may come earlier, so that not all nodes rotate at one time',
  },
  'rotation.window': {
    kind: {
      type: 'list',
      pattern: { test: (text: string) => parseWindow(text) !== undefined },
      what: 'times of day HH:MM-HH:MM, UTC',
      max: 8,
    },
    fallback: [],
    does: 'when scheduled rotations may begin; empty: at any time',
  },
  'rotation.on': {
    kind: {
      type: 'list',
      pattern: { test: (text: string) => rotationEvents.some((event) => event === text) },
      what: `events, of ${rotationEvents.join(', ')}`,
      max: rotationEvents.length,
    },
    fallback: [],
    does: 'what brings new tunnel keys at once: a member was removed or revoked, a member was suspended because its log has forked',
  },
  'rotation.asked-by': {
    kind: { type: 'choice', of: ['nobody', 'delegator', 'governor'] },
    fallback: 'governor',
    does: 'who may ask this organisation, in an emergency, to go to its pre-rotated keys at once: nobody, whoever delegated it, or also the governors of the mesh',
  },
  'rotation.deadline': {
    kind: { type: 'integer', min: 1, max: 1_440, unit: 'minutes' },
    fallback: 15,
    does: 'after this a peer that has not followed a rotation is shown as late; the next rotation leaves it behind, early or late',
  },
} as const satisfies Readonly<Record<string, ConfigKey>>;

export type ConfigKeyName = keyof typeof configKeys;

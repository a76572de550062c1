/**
 * The messages of `/kelmesh/1/reach`, each a CBOR list whose first item is its kind. Whoever opens the stream begins.
 *
 * ```
 * call(view, whether this end can probe, candidates, each with a token)  →
 *                                                                        ←   call
 * both probe
 * seen(which own candidates probes came to, and from where)              →
 *                                                                        ←   seen
 * relay(who relays, where)                                               →   only where no way was found
 *                                                                        ←   taken
 *
 * observe(token)                                                         →
 *                                                                        ←   ready(UDP ports of the own devices)
 * sends probes there
 *                                                                        ←   observed(from where it came, host of the control connection, tunnels of the two)
 *
 * lend(the other end)                                                    →
 *                                                                        ←   lent(UDP port of each end, hosts) or refused(code)
 * ```
 */
import { type Aid, parseAid, parseSaid, type Said } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import type { ProbeToken, UdpEndpoint } from '#src/wireguard/tunnel-driver';
import { parseUdpEndpoint } from '#src/wireguard/values';
import { decodeList, reading } from '../../network/exchange.ts';
import { CANDIDATE_KINDS, type Candidate, MAX_CANDIDATES } from './candidate.ts';
import { ReachError, reachFailure } from './errors.ts';
import type { Sighting } from './way.ts';

/** Bytes of a message. */
export const MAX_REACH_MESSAGE = 2_048;
const MAX_SEEN = 2 * MAX_CANDIDATES;
const MAX_PORTS = 4;
const MAX_TUNNELS = 4;
const MAX_RELAY_HOSTS = 4;
const MAX_HOST = 45;

/** What the other end puts into a probe to this candidate. */
export interface OfferedCandidate extends Candidate {
  readonly token: ProbeToken;
}

/** A tunnel of the two, as its device shows the other end. */
export interface SeenTunnel {
  /** SAID of the `tun` record of the end that asks. */
  readonly tunnelKey: Said;
  readonly from: UdpEndpoint;
}

export type ReachMessage =
  | {
      readonly kind: 'call';
      /** SAIDs of the `tun` records, named from the side of the sender. */
      readonly own: Said;
      readonly peer: Said;
      readonly canProbe: boolean;
      readonly candidates: readonly OfferedCandidate[];
    }
  | { readonly kind: 'seen'; readonly seen: readonly Sighting[] }
  | {
      readonly kind: 'relay';
      readonly relay: Aid;
      readonly port: number;
      readonly hosts: readonly string[];
    }
  | { readonly kind: 'none' }
  | { readonly kind: 'taken' }
  | {
      readonly kind: 'observe';
      /** Undefined: the sender cannot probe. */
      readonly token: ProbeToken | undefined;
    }
  | { readonly kind: 'ready'; readonly ports: readonly number[] }
  | {
      readonly kind: 'observed';
      readonly from: UdpEndpoint | undefined;
      readonly host: string | undefined;
      readonly tunnels: readonly SeenTunnel[];
    }
  | { readonly kind: 'lend'; readonly to: Aid }
  | {
      readonly kind: 'lent';
      readonly port: number;
      readonly peerPort: number;
      readonly hosts: readonly string[];
    }
  | { readonly kind: 'refused'; readonly code: string };

export function encodeReach(message: ReachMessage): Uint8Array {
  return encodeCbor(listOf(message));
}

function listOf(message: ReachMessage): CborValue {
  switch (message.kind) {
    case 'call': {
      const { own, peer, canProbe, candidates } = message;
      const offered = candidates.map(({ kind, endpoint, token }) => [
        kind,
        endpoint,
        Uint8Array.fromHex(token),
      ]);
      return ['call', own, peer, canProbe, offered];
    }
    case 'seen':
      return ['seen', message.seen.map(({ index, source }) => [index, source])];
    case 'relay':
      return ['relay', message.relay, message.port, [...message.hosts]];
    case 'observe':
      return ['observe', message.token === undefined ? null : Uint8Array.fromHex(message.token)];
    case 'ready':
      return ['ready', [...message.ports]];
    case 'observed': {
      const { from = null, host = null, tunnels } = message;
      return [
        'observed',
        from,
        host,
        tunnels.map(({ tunnelKey, from: seen }) => [tunnelKey, seen]),
      ];
    }
    case 'lend':
      return ['lend', message.to];
    case 'lent':
      return ['lent', message.port, message.peerPort, [...message.hosts]];
    case 'refused':
      return ['refused', message.code];
    case 'none':
    case 'taken':
      return [message.kind];
  }
}

/** @param bytes attacker-controlled  @throws REACH_BAD_MESSAGE */
export function decodeReach(bytes: Uint8Array): ReachMessage {
  const [kind, ...fields] = decodeList(bytes, reachFailure);
  return reading(() => messageOf(kind, fields), reachFailure);
}

function messageOf(kind: CborValue | undefined, fields: readonly CborValue[]): ReachMessage {
  const take = (count: number): readonly CborValue[] => {
    if (fields.length !== count) throw bad(`${count} fields`);
    return fields;
  };
  switch (kind) {
    case 'call': {
      const [own, peer, canProbe, candidates] = take(4);
      if (typeof canProbe !== 'boolean') throw bad('whether the sender can probe');
      return {
        kind,
        own: parseSaid(textOf(own)),
        peer: parseSaid(textOf(peer)),
        canProbe,
        candidates: listOfAtMost(candidates, MAX_CANDIDATES).map(candidateOf),
      };
    }
    case 'seen':
      return { kind, seen: listOfAtMost(take(1)[0], MAX_SEEN).map(sightingOf) };
    case 'relay': {
      const [relay, port, hosts] = take(3);
      return {
        kind,
        relay: parseAid(textOf(relay)),
        port: portOf(port),
        hosts: listOfAtMost(hosts, MAX_RELAY_HOSTS).map(hostOfText),
      };
    }
    case 'observe':
      return { kind, token: take(1)[0] === null ? undefined : tokenOf(fields[0]) };
    case 'ready':
      return { kind, ports: listOfAtMost(take(1)[0], MAX_PORTS).map(portOf) };
    case 'observed': {
      const [from, host, tunnels] = take(3);
      return {
        kind,
        from: from === null ? undefined : endpointOfText(from),
        host: host === null ? undefined : hostOfText(host),
        tunnels: listOfAtMost(tunnels, MAX_TUNNELS).map(tunnelOf),
      };
    }
    case 'lend':
      return { kind, to: parseAid(textOf(take(1)[0])) };
    case 'lent': {
      const [port, peerPort, hosts] = take(3);
      return {
        kind,
        port: portOf(port),
        peerPort: portOf(peerPort),
        hosts: listOfAtMost(hosts, MAX_RELAY_HOSTS).map(hostOfText),
      };
    }
    case 'refused': {
      const code = textOf(take(1)[0]);
      if (!/^[A-Z_]{1,64}$/.test(code)) throw bad('a code');
      return { kind, code };
    }
    case 'none':
    case 'taken':
      take(0);
      return { kind };
    default:
      throw bad('a known message');
  }
}

function candidateOf(value: CborValue): OfferedCandidate {
  const [kind, endpoint, token, ...more] = listOfAtMost(value, 3);
  const known = CANDIDATE_KINDS.find((one) => one === kind);
  if (known === undefined || more.length > 0) throw bad('a candidate');
  return { kind: known, endpoint: endpointOfText(endpoint), token: tokenOf(token) };
}

function sightingOf(value: CborValue): Sighting {
  const [index, source] = pairOf(value);
  if (!Number.isInteger(index) || (index as number) < 0 || (index as number) >= MAX_CANDIDATES)
    throw bad('the index of a candidate');
  return { index: index as number, source: endpointOfText(source) };
}

function tunnelOf(value: CborValue): SeenTunnel {
  const [tunnelKey, from] = pairOf(value);
  return { tunnelKey: parseSaid(textOf(tunnelKey)), from: endpointOfText(from) };
}

function pairOf(value: CborValue): readonly CborValue[] {
  const pair = listOfAtMost(value, 2);
  if (pair.length !== 2) throw bad('two items');
  return pair;
}

function listOfAtMost(value: CborValue | undefined, most: number): readonly CborValue[] {
  if (!Array.isArray(value) || value.length > most) throw bad(`a list of at most ${most}`);
  return value;
}

function textOf(value: CborValue | undefined): string {
  if (typeof value !== 'string') throw bad('text');
  return value;
}

function tokenOf(value: CborValue | undefined): ProbeToken {
  if (!(value instanceof Uint8Array) || value.length !== 16) throw bad('a token of 16 bytes');
  return value.toHex() as ProbeToken;
}

/** In its one spelling. */
function endpointOfText(value: CborValue | undefined): UdpEndpoint {
  const text = textOf(value);
  const endpoint = parseUdpEndpoint(text);
  if (endpoint !== text || text.includes('%')) throw bad('an endpoint in its one spelling');
  return endpoint;
}

/** An IP address in its one spelling. */
function hostOfText(value: CborValue | undefined): string {
  const text = textOf(value);
  const isHost =
    text.length <= MAX_HOST &&
    endpointOfText(text.includes(':') ? `[${text}]:1` : `${text}:1`) !== undefined;
  if (!isHost) throw bad('an address');
  return text;
}

function portOf(value: CborValue | undefined): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535)
    return value;
  throw bad('a UDP port');
}

function bad(expected: string): ReachError {
  return new ReachError('REACH_BAD_MESSAGE', `expected ${expected}`);
}

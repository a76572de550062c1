/**
 * The configuration protocol of userspace WireGuard (wireguard.com/xplatform, "Configuration Protocol"): lines
 * `key=value`, an empty line at the end; keys in hex; a reply ends with `errno=`.
 *
 * Replies carry private and preshared keys: they are read from the bytes without a string of them, and no error repeats a value.
 */
import { getSystemErrorName } from 'node:util';
import { Secret, secretBytes } from '#src/secret';
import type { DeviceDifference, PeerDifference } from './diff.ts';
import { WireGuardError } from './errors.ts';
import type { Cidr, PeerState, UdpEndpoint, WireGuardKey } from './tunnel-driver.ts';
import { UapiLines } from './uapi-lines.ts';
import { parseCidr, parseUdpEndpoint, parseWireGuardKey } from './values.ts';

const MAX_PEERS = 65_536;
/** Keeps milliseconds a safe integer. */
const MAX_SECONDS = 9_000_000_000_000;
const KEY_LENGTH = 32;

/** A device as the program tells it. */
export interface UapiDevice {
  /** Absent when none is set. The receiver disposes of it. */
  readonly privateKey?: Secret;
  /** 0 when no socket is open. */
  readonly listenPort: number;
  /** 0 = none. */
  readonly fwmark: number;
  readonly peers: ReadonlyMap<WireGuardKey, PeerState>;
}

export function encodeGet(): Uint8Array {
  return Buffer.from('get=1\n\n', 'latin1');
}

/** @returns the request, with keys in it: the caller fills it with zeros after use */
export function encodeSet(change: DeviceDifference): Uint8Array {
  const lines: (string | Secret)[] = ['set=1\n'];
  if (change.privateKey) lines.push('private_key=', change.privateKey, '\n');
  if (change.listenPort !== undefined) lines.push(`listen_port=${change.listenPort}\n`);
  for (const peer of change.peers) pushPeer(lines, peer);
  for (const key of change.removedPeers)
    lines.push(`public_key=${key}\nupdate_only=true\nremove=true\n`);
  lines.push('\n');
  return join(lines);
}

/**
 * Two private keys in one transaction: no session is used for sending any more. A keepalive that is turned off and on is
 * sent at once, and is the packet that starts the handshake.
 * @returns the request, as {@link encodeSet}
 */
export function encodeRekey(
  throwAway: Secret,
  privateKey: Secret,
  keepalives: Keepalives,
): Uint8Array {
  const lines: (string | Secret)[] = ['set=1\n'];
  for (const key of [throwAway, privateKey]) lines.push('private_key=', key, '\n');
  for (const [key, seconds] of keepalives) {
    lines.push(`public_key=${key}\nupdate_only=true\n`);
    for (const value of [0, seconds]) lines.push(`persistent_keepalive_interval=${value}\n`);
  }
  lines.push('\n');
  return join(lines);
}

/** Seconds by peer; none is 0. */
export type Keepalives = ReadonlyMap<WireGuardKey, number>;

function pushPeer(lines: (string | Secret)[], peer: PeerDifference): void {
  lines.push(`public_key=${peer.publicKey}\n`);
  if (peer.kind === 'update') lines.push('update_only=true\n');
  if (peer.presharedKey) lines.push('preshared_key=', peer.presharedKey, '\n');
  if (peer.endpoint !== undefined) lines.push(`endpoint=${peer.endpoint}\n`);
  if (peer.keepalive !== undefined) lines.push(`persistent_keepalive_interval=${peer.keepalive}\n`);
  if (peer.replaceAllowedIps) lines.push('replace_allowed_ips=true\n');
  for (const prefix of peer.allowedIps) lines.push(`allowed_ip=${prefix}\n`);
}

function join(lines: readonly (string | Secret)[]): Uint8Array {
  const size = lines.reduce(
    (sum, part) => sum + (typeof part === 'string' ? part.length : 2 * part.length),
    0,
  );
  const out = secretBytes(size);
  let at = 0;
  for (const part of lines) {
    if (typeof part === 'string') at += out.write(part, at, 'latin1');
    else for (const byte of part.expose()) at = writeHexByte(out, at, byte);
  }
  return out;
}

const HEX = Buffer.from('0123456789abcdef', 'latin1');

function writeHexByte(out: Buffer, at: number, byte: number): number {
  out[at] = HEX[byte >> 4] as number;
  out[at + 1] = HEX[byte & 15] as number;
  return at + 2;
}

/** @param reply the whole reply, attacker-controlled  @throws WIREGUARD_UAPI_MALFORMED, WIREGUARD_UAPI_REFUSED */
export function parseSetReply(reply: Uint8Array): void {
  const lines = new UapiLines(reply);
  lines.advance();
  finish(lines);
}

/**
 * @param reply the whole reply, attacker-controlled
 * @param memory of an earlier reply: a peer whose lines are the same is not read again
 * @throws WIREGUARD_UAPI_MALFORMED, WIREGUARD_UAPI_REFUSED
 */
export function parseGetReply(reply: Uint8Array, memory?: PeerMemory): UapiDevice {
  const lines = new UapiLines(reply);
  const device: { privateKey?: Secret; listenPort?: number; fwmark?: number } = {};
  for (lines.advance(); lines.key !== 'public_key' && lines.key !== 'errno'; lines.advance()) {
    if (lines.key === 'private_key') once(lines, device, 'privateKey', lines.secret());
    else if (lines.key === 'listen_port') once(lines, device, 'listenPort', lines.integer(65_535));
    else if (lines.key === 'fwmark') once(lines, device, 'fwmark', lines.integer(0xffff_ffff));
    else throw lines.malformed('private_key, listen_port, fwmark, public_key or errno');
  }
  const peers = new Map<WireGuardKey, PeerState>();
  const places = new Map<WireGuardKey, Place>();
  while (lines.key === 'public_key') {
    const { lineStart: start, number } = lines;
    const peer = memory?.find(reply, start, lines) ?? parsePeer(lines);
    if (peers.has(peer.publicKey)) throw lines.malformed('each peer once, before this line');
    if (peers.size === MAX_PEERS) throw lines.malformed(`at most ${MAX_PEERS} peers`);
    peers.set(peer.publicKey, peer);
    places.set(peer.publicKey, {
      start,
      end: lines.lineStart,
      lines: lines.number - number,
      peer,
    });
  }
  finish(lines);
  memory?.remember(reply, places);
  return { listenPort: 0, fwmark: 0, ...device, peers };
}

interface Place {
  readonly start: number;
  readonly end: number;
  readonly lines: number;
  readonly peer: PeerState;
}

/** Where the digits stand in the first line of a peer. */
const KEY_START = 'public_key='.length;
const KEY_END = KEY_START + 2 * KEY_LENGTH;
/** What may stand behind the lines of a peer. */
const NEXT = [Buffer.from('public_key='), Buffer.from('errno=')];

/**
 * The peers of the last reply of one device, with their lines: at a thousand peers nearly all are as they were, and to
 * compare bytes costs a twentieth of reading them. The lines hold preshared keys, as the peers do: they are filled with zeros
 * when others take their place, and by dispose.
 */
export class PeerMemory implements Disposable {
  #bytes: Buffer = Buffer.alloc(0);
  #places: ReadonlyMap<WireGuardKey, Place> = new Map();

  /** The peer that begins at `start`, if its lines are those of the last reply; `lines` then stands behind them. */
  find(reply: Uint8Array, start: number, lines: UapiLines): PeerState | undefined {
    const key = bufferOf(reply).toString('latin1', start + KEY_START, start + KEY_END);
    const place = this.#places.get(key as WireGuardKey);
    if (place === undefined) return undefined;
    const end = start + place.end - place.start;
    const view = bufferOf(reply);
    if (end > view.length || this.#bytes.compare(view, start, end, place.start, place.end) !== 0)
      return undefined;
    // As many lines and no more: another line of this peer may follow.
    if (!NEXT.some((key) => view.subarray(end, end + key.length).equals(key))) return undefined;
    lines.skipTo(end, place.lines);
    lines.advance();
    return place.peer;
  }

  remember(reply: Uint8Array, places: ReadonlyMap<WireGuardKey, Place>): void {
    this[Symbol.dispose]();
    // Without what stands before the peers: the private key of the device.
    const [first] = places.values();
    const from = first?.start ?? reply.length;
    this.#bytes = Buffer.allocUnsafeSlow(reply.length).fill(0, 0, from);
    this.#bytes.set(reply.subarray(from), from);
    this.#places = places;
  }

  [Symbol.dispose](): void {
    this.#bytes.fill(0);
    this.#places = new Map();
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

interface PeerFields {
  presharedKey?: Secret;
  endpoint?: UdpEndpoint;
  keepalive?: number;
  version?: number;
  seconds?: number;
  nanoseconds?: number;
  rxBytes?: bigint;
  txBytes?: bigint;
}

/** Reads from its `public_key` to the line after the peer. */
function parsePeer(lines: UapiLines): PeerState {
  const publicKey = publicKeyOf(lines);
  const fields: PeerFields = {};
  const allowedIps: Cidr[] = [];
  for (lines.advance(); lines.key !== 'public_key' && lines.key !== 'errno'; lines.advance())
    if (lines.key === 'allowed_ip') allowedIps.push(parsed(lines, parseCidr));
    else parsePeerField(lines, fields);
  const { seconds = 0, nanoseconds = 0, presharedKey, endpoint } = fields;
  return {
    publicKey,
    presharedKey: presharedKey ?? new Secret(new Uint8Array(KEY_LENGTH)),
    ...(endpoint === undefined ? {} : { endpoint }),
    allowedIps,
    keepalive: fields.keepalive ?? 0,
    lastHandshake: seconds * 1000 + Math.floor(nanoseconds / 1e6),
    rxBytes: fields.rxBytes ?? 0n,
    txBytes: fields.txBytes ?? 0n,
  };
}

function parsePeerField(lines: UapiLines, fields: PeerFields): void {
  if (lines.key === 'preshared_key') once(lines, fields, 'presharedKey', lines.secret());
  else if (lines.key === 'protocol_version') once(lines, fields, 'version', lines.integer(1));
  else if (lines.key === 'endpoint')
    once(lines, fields, 'endpoint', parsed(lines, parseUdpEndpoint));
  else if (lines.key === 'last_handshake_time_sec')
    once(lines, fields, 'seconds', lines.integer(MAX_SECONDS));
  else if (lines.key === 'last_handshake_time_nsec')
    once(lines, fields, 'nanoseconds', lines.integer(999_999_999));
  else if (lines.key === 'rx_bytes') once(lines, fields, 'rxBytes', lines.counter());
  else if (lines.key === 'tx_bytes') once(lines, fields, 'txBytes', lines.counter());
  else if (lines.key === 'persistent_keepalive_interval')
    once(lines, fields, 'keepalive', lines.integer(65_535));
  else throw lines.malformed('a field of a peer');
}

function once<T extends object, K extends keyof T>(
  lines: UapiLines,
  fields: T,
  name: K,
  value: T[K],
): void {
  if (Object.hasOwn(fields, name)) throw lines.malformed('each field once');
  fields[name] = value;
}

function publicKeyOf(lines: UapiLines): WireGuardKey {
  return parsed(lines, parseWireGuardKey);
}

function parsed<T>(lines: UapiLines, parse: (text: string) => T): T {
  try {
    return parse(lines.text());
  } catch {
    // Without the cause: it repeats the value.
    throw lines.malformed('a well-formed value');
  }
}

function finish(lines: UapiLines): void {
  if (lines.key !== 'errno') throw lines.malformed('errno');
  const text = lines.text();
  if (!/^(0|-[1-9]\d{0,8})$/.test(text)) throw lines.malformed('0 or a negative number');
  lines.expectEnd();
  const errno = Number(text);
  if (errno === 0) return;
  const message = `UAPI: expected errno 0, got ${errno} (${getSystemErrorName(errno)})`;
  throw new WireGuardError('WIREGUARD_UAPI_REFUSED', message, { fields: { errno } });
}

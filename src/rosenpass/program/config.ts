/**
 * The configuration of the program, as the Rust one reads it: TOML, one `[[peers]]` per peer. Paths are relative to the working
 * directory. A key that neither knows is refused, so that none is misspelt in silence.
 */
import { isIP } from 'node:net';
import { parse, TomlError } from 'smol-toml';
import { formatIpAddress, parseIpAddress } from '#src/net/ip-address';
import type { InterfaceName } from '#src/wireguard/tunnel-driver';
import { parseBase64Key, parseInterfaceName } from '#src/wireguard/values';
import { RosenpassError } from '../errors.ts';
import type { OutputLabel } from '../hash-domains.ts';
import type { RosenpassVersion } from '../keyed-hash.ts';

/** Address, or host name in an endpoint, and port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export interface RosenpassPeerConfig {
  readonly publicKey: string;
  readonly version: RosenpassVersion;
  readonly endpoint?: HostPort;
  readonly presharedKey?: string;
  readonly keyOut?: string;
  readonly wireguard?: {
    readonly device: InterfaceName;
    /** Base64, as `wg` has it. */
    readonly peer: string;
    /** Further arguments of `wg set`. */
    readonly extra: readonly string[];
  };
  readonly output?: OutputLabel;
}

export interface RosenpassConfig {
  readonly publicKey: string;
  readonly secretKey: string;
  readonly listen: readonly HostPort[];
  readonly isVerbose: boolean;
  readonly peers: readonly RosenpassPeerConfig[];
  /** What was read and is not done. */
  readonly warnings: readonly string[];
}

const MAX_PEERS = 4_096;
const MAX_LISTEN = 64;

/** @param text of the file  @throws ROSENPASS_BAD_CONFIG */
export function parseRosenpassConfig(text: string): RosenpassConfig {
  const top = new Table('', parseToml(text));
  const warnings: string[] = [];
  const config = {
    publicKey: top.text('public_key') ?? top.missing('public_key'),
    secretKey: top.text('secret_key') ?? top.missing('secret_key'),
    listen: top.texts('listen', MAX_LISTEN).map((entry) => listenAddress(entry)),
    isVerbose: verbosity(top),
    peers: top.tables('peers', MAX_PEERS).map((peer) => peerConfig(peer, warnings)),
    warnings,
  };
  top.end();
  return config;
}

function parseToml(text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    // The message of the library has the line, which may be anything but is no secret here.
    throw bad(`line ${cause.line}`, 'TOML', cause.message.split('\n')[0] ?? '');
  }
}

function verbosity(top: Table): boolean {
  const value = top.text('verbosity') ?? 'Quiet';
  if (value !== 'Quiet' && value !== 'Verbose') throw bad('verbosity', 'Quiet or Verbose', value);
  return value === 'Verbose';
}

function peerConfig(peer: Table, warnings: string[]): RosenpassPeerConfig {
  const endpoint = peer.text('endpoint');
  if (peer.has('exchange_command'))
    warnings.push(`${peer.name('exchange_command')} is not run, as by the Rust program`);
  const output = outputLabel(peer);
  const wireguard = wireguardOf(peer);
  const config = {
    publicKey: peer.text('public_key') ?? peer.missing('public_key'),
    version: versionOf(peer),
    ...(endpoint === undefined ? {} : { endpoint: hostPort(peer.name('endpoint'), endpoint) }),
    ...optional('presharedKey', peer.text('pre_shared_key')),
    ...optional('keyOut', peer.text('key_out')),
    ...optional('wireguard', wireguard),
    ...optional('output', output),
  };
  peer.end();
  return config;
}

function versionOf(peer: Table): RosenpassVersion {
  const value = peer.text('protocol_version') ?? 'V02';
  if (value !== 'V02' && value !== 'V03')
    throw bad(peer.name('protocol_version'), 'V02 or V03', value);
  return value;
}

function wireguardOf(peer: Table): RosenpassPeerConfig['wireguard'] {
  const [device, key] = [peer.text('device'), peer.text('peer')];
  const extra = peer.texts('extra_params', MAX_LISTEN);
  if (device === undefined && key === undefined) return undefined;
  if (device === undefined) return peer.missing('device');
  if (key === undefined) return peer.missing('peer');
  // Both are checked: they become arguments of a program.
  parseBase64Key(key);
  return { device: parseInterfaceName(device), peer: key, extra };
}

function outputLabel(peer: Table): OutputLabel | undefined {
  const organization = peer.text('osk_organization');
  const labels = peer.texts('osk_label', MAX_LISTEN);
  if (organization === undefined && labels.length === 0) return undefined;
  if (organization === undefined) return peer.missing('osk_organization');
  if (labels.length === 0) return peer.missing('osk_label');
  return { organization, labels };
}

function optional<K extends string, V>(key: K, value: V | undefined): { readonly [k in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [k in K]: V });
}

function listenAddress(text: string): HostPort {
  const { host, port } = hostPort('listen', text, 0);
  const bytes = parseIpAddress(host);
  if (bytes === undefined) throw bad('listen', 'an address and a port, 0.0.0.0:9999', text);
  return { host: formatIpAddress(bytes), port };
}

function hostPort(key: string, text: string, least = 1): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const [, bracketed, plain = '', digits] = match ?? [];
  const port = Number(digits);
  const host = bracketed ?? plain;
  const isHost = bracketed === undefined ? isHostName(host) : isIP(host.split('%')[0] ?? '') === 6;
  if (match === null || !isHost || port < least || port > 65_535)
    throw bad(key, 'HOST:PORT or [IPV6]:PORT', text);
  return { host, port };
}

function isHostName(text: string): boolean {
  return isIP(text) === 4 || /^(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$/.test(text);
}

/** A table of TOML whose keys are taken one by one; what is left at the end is unknown. */
class Table {
  readonly #name: string;
  readonly #left: Map<string, unknown>;

  constructor(name: string, value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw bad(name, 'a table', typeof value);
    this.#name = name;
    this.#left = new Map(Object.entries(value));
  }

  name(key: string): string {
    return this.#name === '' ? key : `${this.#name}.${key}`;
  }

  has(key: string): boolean {
    return this.#left.delete(key);
  }

  text(key: string): string | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'string' || value === '' || value.includes('\0'))
      throw bad(this.name(key), 'a text', typeof value);
    return value;
  }

  texts(key: string, most: number): readonly string[] {
    return this.#list(key, most).map((value) => {
      if (typeof value !== 'string' || value.includes('\0'))
        throw bad(this.name(key), 'a list of texts', typeof value);
      return value;
    });
  }

  tables(key: string, most: number): readonly Table[] {
    return this.#list(key, most).map((value, at) => new Table(`${this.name(key)}[${at}]`, value));
  }

  missing(key: string): never {
    throw bad(this.name(key), 'a value', 'none');
  }

  end(): void {
    const [unknown] = this.#left.keys();
    if (unknown !== undefined) throw bad(this.name(unknown), 'a key of the program', 'another');
  }

  #list(key: string, most: number): readonly unknown[] {
    const value = this.#take(key) ?? [];
    if (!Array.isArray(value) || value.length > most)
      throw bad(this.name(key), `a list of at most ${most}`, typeof value);
    return value;
  }

  #take(key: string): unknown {
    const value = this.#left.get(key);
    this.#left.delete(key);
    return value;
  }
}

function bad(key: string, expected: string, got: string): RosenpassError {
  return new RosenpassError(
    'ROSENPASS_BAD_CONFIG',
    `${key}: expected ${expected}, got ${JSON.stringify(got.slice(0, 80))}`,
  );
}

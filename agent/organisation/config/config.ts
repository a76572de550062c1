/**
 * The configuration file: TOML, every key known, every value checked, frozen. No secret stands in it,
 * only the names of files that hold one.
 */
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { MeshError } from '#src/errors';
import { readRegularFile } from '#src/files/regular-file';
import { expectTrusted } from '#src/files/trust';
import { MAX_DEVICES } from '../../tunnel/pairs/devices.ts';
import type { AskedBy } from '../../tunnel/rotation/emergency.ts';
import type { RotationTrigger } from '../../tunnel/rotation/schedule.ts';
import { ConfigError } from './errors.ts';
import { type ConfigKey, type ConfigKeyName, configKeys, type KeyKind } from './keys.ts';

export interface Config {
  /** Absolute path of the file. */
  readonly file: string;
  readonly name: string;
  readonly stateDir: string;
  readonly socket: string;
  /** For reading, by a group; none when it is undefined. */
  readonly reading: { readonly group: string; readonly socket: string } | undefined;
  readonly keyStore: {
    readonly tier: 'sealed-file' | 'softhsm' | 'pkcs11';
    readonly secretFile: string | undefined;
    readonly module: string | undefined;
    readonly token: string;
    readonly algorithm: 'ed25519' | 'p256';
  };
  readonly log: {
    readonly kind: 'CBOR' | 'JSON';
    readonly level: 'debug' | 'info' | 'warn' | 'error';
  };
  readonly network: {
    readonly listen: readonly string[];
    readonly announce: readonly string[];
    readonly bootstrap: readonly string[];
    readonly mdns: boolean;
    readonly tlsPort: number;
    readonly relay: 'auto' | 'serve' | 'use' | 'off';
  };
  readonly tunnel: {
    readonly driver: 'auto' | 'kernel' | 'userspace';
    readonly program: string | undefined;
    readonly interface: string;
    readonly port: number;
    readonly endpoints: readonly string[];
    readonly mtu: number;
    readonly keepaliveSeconds: number;
    readonly lazyIdleSeconds: number;
    readonly prefixes: readonly string[];
    readonly gatewayRank: number;
    readonly drainSeconds: number;
    readonly proofPort: number;
  };
  readonly relay: {
    readonly lends: boolean;
    /** First of 128. */
    readonly port: number;
    readonly dailyGigabytes: number;
    readonly megabitsPerSecond: number;
  };
  readonly rotation: {
    readonly tunnelHours: number;
    readonly idHours: number;
    readonly jitterPercent: number;
    readonly windows: readonly string[];
    readonly deadlineMinutes: number;
    readonly askedBy: AskedBy;
    readonly events: readonly RotationTrigger[];
  };
}

/** Two for each session of the relay. */
export const RELAY_PORTS = 128;

type Values = Readonly<Record<string, unknown>>;

/** Of a configuration: it is text that people write. */
export const MAX_CONFIG_BYTES = 64 << 10;

/** Throws CONFIG_NOT_FOUND, CONFIG_UNREADABLE, FILE_NOT_REGULAR, FILE_TOO_LARGE, FILE_OTHERS_CAN_WRITE and the errors of {@link parseConfig}. */
export function readConfig(file: string): Config {
  const path = resolve(file);
  let text: string;
  try {
    text = readRegularFile(path, MAX_CONFIG_BYTES).toString('utf8');
  } catch (error) {
    if (error instanceof MeshError) throw error;
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new ConfigError(
      isMissing ? 'CONFIG_NOT_FOUND' : 'CONFIG_UNREADABLE',
      `cannot read ${path}`,
      { cause: error },
    );
  }
  // It names programs that run as whoever runs kelmesh.
  expectTrusted(path);
  const config = parseConfig(text, path);
  for (const program of [config.tunnel.program, config.keyStore.module])
    if (program !== undefined && existsSync(program)) expectTrusted(program);
  return config;
}

/** @param file absolute; relative paths in the file are relative to its directory. Throws CONFIG_… */
export function parseConfig(text: string, file: string): Config {
  const values = flatten(parseToml(text, file), file);
  const get = <T>(name: ConfigKeyName) => configured(name, values[name], file) as T;
  const path = (name: ConfigKeyName) => {
    const value = get<string | undefined>(name);
    return value === undefined || isAbsolute(value) ? value : join(dirname(file), value);
  };
  const stateDir = path('state') as string;
  const group = get<string | undefined>('control.group');
  return deepFreeze({
    file,
    name: get('name'),
    stateDir,
    socket: path('control.socket') ?? join(stateDir, 'control.sock'),
    reading:
      group === undefined ? undefined : { group, socket: path('control.status-socket') as string },
    keyStore: {
      tier: get('keystore.tier'),
      secretFile: path('keystore.secret-file'),
      module: path('keystore.module'),
      token: get('keystore.token'),
      algorithm: get('keystore.algorithm'),
    },
    log: { kind: get('log.kind'), level: get('log.level') },
    network: {
      listen: get('network.listen'),
      announce: get('network.announce'),
      bootstrap: get('network.bootstrap'),
      mdns: get('network.mdns'),
      tlsPort: get('network.tls-port'),
      relay: get('network.relay'),
    },
    tunnel: {
      driver: get('tunnel.driver'),
      program: path('tunnel.program'),
      interface: get('tunnel.interface'),
      port: get('tunnel.port'),
      endpoints: get('tunnel.endpoints'),
      mtu: get('tunnel.mtu'),
      keepaliveSeconds: get('tunnel.keepalive'),
      lazyIdleSeconds: get('tunnel.lazy-idle'),
      prefixes: get('tunnel.prefixes'),
      gatewayRank: get('tunnel.gateway-rank'),
      drainSeconds: get('tunnel.drain'),
      proofPort: get('tunnel.proof-port'),
    },
    relay: {
      lends: get('relay.lends'),
      port: get<number | undefined>('relay.port') ?? relayPort(get('tunnel.port')),
      dailyGigabytes: get('relay.daily'),
      megabitsPerSecond: get('relay.rate'),
    },
    rotation: {
      tunnelHours: get('rotation.tunnel'),
      idHours: get('rotation.id'),
      jitterPercent: get('rotation.jitter'),
      windows: get('rotation.window'),
      deadlineMinutes: get('rotation.deadline'),
      askedBy: get('rotation.asked-by') as AskedBy,
      events: get('rotation.on') as readonly RotationTrigger[],
    },
  });
}

/** Behind the ports of the interfaces, or before them where there is no room. */
function relayPort(tunnelPort: number): number {
  const after = tunnelPort + MAX_DEVICES;
  return after + RELAY_PORTS <= 65_536 ? after : tunnelPort - RELAY_PORTS;
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value))
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner);
  return Object.freeze(value);
}

function parseToml(text: string, file: string): Values {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new ConfigError(
      'CONFIG_SYNTAX',
      `${file} line ${error.line}: ${error.message.split('\n')[0]}`,
    );
  }
}

/** `section.key` to value. Throws CONFIG_UNKNOWN_KEY. */
function flatten(document: Values, file: string): Values {
  const flat: Record<string, unknown> = Object.create(null);
  const sections = new Set(
    Object.keys(configKeys)
      .filter((name) => name.includes('.'))
      .map((name) => name.split('.')[0]),
  );
  for (const [key, value] of Object.entries(document)) {
    // A date is an object too, and an empty one to look at.
    const isSection =
      sections.has(key) &&
      typeof value === 'object' &&
      value !== null &&
      !Array.isArray(value) &&
      !(value instanceof Date);
    // `"tunnel.port"` in quotes is one name with a dot: not the key of that section.
    if (!isSection && key.includes('.'))
      throw new ConfigError('CONFIG_UNKNOWN_KEY', `${file}: "${key}" in quotes is not a key`);
    for (const [name, inner] of isSection
      ? Object.entries(value).map(([k, v]) => [`${key}.${k}`, v] as const)
      : [[key, value] as const]) {
      if (!Object.hasOwn(configKeys, name))
        throw new ConfigError('CONFIG_UNKNOWN_KEY', `${file}: ${name} is not a key`);
      flat[name] = inner;
    }
  }
  return flat;
}

function configured(name: ConfigKeyName, value: unknown, file: string): unknown {
  const key: ConfigKey = configKeys[name];
  if (value === undefined) {
    if (key.required === true)
      throw new ConfigError('CONFIG_MISSING_KEY', `${file}: ${name} is missing`);
    return key.fallback;
  }
  const problem = problemOf(key.kind, value);
  if (problem !== undefined)
    throw new ConfigError(
      'CONFIG_BAD_VALUE',
      `${file}: ${name} takes ${problem}, got ${show(value)}`,
    );
  return value;
}

function show(value: unknown): string {
  return (typeof value === 'number' ? String(value) : JSON.stringify(value)).slice(0, 80);
}

/** What the key takes, when `value` is not that. */
function problemOf(kind: KeyKind, value: unknown): string | undefined {
  const what = describeKind(kind);
  switch (kind.type) {
    case 'text':
      return typeof value === 'string' && kind.pattern?.test(value) !== false ? undefined : what;
    case 'path':
      return typeof value === 'string' && value.length > 0 && !value.includes('\0')
        ? undefined
        : what;
    case 'choice':
      return kind.of.includes(value as string) ? undefined : what;
    case 'integer':
      return typeof value === 'number' &&
        Number.isInteger(value) &&
        value >= kind.min &&
        value <= kind.max
        ? undefined
        : what;
    case 'boolean':
      return typeof value === 'boolean' ? undefined : what;
    case 'list':
      return Array.isArray(value) &&
        value.length <= kind.max &&
        value.every((item) => typeof item === 'string' && kind.pattern.test(item))
        ? undefined
        : what;
  }
}

export function describeKind(kind: KeyKind): string {
  switch (kind.type) {
    case 'text':
      return kind.what;
    case 'path':
      return 'a path';
    case 'choice':
      return `one of ${kind.of.join(', ')}`;
    case 'integer':
      return `${kind.unit}, ${kind.min} to ${kind.max}`;
    case 'boolean':
      return 'true or false';
    case 'list':
      return `a list of at most ${kind.max} ${kind.what}`;
  }
}

/**
 * The composition root: the one file that names concrete drivers. Clock, randomness, disk, network and token
 * enter the program here and nowhere else.
 *
 * It is longer than a list of drivers would be, for two reasons. A state directory, its key store and its database are opened by people
 * (the commands), by the agent, and by commands without a key, each with a part of the whole: one function per part. And opening has an
 * order that saves a PIN: the disk tells whether another process is at work before a token is asked.
 */
import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Level } from 'level';
import type { Aid } from '#kel/identifiers';
import type { VerifySignature } from '#kel/state/key-signatures';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { NodeLogFiles } from '#src/audit/log-files';
import type { Clock } from '#src/clock';
import { loadCryptoSuite } from '#src/crypto/suites';
import { onFileSync } from '#src/files/errors';
import { readRegularFile } from '#src/files/regular-file';
import { ensureTrustedDirectory } from '#src/files/trust';
import { createJournal, type Journal } from '#src/journal';
import type { KeyStore } from '#src/keystore/key-store';
import { Pkcs11KeyStore } from '#src/keystore/pkcs11/pkcs11-key-store';
import {
  findSoftHsmModule,
  provisionSoftHsm,
  softHsmEnvironment,
} from '#src/keystore/pkcs11/softhsm';
import {
  SealedFileProcess,
  type SealedFileProcessOptions,
} from '#src/keystore/sealed-file-process';
import { readUnderlay } from '#src/net/underlay';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import type { Database } from '#src/store/durable-table';
import { chooseTunnelDriver, findOwnProgram } from '#src/wireguard/detect';
import { RelayProgram } from '#src/wireguard/relay-program';
import { SystemWays } from '#src/wireguard/system-ways';
import { openWakeSocket } from '#src/wireguard/wake-socket';
import { fetchLog } from './mesh/watch/http-log-source.ts';
import type { ResolveHost } from './network/host-names.ts';
import { createLibp2pNetwork } from './network/libp2p.ts';
import type { Network, PeerAddress } from './network/network.ts';
import { type Config, RELAY_PORTS } from './organisation/config/config.ts';
import { readSecretFile } from './organisation/config/secrets.ts';
import { expectWholeDatabase } from './organisation/database.ts';
import { diskSpace } from './organisation/disk-space.ts';
import type { LocalDrivers, RunningDrivers } from './organisation/drivers.ts';
import { StateError } from './organisation/errors.ts';
import type { AgentSettings } from './organisation/running/agent.ts';
import { readFormat, STATE_FORMAT } from './organisation/state/format.ts';
import { dropFormer, readFormer } from './organisation/state/former-state.ts';
import { markOf } from './organisation/state/mark.ts';
import { RESTORING } from './organisation/state/restore.ts';
import { stateSteps } from './organisation/state/steps.ts';
import { ensureFormat, type TakeOverDeps } from './organisation/state/take-over.ts';
import { databaseError } from './organisation/system-error.ts';
import { TcpOverlay } from './tunnel/proof/tcp-overlay.ts';
import { parseWindow } from './tunnel/rotation/schedule.ts';

/** What no look at the kernel's tables shows, an MTU or an IPv4 address that somebody else changed, is put right within this. */
const LINK_TRUST_MS = 30_000;
const HOUR_MS = 3_600_000;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, signal === undefined ? {} : { signal }),
};

export const systemRng: Rng = { bytes: (length) => new Uint8Array(randomBytes(length)) };

/** As the system resolves names, `/etc/hosts` included. */
const resolveHost: ResolveHost = async (name) =>
  (await lookup(name, { all: true })).map(({ address }) => address);

/** Programs that set-up builds. */
const toolsDir = fileURLToPath(new URL('../.tools', import.meta.url));

/** Makes the empty state directory and a new key store in it. Throws KEYSTORE_… */
export async function createKeyStore(config: Config, secret: Secret): Promise<KeyStore> {
  ensureTrustedDirectory(config.stateDir);
  if (config.keyStore.tier === 'sealed-file')
    return SealedFileProcess.create(keyFile(config), secret, passphraseAgain(config));
  if (config.keyStore.tier === 'softhsm') {
    using securityOfficerPin = digits(randomBytes(16));
    await provisionSoftHsm(
      tokenDir(config),
      config.keyStore.token,
      securityOfficerPin,
      secret,
      config.keyStore.module,
    );
  }
  return openKeyStore(config, secret);
}

/** Two hexadecimal digits for each byte, which are wiped; never a string. */
function digits(bytes: Uint8Array): Secret {
  using out = new Secret(new Uint8Array(2 * bytes.length));
  const view = out.expose();
  for (const [i, byte] of bytes.entries())
    for (const [j, half] of [byte >> 4, byte & 15].entries())
      view[2 * i + j] = '0123456789abcdef'.charCodeAt(half);
  bytes.fill(0);
  return new Secret(view);
}

/** Throws KEYSTORE_…: wrong passphrase or PIN, missing module or token. */
export async function openKeyStore(config: Config, secret: Secret): Promise<KeyStore> {
  const { tier, token } = config.keyStore;
  if (tier === 'sealed-file')
    return SealedFileProcess.open(keyFile(config), secret, passphraseAgain(config));
  const module = config.keyStore.module ?? (await findSoftHsmModule());
  const environment =
    tier === 'softhsm' ? { environment: softHsmEnvironment(tokenDir(config)) } : {};
  const { secretFile } = config.keyStore;
  return Pkcs11KeyStore.open({
    module,
    tokenLabel: token,
    pin: secret,
    ...(secretFile === undefined ? {} : { pinAgain: () => readSecretFile(secretFile) }),
    ...environment,
  });
}

/** From the file again, if there is one: what was typed is kept nowhere. */
function passphraseAgain({ keyStore: { secretFile } }: Config): SealedFileProcessOptions {
  return secretFile === undefined ? {} : { passphraseAgain: () => readSecretFile(secretFile) };
}

/**
 * Opens disk and key store, the disk first: it tells whether another process is at work before a PIN is used.
 * Throws CONTROL_STATE_LOCKED and what `keyStore` throws.
 */
export async function composeLocal(
  config: Config,
  keyStore: () => Promise<KeyStore>,
  write: (line: string) => void,
): Promise<LocalDrivers> {
  await using onFailure = new AsyncDisposableStack();
  const journal = createJournal(systemClock, config.log.level, write);
  const db = await composeDatabase(config, journal);
  onFailure.defer(() => db.close());
  const drivers: LocalDrivers = {
    clock: systemClock,
    rng: systemRng,
    suite: await loadCryptoSuite(),
    db,
    keyStore: await keyStore(),
    disk: () => diskSpace(config.stateDir),
    logFiles: new NodeLogFiles(join(config.stateDir, 'audit')),
    journal,
    ...formerState(config, journal),
  };
  onFailure.move();
  return drivers;
}

/** Verifies signatures of foreign keys; no key store is opened. */
export async function composeVerifier(): Promise<VerifySignature> {
  const { ed25519 } = await loadCryptoSuite();
  return createSignatureVerifier(ed25519);
}

/** A network identity of the moment that only dials. */
export function composeVisitor(): Promise<Network> {
  return createLibp2pNetwork({
    privateKey: Secret.take(randomBytes(32)),
    listen: [],
    announce: [],
    bootstrap: [],
    mdns: false,
    clock: systemClock,
  });
}

/** Throws WIREGUARD_… when this machine cannot carry tunnels. */
export async function composeRunning(config: Config): Promise<RunningDrivers> {
  const { driver, program, proofPort } = config.tunnel;
  const stateDir = join(config.stateDir, 'wireguard');
  ensureTrustedDirectory(stateDir);
  return {
    network: (seed) =>
      createLibp2pNetwork({
        privateKey: seed,
        listen: config.network.listen as readonly PeerAddress[],
        announce: config.network.announce as readonly PeerAddress[],
        bootstrap: config.network.bootstrap as readonly PeerAddress[],
        mdns: config.network.mdns,
        ...relayRole(config),
        listenToo: withinTls(config),
        clock: systemClock,
      }),
    tunnels: await chooseTunnelDriver({
      preference: driver,
      stateDir,
      toolsDir,
      linkTrustMs: LINK_TRUST_MS,
      ...(program === undefined ? {} : { program }),
    }),
    overlay: new TcpOverlay(proofPort),
    wakeSocket: openWakeSocket,
    ways: new SystemWays(),
    underlay: readUnderlay,
    ...relayOf(config, await findOwnProgram(toolsDir)),
    fetchLog,
    resolveHost,
  };
}

/** Who says under which address it is reached may serve those that cannot be. */
function relayRole({ network, tunnel }: Config): { readonly relay?: 'serve' | 'use' } {
  if (network.relay === 'off') return {};
  if (network.relay !== 'auto') return { relay: network.relay };
  const isReached = tunnel.endpoints.length > 0 || network.announce.length > 0;
  return { relay: isReached ? 'serve' : 'use' };
}

/** One relay for the devices of this state directory, in ports of its own. */
function relayOf({ stateDir, relay }: Config, path: string | undefined): { relay?: RelayProgram } {
  if (path === undefined) return {};
  const ports = [relay.port, relay.port + RELAY_PORTS - 1] as const;
  return { relay: new RelayProgram({ path, stateDir: join(stateDir, 'wireguard'), ports }) };
}

/** At the addresses on which the agent listens, on the port that is let out everywhere. */
function withinTls(config: Config): readonly PeerAddress[] {
  const { listen, tlsPort } = config.network;
  if (relayRole(config).relay !== 'serve' || tlsPort === 0) return [];
  const hosts = listen.flatMap((text) => /^(\/ip[46]\/[^/]+)\/tcp\/\d+$/.exec(text)?.[1] ?? []);
  return [...new Set(hosts)].map((host) => `${host}/tcp/${tlsPort}/tls` as PeerAddress);
}

export function agentSettings(config: Config): AgentSettings {
  const { tunnel, rotation } = config;
  return {
    tunnel: {
      prefix: tunnel.interface,
      port: tunnel.port,
      mtu: tunnel.mtu,
      keepalive: tunnel.keepaliveSeconds,
      drainMs: tunnel.drainSeconds * 1_000,
      lazyIdleMs: tunnel.lazyIdleSeconds * 1_000,
      changeMs: rotation.deadlineMinutes * 60_000,
    },
    rotation: {
      askedBy: rotation.askedBy,
      events: rotation.events,
      everyMs: { tunnel: rotation.tunnelHours * HOUR_MS, id: rotation.idHours * HOUR_MS },
      jitter: rotation.jitterPercent / 100,
      windows: rotation.windows.map(parseWindow).filter((window) => window !== undefined),
    },
    endpointHosts: tunnel.endpoints,
    ...(tunnel.prefixes.length === 0
      ? {}
      : { gateway: { rank: tunnel.gatewayRank, pre: [...new Set(tunnel.prefixes)].sort() } }),
    ...(config.relay.lends
      ? {
          lending: {
            dailyBytes: config.relay.dailyGigabytes * 1e9,
            bytesPerSecond: (config.relay.megabitsPerSecond * 1e6) / 8,
          },
        }
      : {}),
    name: config.name,
  };
}

/** What a takeover of the state directory needs. @param journal hears how far it is */
export function stateDeps(config: Config, journal?: Pick<Journal, 'info'>): TakeOverDeps {
  const { stateDir } = config;
  return {
    stateDir,
    steps: stateSteps,
    disk: () => diskSpace(stateDir),
    tell: (text) => journal?.info('state.progress', { text }),
    clock: systemClock,
    openDatabase: () => openDatabase(stateDir),
    markOf: async (db) =>
      markOf(db, {
        verifySignature: await composeVerifier(),
        clock: systemClock,
        custodied: custodiedAid(config),
      }),
  };
}

/** A backup that is damaged is said and keeps nobody from starting; with the next own event it goes too. */
function formerState(
  { stateDir }: Config,
  journal: Pick<Journal, 'failed'>,
): Pick<LocalDrivers, 'former'> {
  const drop = () => dropFormer({ stateDir, steps: stateSteps });
  try {
    const former = readFormer(stateDir);
    return former === undefined ? {} : { former: { head: former.mark.head, drop } };
  } catch (error) {
    journal.failed('state.failed', error);
    return { former: { head: undefined, drop } };
  }
}

/** Whether `kelmesh init` was run with this configuration. */
export function hasState(config: Config): boolean {
  // A way back that was broken off has the database elsewhere for a moment.
  return ['store', RESTORING].some((name) => {
    const path = join(config.stateDir, name);
    // What may not be looked at is no reason to say that nothing is there.
    return onFileSync(path, () => statSync(path, { throwIfNoEntry: false })) !== undefined;
  });
}

/** Whether the state directory has its key store; a token that is no file of ours always counts. */
export function hasKeyStore(config: Config): boolean {
  const { tier } = config.keyStore;
  if (tier === 'sealed-file') return existsSync(keyFile(config));
  return tier === 'pkcs11' || existsSync(tokenDir(config));
}

function keyFile(config: Config): string {
  return join(config.stateDir, 'keys.sealed');
}

function tokenDir(config: Config): string {
  return join(config.stateDir, 'softhsm');
}

/** With a line break. */
const MAX_AID_BYTES = 128;

/** The AID whose log is held here without a key of it. */
function custodiedAid({ stateDir }: Config): Aid | undefined {
  const path = join(stateDir, 'custodians');
  return existsSync(path)
    ? (readRegularFile(path, MAX_AID_BYTES).toString('utf8').trim() as Aid)
    : undefined;
}

/**
 * The database of the state directory, which is made when there is none, and taken over when an earlier version has left it.
 * Throws CONTROL_STATE_LOCKED, CONTROL_STATE_DAMAGED, CONTROL_STATE_NEWER, FILE_…
 */
export async function composeDatabase(
  config: Config,
  journal?: Pick<Journal, 'info'>,
): Promise<Database> {
  const { stateDir } = config;
  ensureTrustedDirectory(stateDir);
  const taken = await ensureFormat(stateDeps(config, journal));
  if (taken?.takenOver !== undefined)
    journal?.info('state.taken-over', { from: taken.takenOver.from, format: taken.format });
  const db = await openDatabase(stateDir);
  if (readFormat(stateDir)?.format === STATE_FORMAT) return db;
  await db.close();
  throw new StateError('CONTROL_STATE_LOCKED', `another process exchanges what is in ${stateDir}`);
}

async function openDatabase(stateDir: string): Promise<Database> {
  const path = join(stateDir, 'store');
  expectWholeDatabase(path);
  const db = new Level<string, Uint8Array>(path, { valueEncoding: 'view' });
  try {
    await db.open();
  } catch (error) {
    throw databaseError(path, error) ?? error;
  }
  return db as unknown as Database;
}

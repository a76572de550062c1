/** Runs a verb at the running agent, or, when none runs and the verb allows it, on the organisation at rest. */

import type { Secret } from '#src/secret';
import { hasState } from '../compose.ts';
import { askAgent } from '../control/client.ts';
import { askWithoutKeys, expectOwnKeys, isCustodied } from '../control/custody-at-rest.ts';
import { ControlError } from '../control/errors.ts';
import {
  type ArgumentsOf,
  callOf,
  type ResultOf,
  type VerbName,
  verbTable,
} from '../control/verb-table.ts';
import { IdentityError } from '../identity/own/errors.ts';
import { type Config, readConfig } from '../organisation/config/config.ts';
import { askSecret, readSecretFile } from '../organisation/config/secrets.ts';
import { openOrganisation } from '../organisation/organisation.ts';
import { copyState } from '../organisation/state-copy.ts';
import { isUnwritable, withCode } from '../organisation/system-error.ts';
import type { Invocation } from './command.ts';
import { type Io, note } from './io.ts';
import { localDrivers } from './local-drivers.ts';

/**
 * What the verb gives, from wherever it can be had. Throws CONTROL_NOT_RUNNING for what only a running agent can do, before it asks
 * for a secret, and what the verb throws.
 */
export async function ask<V extends VerbName>(
  invocation: Invocation,
  verb: V,
  args: ArgumentsOf<V>,
): Promise<ResultOf<V>> {
  const config = readConfig(invocation.config);
  const progress = (text: string) => note(invocation.io, text);
  try {
    return await askRunning(config.socket, verb, args, progress);
  } catch (error) {
    if (config.reading !== undefined && isNoAccess(error) && verbTable[verb].reads)
      return await askRunning(config.reading.socket, verb, args, progress);
    if (!isNotRunning(error) || verbTable[verb].needs === 'agent') throw error;
  }
  try {
    return await askAtRest(config, invocation.io, verb, args);
  } catch (error) {
    if (!verbTable[verb].reads || !isUnwritable(error)) throw error;
    note(invocation.io, `${(withCode(error) as Error).message}: reading from a copy in memory`);
    using copy = await copyState(config.stateDir);
    const { dir } = copy;
    const result = await askAtRest({ ...config, stateDir: dir }, invocation.io, verb, args);
    // Where the keys are is not where the copy was.
    return JSON.parse(JSON.stringify(result).replaceAll(dir, config.stateDir));
  }
}

/** What the verb gives where an agent runs; undefined where none answers, or there is no configuration to find it by. */
export async function askWhereRunning<V extends VerbName>(
  invocation: Invocation,
  verb: V,
  args: ArgumentsOf<V>,
): Promise<ResultOf<V> | undefined> {
  try {
    const { socket } = readConfig(invocation.config);
    return await askRunning(socket, verb, args, (text) => note(invocation.io, text));
  } catch (error) {
    const { code } = error as { code?: string };
    if (isNotRunning(error) || code === 'CONFIG_NOT_FOUND') return undefined;
    throw error;
  }
}

/** No agent answers at the socket of the configuration. */
export function isNotRunning(error: unknown): boolean {
  return error instanceof ControlError && error.code === 'CONTROL_NOT_RUNNING';
}

function isNoAccess(error: unknown): boolean {
  return error instanceof ControlError && error.code === 'CONTROL_NO_ACCESS';
}

/** The agent is the operator's own, and of the same version: its answer is what the table says. */
async function askRunning<V extends VerbName>(
  socket: string,
  verb: V,
  args: ArgumentsOf<V>,
  progress: (text: string) => void,
): Promise<ResultOf<V>> {
  const result: unknown = await askAgent(socket, { verb, args }, progress);
  return result as ResultOf<V>;
}

async function askAtRest<V extends VerbName>(
  config: Config,
  io: Io,
  verb: V,
  args: ArgumentsOf<V>,
): Promise<ResultOf<V>> {
  if (isCustodied(config) || verbTable[verb].needs === 'nothing')
    return askWithoutKeys(config, verb, args);
  requireState(config);
  const call = callOf(verb, args);
  call.expectAtRest();
  using secret = await keyStoreSecret(config, io);
  const organisation = await openOrganisation(await localDrivers(config, secret, io));
  try {
    return await call.run({
      organisation,
      agent: undefined,
      name: config.name,
      progress: (text) => note(io, text),
    });
  } finally {
    await organisation.close();
  }
}

/** Throws IDENTITY_MISSING, CUSTODY_NO_AGENT. */
export function requireState(config: Config): void {
  expectOwnKeys(config);
  if (!hasState(config))
    throw new IdentityError('IDENTITY_MISSING', `${config.stateDir} holds no organisation`);
}

/** The passphrase or PIN of the key store: from the file that the configuration names, or from the terminal. */
export function keyStoreSecret(config: Config, io: Io): Promise<Secret> {
  const { secretFile, tier } = config.keyStore;
  if (secretFile !== undefined) return Promise.resolve(readSecretFile(secretFile));
  return askSecret(
    tier === 'sealed-file' ? 'passphrase of the key store' : 'PIN of the token',
    io.stdin,
    io.stderr,
  );
}

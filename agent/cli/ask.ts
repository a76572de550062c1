/** Runs a verb at the running agent, or, when none runs and the verb allows it, on the organisation at rest. */

import type { Secret } from '#src/secret';
import { hasState } from '../compose.ts';
import { askAgent } from '../control/client.ts';
import { askWithoutKeys, expectOwnKeys, isCustodied } from '../control/custody-at-rest.ts';
import { ControlError } from '../control/errors.ts';
import { readingVerbs } from '../control/group.ts';
import type { Json } from '../control/protocol.ts';
import { verbs } from '../control/verbs.ts';
import { IdentityError } from '../identity/own/errors.ts';
import { type Config, readConfig } from '../organisation/config/config.ts';
import { askSecret, readSecretFile } from '../organisation/config/secrets.ts';
import { openOrganisation } from '../organisation/organisation.ts';
import { copyState } from '../organisation/state-copy.ts';
import { isUnwritable, withCode } from '../organisation/system-error.ts';
import type { Invocation } from './command.ts';
import { type Io, note } from './io.ts';
import { localDrivers } from './local-drivers.ts';

export type JsonObject = { readonly [key: string]: Json };

export async function ask(
  invocation: Invocation,
  verb: string,
  args: JsonObject,
  { atRest }: { readonly atRest: boolean },
): Promise<JsonObject> {
  const config = readConfig(invocation.config);
  const progress = (text: string) => note(invocation.io, text);
  try {
    return (await askAgent(config.socket, { verb, args }, progress)) as JsonObject;
  } catch (error) {
    if (config.reading !== undefined && isNoAccess(error) && readingVerbs.has(verb))
      return (await askAgent(config.reading.socket, { verb, args }, progress)) as JsonObject;
    if (!atRest || !(error instanceof ControlError) || error.code !== 'CONTROL_NOT_RUNNING')
      throw error;
  }
  try {
    return await askAtRest(config, invocation.io, verb, args);
  } catch (error) {
    if (!readingVerbs.has(verb) || !isUnwritable(error)) throw error;
    note(invocation.io, `${(withCode(error) as Error).message}: reading from a copy in memory`);
    using copy = await copyState(config.stateDir);
    const { dir } = copy;
    const result = await askAtRest({ ...config, stateDir: dir }, invocation.io, verb, args);
    // Where the keys are is not where the copy was.
    return JSON.parse(JSON.stringify(result).replaceAll(dir, config.stateDir));
  }
}

function isNoAccess(error: unknown): boolean {
  return error instanceof ControlError && error.code === 'CONTROL_NO_ACCESS';
}

async function askAtRest(
  config: Config,
  io: Io,
  verb: string,
  args: JsonObject,
): Promise<JsonObject> {
  if (isCustodied(config)) return askWithoutKeys(config, verb, args);
  requireState(config);
  using secret = await keyStoreSecret(config, io);
  const organisation = await openOrganisation(await localDrivers(config, secret, io));
  try {
    const run = verbs[verb];
    if (run === undefined) throw new ControlError('CONTROL_BAD_REQUEST', `unknown verb ${verb}`);
    return (await run({
      organisation,
      agent: undefined,
      name: config.name,
      args,
      progress: (text) => note(io, text),
    })) as JsonObject;
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

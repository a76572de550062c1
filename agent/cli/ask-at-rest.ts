/** Runs a verb on the organisation at rest: what needs all that an organisation is made of, and is loaded for it alone. */
import type { Secret } from '#src/secret';
import { hasState } from '../compose.ts';
import { askWithoutKeys, expectOwnKeys, isCustodied } from '../control/custody-at-rest.ts';
import {
  type ArgumentsOf,
  callOf,
  type ResultOf,
  type VerbName,
  verbTable,
} from '../control/verb-table.ts';
import { IdentityError } from '../identity/own/errors.ts';
import type { Config } from '../organisation/config/config.ts';
import { askSecret, readSecretFile } from '../organisation/config/secrets.ts';
import { openOrganisation } from '../organisation/organisation.ts';
import { copyState } from '../organisation/state-copy.ts';
import { isUnwritable, withCode } from '../organisation/system-error.ts';
import { type Io, note } from './io.ts';
import { localDrivers } from './local-drivers.ts';

/** Throws CONTROL_NOT_RUNNING for what only a running agent can do, before it asks for a secret, and what the verb throws. */
export async function askAtRest<V extends VerbName>(
  config: Config,
  io: Io,
  verb: V,
  args: ArgumentsOf<V>,
): Promise<ResultOf<V>> {
  try {
    return await openAndAsk(config, io, verb, args);
  } catch (error) {
    if (!verbTable[verb].reads || !isUnwritable(error)) throw error;
    note(io, `${(withCode(error) as Error).message}: reading from a copy in memory`);
    using copy = await copyState(config.stateDir);
    const { dir } = copy;
    const result = await openAndAsk({ ...config, stateDir: dir }, io, verb, args);
    // Where the keys are is not where the copy was.
    return JSON.parse(JSON.stringify(result).replaceAll(dir, config.stateDir));
  }
}

async function openAndAsk<V extends VerbName>(
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

/** A state directory that is made anew: configuration file, secret, key store, and away again when that fails. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { PRIVATE, PUBLIC, writeOutput } from '#src/files/atomic-file';
import { expectTrustedPlace } from '#src/files/trust';
import type { Secret } from '#src/secret';
import { composeLocal, createKeyStore, hasState, systemRng } from '../compose.ts';
import { IdentityError } from '../identity/own/errors.ts';
import { type Config, parseConfig, readConfig } from '../organisation/config/config.ts';
import { ConfigError } from '../organisation/config/errors.ts';
import { askNewSecret, readSecretFile } from '../organisation/config/secrets.ts';
import type { LocalDrivers } from '../organisation/drivers.ts';
import { type Invocation, type Option, optionText } from './command.ts';
import { UsageError } from './io.ts';

export const newStateOptions = {
  state: { type: 'string', value: 'DIR', does: 'state directory, for a new configuration file' },
  endpoint: {
    type: 'string',
    value: 'HOST',
    does: 'IP address or DNS name under which UDP reaches this node, for a new configuration file',
  },
  'secret-file': {
    type: 'string',
    value: 'FILE',
    does: 'file (mode 0600) with the passphrase or PIN; kept in a new configuration file',
  },
  'generate-secret': {
    type: 'boolean',
    does: 'write a random passphrase to the secret file, so that the agent starts unattended',
  },
} as const satisfies Readonly<Record<string, Option>>;

/**
 * @param name for a new configuration file
 * @param create is given the drivers and closes them
 */
export async function inNewState<T>(
  invocation: Invocation,
  name: string | undefined,
  create: (drivers: LocalDrivers, config: Config) => Promise<T>,
): Promise<{ readonly config: Config; readonly result: T }> {
  const { io } = invocation;
  const made = new Made();
  try {
    const isThere = existsSync(invocation.config);
    const config = isThere
      ? readConfig(invocation.config)
      : await writeConfig(invocation, name, made);
    if (hasState(config))
      throw new IdentityError(
        'IDENTITY_EXISTS',
        `${config.stateDir} already holds an organisation`,
      );
    if (isThere) expectSame(invocation, name, config);
    made.directory(config.stateDir, 0o700);
    made.whateverAppearsIn(config.stateDir);
    using secret = await newSecret(config, invocation, made);
    const drivers = await composeLocal(
      config,
      () => createKeyStore(config, secret),
      (line) => io.stderr.write(line),
    );
    return { config, result: await create(drivers, config) };
  } catch (error) {
    made.remove();
    throw error;
  }
}

/** What is meant for a new configuration file has no effect on one that is there: it is refused, unless the file says the same. */
function expectSame(invocation: Invocation, name: string | undefined, config: Config): void {
  const path = (option: string) => {
    const text = optionText(invocation, option);
    return text === undefined ? undefined : resolve(text);
  };
  const { keyStore, tunnel } = config;
  const rows: readonly (readonly [string, string | undefined, readonly unknown[]])[] = [
    ['name', name, [config.name]],
    ['state', path('state'), [config.stateDir]],
    ['keystore.secret-file', path('secret-file'), [keyStore.secretFile]],
    ['tunnel.endpoints', optionText(invocation, 'endpoint'), tunnel.endpoints],
  ];
  for (const [key, asked, inForce] of rows)
    if (asked !== undefined && !inForce.includes(asked))
      throw new ConfigError(
        'CONFIG_EXISTS',
        `${config.file} is there already, and its ${key} is not ${asked} but ${inForce.join(', ') || 'unset'}`,
        { hint: `Change ${key} in that file, or leave the option away` },
      );
}

/** What this run has made: it goes again when the run fails, so that it can be tried again. */
class Made {
  readonly #paths: string[] = [];
  readonly #former = new Map<string, ReadonlySet<string>>();

  directory(path: string, mode: number): void {
    const first = mkdirSync(path, { recursive: true, mode });
    if (first !== undefined) this.#paths.push(first);
  }

  /** The file must not be there yet. */
  async file(path: string, text: string, mode: number): Promise<void> {
    // Who may read the file may enter the directory.
    this.directory(dirname(path), mode | ((mode & 0o444) >> 2));
    expectTrustedPlace(dirname(path));
    await writeOutput(path, Buffer.from(text), { mode, isNew: true });
    this.#paths.push(path);
  }

  whateverAppearsIn(directory: string): void {
    this.#former.set(directory, new Set(readdirSync(directory)));
  }

  remove(): void {
    for (const [directory, former] of this.#former)
      for (const name of readdirSync(directory).filter((name) => !former.has(name)))
        rmSync(join(directory, name), { recursive: true, force: true });
    for (const path of this.#paths.reverse()) rmSync(path, { recursive: true, force: true });
  }
}

async function writeConfig(
  invocation: Invocation,
  name: string | undefined,
  made: Made,
): Promise<Config> {
  const file = resolve(invocation.config);
  if (name === undefined)
    throw new ConfigError('CONFIG_NOT_FOUND', `${file} does not exist`, {
      hint: 'Give --name NAME, and a file is written',
    });
  const state = optionText(invocation, 'state');
  const endpoint = optionText(invocation, 'endpoint');
  const secretFile =
    optionText(invocation, 'secret-file') ??
    (invocation.options['generate-secret'] === true
      ? join(state ?? '/var/lib/kelmesh', 'secret')
      : undefined);
  const text = [
    '# Kelmesh. `kelmesh config check --help` lists every key.',
    `name = ${JSON.stringify(name)}`,
    ...(state === undefined ? [] : [`state = ${JSON.stringify(resolve(state))}`]),
    ...(secretFile === undefined
      ? []
      : ['', '[keystore]', `secret-file = ${JSON.stringify(resolve(secretFile))}`]),
    ...(endpoint === undefined
      ? []
      : ['', '[tunnel]', `endpoints = [${JSON.stringify(endpoint)}]`]),
    '',
  ].join('\n');
  const config = parseConfig(text, file);
  await made.file(file, text, PUBLIC);
  return config;
}

async function newSecret(config: Config, invocation: Invocation, made: Made): Promise<Secret> {
  const { io } = invocation;
  const file = config.keyStore.secretFile;
  if (invocation.options['generate-secret'] === true) {
    if (file === undefined)
      throw new UsageError(
        '--generate-secret needs keystore.secret-file in the configuration, or --secret-file',
      );
    if (existsSync(file))
      throw new ConfigError('CONFIG_EXISTS', `${file} is there already`, {
        hint: 'Leave --generate-secret away to use the secret in it',
      });
    await made.file(file, `${Buffer.from(systemRng.bytes(24)).toString('base64url')}\n`, PRIVATE);
  }
  if (file !== undefined) return readSecretFile(file);
  return askNewSecret('new passphrase or PIN', io.stdin, io.stderr);
}

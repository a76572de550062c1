/** An organisation at rest: what `kelmesh init` makes in one directory, for tests of commands that need no agent. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cliJson } from './cli.ts';

/** Up to the section of the key store, in which further lines continue. */
const CONFIGURATION = ['name = "alba"', 'state = "state"', '[keystore]', 'secret-file = "secret"'];

/** Writes `kelmesh.toml`. @returns its path */
export function configureAtRest(dir: string, ...lines: readonly string[]): string {
  const config = join(dir, 'kelmesh.toml');
  writeFileSync(config, [...CONFIGURATION, ...lines, ''].join('\n'));
  return config;
}

/** Writes `kelmesh.toml` and makes `state` and `secret` beside it. @returns the path of the configuration */
export async function initAtRest(dir: string, ...lines: readonly string[]): Promise<string> {
  const config = configureAtRest(dir, ...lines);
  await cliJson('init', '--generate-secret', '--config', config);
  return config;
}

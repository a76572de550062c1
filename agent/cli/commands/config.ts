import { describeKind, readConfig } from '../../organisation/config/config.ts';
import { type ConfigKey, configKeys } from '../../organisation/config/keys.ts';
import type { Command } from '../command.ts';
import { exitCodes, print, printJson } from '../io.ts';

export const configCheck: Command = {
  name: 'config check',
  summary: 'check the configuration file and print what is in force',
  details: `Keys:\n${Object.entries(configKeys)
    .map(
      ([name, key]: [string, ConfigKey]) =>
        `  ${name}: ${key.does}. Takes ${describeKind(key.kind)}${key.fallback === undefined ? '' : `; default ${JSON.stringify(key.fallback)}`}${key.required === true ? '; needed' : ''}`,
    )
    .join('\n')}`,
  async run(invocation) {
    const config = readConfig(invocation.config);
    if (invocation.json) printJson(invocation.io, { schema: 'kelmesh.config/1', ...config });
    else {
      print(invocation.io, `${config.file} is valid`);
      printJson(invocation.io, config);
    }
    return exitCodes.ok;
  },
};

/** The drivers of an organisation at rest, as a command opens them: its journal goes to the standard error of the command. */
import type { Secret } from '#src/secret';
import { composeLocal, openKeyStore } from '../compose.ts';
import type { Config } from '../organisation/config/config.ts';
import type { LocalDrivers } from '../organisation/drivers.ts';
import type { Io } from './io.ts';

export function localDrivers(config: Config, secret: Secret, io: Io): Promise<LocalDrivers> {
  return composeLocal(
    config,
    () => openKeyStore(config, secret),
    (line) => io.stderr.write(line),
  );
}

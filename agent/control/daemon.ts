/** The agent as a process: starts, serves the control socket, ends on SIGINT, SIGTERM or `down`. */

import { parseDateTime } from '#src/clock';
import { MeshError } from '#src/errors';
import type { KeyStore } from '#src/keystore/key-store';
import type { Secret } from '#src/secret';
import { agentSettings, composeLocal, composeRunning, openKeyStore } from '../compose.ts';
import type { Config } from '../organisation/config/config.ts';
import { hintWithFile } from '../organisation/config/hint.ts';
import { type Organisation, openOrganisation } from '../organisation/organisation.ts';
import { Agent, type Running } from '../organisation/running/agent.ts';
import { withCode } from '../organisation/system-error.ts';
import { RemoteError } from './client.ts';
import { ControlError } from './errors.ts';
import { groupId } from './group.ts';
import { type Handler, serveControl, serveReading } from './server.ts';
import { requestedCall } from './verb-table.ts';

export interface DaemonHooks {
  readonly write: (line: string) => void;
  readonly ready: () => void;
}

/** How far the own clock may stand behind the newest own record before the agent refuses to run. */
const CLOCK_TOLERANCE_MS = 5 * 60_000;

/** Resolves after a graceful stop. SIGTERM leaves the tunnels up, so that a restart or upgrade drops nothing; `down` removes them. */
export async function runDaemon(config: Config, secret: Secret, hooks: DaemonHooks): Promise<void> {
  const stopping = Promise.withResolvers<{ readonly removeTunnels: boolean }>();
  const onSignal = () => stopping.resolve({ removeTunnels: false });
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    const { reading } = config;
    const group = reading === undefined ? 0 : groupId(reading.group);
    const running = await composeRunning(config);
    const organisation = await openOrganisation(
      await composeLocal(config, () => openAndForget(config, secret), hooks.write),
    );
    const { agent, parts } = await startOrClose(organisation, () =>
      Agent.start(organisation, running, agentSettings(config)),
    );
    const stopped = Promise.withResolvers<void>();
    const handler: Handler = (request, progress) =>
      parts.operator
        .run(async () =>
          requestedCall(request.verb, request.args).run({
            organisation,
            agent: parts,
            name: config.name,
            progress,
            stop: (how) => {
              stopping.resolve(how);
              return stopped.promise;
            },
          }),
        )
        .catch((error: unknown) => {
          throw withFile(withCode(error), config.file);
        });
    await using sockets = new AsyncDisposableStack();
    try {
      sockets.use(await serveControl(config.socket, handler));
      if (reading !== undefined) sockets.use(await serveReading(reading.socket, group, handler));
    } catch (error) {
      await agent.stop({ removeTunnels: false });
      throw error;
    }
    hooks.ready();
    const how = await stopping.promise;
    await agent.stop(how);
    stopped.resolve();
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

/** The process of the key store has the secret from then on, and the agent has it no more. */
async function openAndForget(config: Config, secret: Secret): Promise<KeyStore> {
  try {
    return await openKeyStore(config, secret);
  } finally {
    secret[Symbol.dispose]();
  }
}

/** Whoever asks may have given another configuration than this agent's. */
function withFile(error: unknown, file: string): unknown {
  if (!(error instanceof MeshError)) return error;
  const { code, message } = error;
  return new RemoteError({ code, message, hint: hintWithFile(error, file) });
}

async function startOrClose(
  organisation: Organisation,
  start: () => Promise<Running>,
): Promise<Running> {
  try {
    refuseClockBehind(organisation);
    return await start();
  } catch (error) {
    await organisation.close().catch(() => undefined);
    throw error;
  }
}

/** Records and handshakes order themselves by time: an agent that lives in the past would be ignored without a word. */
function refuseClockBehind({ identity, records, drivers }: Organisation): void {
  const last = records.latest('end', identity.aid)?.record.dt;
  const ahead = last === undefined ? 0 : (parseDateTime(last) ?? 0) - drivers.clock.now();
  if (ahead > CLOCK_TOLERANCE_MS)
    throw new ControlError(
      'CONTROL_CLOCK_OFF',
      `this host's clock is ${Math.round(ahead / 1_000)} s behind the newest own record of ${last}`,
    );
}

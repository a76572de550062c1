import { fork } from 'node:child_process';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '#src/confinement';
import { openForAppendSync } from '#src/files/log-file';
import { ensureTrustedDirectory } from '#src/files/trust';
import { readSecret, SECRET_FD, writeSecret } from '#src/keystore/process/secret-channel';
import type { Secret } from '#src/secret';
import { askAgent, RemoteError } from '../../control/client.ts';
import { runDaemon } from '../../control/daemon.ts';
import { ControlError } from '../../control/errors.ts';
import { errorResponse } from '../../control/protocol.ts';
import { type Config, readConfig } from '../../organisation/config/config.ts';
import { keyStoreSecret, requireState } from '../ask-at-rest.ts';
import type { Command } from '../command.ts';
import { exitCodes, type Io, note, print, printJson } from '../io.ts';

/** What the agent in the background says to its parent, once, over the fork's channel. */
type FromAgent = { readonly ready: true } | ReturnType<typeof errorResponse>;

/** Starting takes seconds; a token or a slow disk may take more. */
const START_MS = 60_000;

export const up: Command = {
  name: 'up',
  summary: 'start the agent: connect to the peers and bring up the tunnels',
  details: `Returns when the agent serves. It writes to agent.log in the state directory; with --foreground it stays
in the terminal (or under systemd) and writes to stderr. Tunnels that run already are taken over untouched.`,
  options: {
    foreground: { type: 'boolean', does: 'stay in the foreground until SIGINT or SIGTERM' },
  },
  async run(invocation) {
    const { io } = invocation;
    const config = readConfig(invocation.config);
    requireState(config);
    if (process.send !== undefined && invocation.options['foreground'] === true)
      return serveForParent(config, io);
    using secret = await keyStoreSecret(config, io);
    if (invocation.options['foreground'] === true) {
      await runDaemon(config, secret, {
        write: (line) => io.stderr.write(line),
        ready: () => undefined,
      });
      return exitCodes.ok;
    }
    await startInBackground(config, secret);
    const status = await askAgent(config.socket, { verb: 'status', args: {} }, () => undefined);
    if (invocation.json) printJson(io, status);
    else {
      print(io, `the agent of ${config.name} is up`);
      note(io, 'next: `kelmesh status`');
    }
    return exitCodes.ok;
  },
};

async function startInBackground(config: Config, secret: Secret): Promise<void> {
  await refuseSecond(config);
  ensureTrustedDirectory(config.stateDir);
  const log = openForAppendSync(join(config.stateDir, 'agent.log'));
  const main = fileURLToPath(new URL('../../main.ts', import.meta.url));
  const child = fork(main, ['up', '--foreground', '--config', config.file], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc', 'pipe'],
    execArgv: [...NODE_FLAGS, '--disable-warning=ExperimentalWarning'],
  });
  const pipe = child.stdio[SECRET_FD] as Writable;
  // An agent that ends at once is told by its end.
  pipe.on('error', () => undefined);
  await writeSecret(pipe, secret).catch(() => undefined);
  pipe.destroy();
  const answer = await new Promise<FromAgent>((resolve) => {
    const timer = setTimeout(
      () =>
        resolve(
          errorResponse(
            new ControlError(
              'CONTROL_START_FAILED',
              `the agent was not ready after ${START_MS / 1_000} s`,
            ),
          ),
        ),
      START_MS,
    );
    const end = (result: FromAgent) => {
      clearTimeout(timer);
      resolve(result);
    };
    child.once('message', (text) => end(text as FromAgent));
    child.once('exit', (code, signal) =>
      end(
        errorResponse(
          new ControlError('CONTROL_START_FAILED', `the agent ended with ${signal ?? code}`),
        ),
      ),
    );
  });
  if ('error' in answer) {
    child.kill();
    throw new RemoteError(answer.error);
  }
  child.disconnect();
  child.unref();
}

async function refuseSecond(config: Config): Promise<void> {
  try {
    await askAgent(config.socket, { verb: 'ping', args: {} }, () => undefined);
  } catch (error) {
    if (error instanceof ControlError && error.code === 'CONTROL_NOT_RUNNING') return;
    if (!(error instanceof RemoteError)) throw error;
  }
  throw new ControlError('CONTROL_ALREADY_RUNNING', `an agent answers at ${config.socket}`);
}

/** The agent in the background: the secret comes over a pipe, so it stands neither in argv nor in the environment. */
async function serveForParent(config: Config, io: Io): Promise<number> {
  const secret = readSecret();
  closeSync(SECRET_FD);
  if (secret === undefined)
    throw new ControlError('CONTROL_START_FAILED', 'the parent gave no passphrase or PIN');
  let isReady = false;
  const tell = (message: FromAgent) =>
    new Promise<void>((resolve) =>
      process.send === undefined || !process.connected
        ? resolve()
        : process.send(message, () => resolve()),
    );
  try {
    await runDaemon(config, secret, {
      write: (line) => io.stderr.write(line),
      ready: () => {
        isReady = true;
        void tell({ ready: true }).then(() => {
          process.disconnect?.();
        });
      },
    });
    return exitCodes.ok;
  } catch (error) {
    if (!isReady) await tell(errorResponse(error));
    process.disconnect?.();
    throw error;
  } finally {
    secret[Symbol.dispose]();
  }
}

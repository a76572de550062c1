import { readFileSync } from 'node:fs';
import { systemClock } from '../../compose.ts';
import { ask } from '../ask.ts';
import type { Command } from '../command.ts';
import { exitCodes, print, printJson } from '../io.ts';

export const down: Command = {
  name: 'down',
  summary: 'stop the agent and take its tunnels down',
  options: {
    'keep-tunnels': {
      type: 'boolean',
      does: 'leave the tunnels up, for a restart that drops no packet',
    },
  },
  async run(invocation) {
    const result = await ask(invocation, 'down', {
      keepTunnels: invocation.options['keep-tunnels'] === true,
    });
    await ended(result.pid);
    if (invocation.json) printJson(invocation.io, result);
    else print(invocation.io, 'the agent has stopped');
    return exitCodes.ok;
  },
};

const POLL_MS = 20;
const PATIENCE_MS = 10_000;

/** The agent has answered and closes what it has open: who starts it again at once meets no former self. */
async function ended(pid: number): Promise<void> {
  const end = systemClock.monotonic() + PATIENCE_MS;
  while (isRunning(pid) && systemClock.monotonic() < end) await systemClock.sleep(POLL_MS);
}

/** A process that has ended and that nobody has asked for is still listed, as a zombie. */
function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

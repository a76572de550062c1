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
    const result = await ask(
      invocation,
      'down',
      { keepTunnels: invocation.options['keep-tunnels'] === true },
      { atRest: false },
    );
    if (invocation.json) printJson(invocation.io, result);
    else print(invocation.io, 'the agent has stopped');
    return exitCodes.ok;
  },
};

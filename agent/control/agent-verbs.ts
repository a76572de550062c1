/** The agent itself: whether it is there, what it does, and its end. */
import { flag } from './arguments.ts';
import { peersJson, statusJson } from './status.ts';
import { needsAgent } from './verb.ts';

export const agentVerbs = {
  ping: needsAgent({ args: {}, reads: true, run: async () => 'pong' }),
  down: needsAgent({
    args: { keepTunnels: flag },
    async run({ progress, stop }, { keepTunnels }) {
      progress(keepTunnels ? 'stopping the agent' : 'removing the tunnels and stopping the agent');
      await stop({ removeTunnels: !keepTunnels });
      return { schema: 'kelmesh.down/1', stopped: true, pid: process.pid };
    },
  }),
  status: needsAgent({ args: {}, reads: true, run: ({ agent }) => statusJson(agent) }),
  'peer.list': needsAgent({
    args: {},
    reads: true,
    run: async ({ agent }) => ({ schema: 'kelmesh.peers/1', peers: await peersJson(agent) }),
  }),
};

/** The agent itself: whether it is there, what it does, and its end. */
import { flag } from './arguments.ts';
import { peersJson, statusJson, statusParts } from './status.ts';
import { verbsOf } from './verb.ts';

const { needsAgent } = verbsOf(statusParts);

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
  status: needsAgent({
    args: {},
    reads: true,
    run: ({ organisation, agent }) => statusJson(organisation, agent),
  }),
  'peer.list': needsAgent({
    args: {},
    reads: true,
    run: async ({ organisation, agent }) => ({
      schema: 'kelmesh.peers/1',
      peers: await peersJson(organisation, agent),
    }),
  }),
};

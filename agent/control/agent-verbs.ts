/** The agent itself: whether it is there, what it does, and its end. */
import { MembershipError } from '../mesh/membership/errors.ts';
import { flag, optional, text } from './arguments.ts';
import { diagnose, toWatch } from './diagnosis.ts';
import { peersJson, statusJson, statusParts } from './status.ts';
import { verbsOf } from './verb.ts';

const { needsAgent } = verbsOf({
  organisation: statusParts.organisation,
  agent: [...statusParts.agent, 'looks', 'signal'],
});

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
  doctor: needsAgent({
    args: { peer: optional(text) },
    reads: true,
    async run({ organisation, agent, progress }, { peer }) {
      const members = organisation.membership.charter?.members.values() ?? [];
      if (peer !== undefined && ![...members].some(({ aid, name }) => [aid, name].includes(peer)))
        throw new MembershipError('MESH_NOT_A_MEMBER', `${peer.slice(0, 64)} is no member`);
      const { clock } = organisation.drivers;
      const first = await statusJson(organisation, agent);
      const aids = toWatch(first, peer);
      if (aids.length > 0) progress('watching the tunnels that are down, some seconds');
      const signatures = aids.length > 0 ? await agent.looks.watch(aids, agent.signal) : new Map();
      const status = aids.length > 0 ? await statusJson(organisation, agent) : first;
      return {
        schema: 'kelmesh.doctor/1',
        checks: diagnose(status, { now: clock.now(), only: peer, signatures }),
      };
    },
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

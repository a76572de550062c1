/** The agent itself: whether it is there, what it does, and its end. */
import { MembershipError } from '../mesh/membership/errors.ts';
import { flag, optional, text } from './arguments.ts';
import { diagnose } from './diagnosis.ts';
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
  doctor: needsAgent({
    args: { peer: optional(text) },
    reads: true,
    async run({ organisation, agent }, { peer }) {
      const members = organisation.membership.charter?.members.values() ?? [];
      if (peer !== undefined && ![...members].some(({ aid, name }) => [aid, name].includes(peer)))
        throw new MembershipError('MESH_NOT_A_MEMBER', `${peer.slice(0, 64)} is no member`);
      const status = await statusJson(organisation, agent);
      return {
        schema: 'kelmesh.doctor/1',
        checks: diagnose(status, organisation.drivers.clock.now(), peer),
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

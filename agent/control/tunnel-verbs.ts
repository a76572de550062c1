/** One tunnel, measured. */
import { MembershipError } from '../mesh/membership/errors.ts';
import { PathError } from '../tunnel/path/errors.ts';
import { text } from './arguments.ts';
import { verbsOf } from './verb.ts';

const { needsAgent } = verbsOf({
  organisation: ['membership'],
  agent: ['tunnels', 'paths', 'edgeTest'],
});

/** Bytes: what is tried of a tunnel whose limit is not known yet. */
const UNKNOWN_LONGEST = 1_280;

const rounded = (value: number) => Math.round(value * 100) / 100;

export const tunnelVerbs = {
  'tunnel.test': needsAgent({
    args: { peer: text },
    async run({ organisation, agent, progress }, { peer }) {
      const { standing } = organisation.membership;
      const named = standing.member(peer);
      const member = named && standing.other(named.aid);
      if (member === undefined)
        throw new MembershipError('MESH_NOT_A_MEMBER', `${peer.slice(0, 64)} is no other member`);
      const { aid, name } = member;
      if (agent.tunnels.activeView(aid) === undefined)
        throw new PathError('PATH_NO_TUNNEL', `there is no tunnel to ${name}`);
      const limit = agent.paths.limitOf(aid);
      const result = await agent.edgeTest.run(aid, limit?.bytes ?? UNKNOWN_LONGEST, progress);
      const { sent, received, roundTrips, longest, longestArrives, bitsPerSecond } = result;
      return {
        schema: 'kelmesh.tunnel-test/1',
        aid,
        name,
        sent,
        received,
        lossPercent: rounded(((sent - received) / sent) * 100),
        rttMs:
          roundTrips === undefined
            ? null
            : {
                min: rounded(roundTrips.min),
                median: rounded(roundTrips.median),
                p95: rounded(roundTrips.p95),
                max: rounded(roundTrips.max),
              },
        mtu: { bytes: longest, arrives: longestArrives },
        throughputMbit: bitsPerSecond === undefined ? null : rounded(bitsPerSecond / 1e6),
      };
    },
  }),
};

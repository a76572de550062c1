import { ask } from '../ask.ts';
import type { Command } from '../command.ts';
import { exitCodes, print, printJson, table } from '../io.ts';

export const tunnelTest: Command = {
  name: 'tunnel test',
  summary: 'loss, latency, longest packet and throughput of the tunnel to a member',
  usage: 'PEER',
  details:
    'PEER is the name or the AID of a member. It takes some seconds, and little of the line.',
  minPositionals: 1,
  async run(invocation) {
    const [peer = ''] = invocation.positionals;
    const result = await ask(invocation, 'tunnel.test', { peer });
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const { name, sent, received, lossPercent, rttMs, mtu, throughputMbit } = result;
    const { min, median, p95, max } = rttMs ?? {};
    print(
      invocation.io,
      table([
        ['tunnel to', name],
        ['packets', `${received} of ${sent} came back, ${lossPercent} % lost`],
        ['latency', `${median} ms; least ${min}, 95 % within ${p95}, most ${max}`],
        ['longest', `${mtu.bytes} bytes, ${mtu.arrives ? 'which arrive' : 'which do not arrive'}`],
        ['throughput', throughputMbit === null ? '-' : `${throughputMbit} Mbit/s`],
      ]),
    );
    return exitCodes.ok;
  },
};

import { resolve } from 'node:path';
import { ask } from '../ask.ts';
import type { Command } from '../command.ts';
import { exitCodes, note, print, printJson } from '../io.ts';

export const idSubmit: Command = {
  name: 'id submit',
  usage: 'FILE...',
  summary: 'put a signed proposal into the log of the organisation, or tell who is missing',
  details: `Copies that were signed apart are merged. The log is kept by the running agent, or in the state directory, which is made
for it; no key is needed.`,
  minPositionals: 1,
  maxPositionals: 64,
  async run(invocation) {
    const { io } = invocation;
    const files = invocation.positionals.map((file) => resolve(file));
    const result = await ask(invocation, 'custody.submit', { files });
    if (invocation.json) printJson(io, result);
    else {
      print(io, `${result.verdict}: event ${result.sn}, ${result.said}, of ${result.aid}`);
      if (result.reason !== null) note(io, result.reason);
      note(io, 'next: `kelmesh id export` gives the log to custodians and nodes');
    }
    return exitCodes.ok;
  },
};

import { writeFileSync } from 'node:fs';
import { ask } from '../ask.ts';
import { type Command, optionText } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, note, print, printJson, table } from '../io.ts';
import { planOption, showPlan } from './rotate.ts';

export const idShow: Command = {
  name: 'id show',
  summary: 'the own AID, its keys and where they live',
  async run(invocation) {
    const id = await ask(invocation, 'id.show', {}, { atRest: true });
    if (invocation.json) {
      printJson(invocation.io, id);
      return exitCodes.ok;
    }
    const keyStore = id['keyStore'] as { driver: string; location: string };
    print(
      invocation.io,
      table([
        ['aid', String(id['aid'])],
        ['event', `${id['sn']}, ${id['said']}`],
        ['keys', (id['keys'] as readonly string[]).join(', ')],
        ['next', (id['nextDigests'] as readonly string[]).join(', ')],
        ['key store', `${keyStore.driver} at ${keyStore.location}`],
      ]),
    );
    return exitCodes.ok;
  },
};

export const idRotate: Command = {
  name: 'id rotate',
  summary: 'rotate to the pre-rotated keys; the tunnels follow without losing a packet',
  options: { plan: planOption, yes: yesOption },
  async run(invocation) {
    if (invocation.options['plan'] === true) return showPlan(invocation, 'id');
    if (!(await confirm(invocation, 'rotate the keys of this organisation?'))) return exitCodes.ok;
    const result = await ask(invocation, 'id.rotate', {}, { atRest: true });
    if (invocation.json) printJson(invocation.io, result);
    else {
      print(invocation.io, `event ${result['sn']}, ${result['said']}`);
      note(invocation.io, 'next: `kelmesh status` shows the tunnels change over');
    }
    return exitCodes.ok;
  },
};

export const idExport: Command = {
  name: 'id export',
  usage: '[AID]',
  summary: 'a key event log as the CESR stream that other KERI software reads',
  maxPositionals: 1,
  options: {
    out: { type: 'string', short: 'o', value: 'FILE', does: 'write to FILE instead of stdout' },
    'first-seen': {
      type: 'boolean',
      does: 'in first-seen order, superseded events included, as KERIpy replays a log',
    },
  },
  async run(invocation) {
    const [aid] = invocation.positionals;
    const firstSeen = invocation.options['first-seen'] === true;
    const args = { ...(aid === undefined ? {} : { aid }), ...(firstSeen ? { firstSeen } : {}) };
    const result = await ask(invocation, 'id.export', args, { atRest: true });
    const bytes = Buffer.from(String(result['cesr']), 'base64');
    const out = optionText(invocation, 'out');
    if (out !== undefined) writeFileSync(out, bytes);
    if (invocation.json)
      printJson(
        invocation.io,
        out === undefined
          ? result
          : { schema: result['schema'], aid: result['aid'], file: out, bytes: bytes.length },
      );
    else if (out === undefined) invocation.io.stdout.write(bytes);
    else
      note(
        invocation.io,
        `${bytes.length} bytes in ${out}; \`kelmesh id verify ${out}\` checks them anywhere`,
      );
    return exitCodes.ok;
  },
};

import { resolve } from 'node:path';
import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import { ask } from '../ask.ts';
import { type Command, optionText } from '../command.ts';
import { exitCodes, note, print, printFile, printJson, table } from '../io.ts';

export const idShow: Command = {
  name: 'id show',
  summary: 'the own AID, its keys and where they live',
  async run(invocation) {
    const id = await ask(invocation, 'id.show', {});
    if (invocation.json) {
      printJson(invocation.io, id);
      return exitCodes.ok;
    }
    const { keyStore } = id;
    print(
      invocation.io,
      table([
        ['aid', id.aid],
        ['event', `${id.sn}, ${id.said}`],
        ['keys', id.keys.join(', ')],
        ['next', id.nextDigests.join(', ')],
        ['key store', `${keyStore.driver} at ${keyStore.location}`],
      ]),
    );
    if (id.stepBack !== null) note(invocation.io, `own events wait: ${id.stepBack}`);
    if (id.foreignEvents)
      note(
        invocation.io,
        'this log holds events that were not made here: `kelmesh id rotate` takes them out, with `--adopt` it keeps them',
      );
    return exitCodes.ok;
  },
};

export const idBackup: Command = {
  name: 'id backup',
  usage: 'FILE',
  summary:
    'the next keys, in a key store file of their own: with them the log goes on when all others are lost',
  details: `Opens with the same passphrase. Put in the place of a lost key store it needs \`kelmesh id rotate\` first. Whoever has
it and the passphrase takes the AID over: keep it apart from both. Every rotation makes it worthless: make it anew.
The keys of a token never leave it: back the token up by its own means.`,
  minPositionals: 1,
  async run(invocation) {
    const file = resolve(invocation.positionals[0] ?? '');
    const result = await ask(invocation, 'id.backup', { file });
    if (invocation.json) printJson(invocation.io, result);
    else
      print(
        invocation.io,
        `${result.keys} keys in ${file}, good until the next \`kelmesh id rotate\``,
      );
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
    const result = await ask(invocation, 'id.export', { aid, firstSeen });
    const bytes = Buffer.from(result.cesr, 'base64');
    const out = optionText(invocation, 'out');
    if (out !== undefined) await writeOutput(out, bytes, { mode: PUBLIC });
    if (invocation.json)
      printJson(
        invocation.io,
        out === undefined
          ? result
          : { schema: result.schema, aid: result.aid, file: out, bytes: bytes.length },
      );
    else if (out === undefined) printFile(invocation.io, bytes);
    else
      note(
        invocation.io,
        `${bytes.length} bytes in ${out}; \`kelmesh id verify ${out}\` checks them anywhere`,
      );
    return exitCodes.ok;
  },
};

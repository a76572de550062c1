import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import type { ResultOf } from '../../control/verb-table.ts';
import { ask } from '../ask.ts';
import { type Command, optionText } from '../command.ts';
import { exitCodes, note, print, printFile, printJson, table, UsageError } from '../io.ts';

type KeyState = Omit<NonNullable<ResultOf<'id.replies'>['keyState']>, 'source'>;

function rowsOf(state: KeyState): (readonly string[])[] {
  return [
    ['event', `${state.sn}, ${state.said} (${state.type})`],
    ['keys', state.keys.join(', ')],
    ...(state.witnesses.length === 0 ? [] : [['witnesses', state.witnesses.join(', ')]]),
    ...(state.delegator === null ? [] : [['delegator', state.delegator]]),
    ['seen there', `as event ${state.seen} of its first-seen log; record of ${state.at}`],
  ];
}

export const idQuery: Command = {
  name: 'id query',
  usage: 'AID',
  summary: 'ask a connected member for the log or the key state of an AID',
  details: `The query is signed; members answer about logs of the mesh and those that they watch. A log is given as the member
holds it and changes nothing here: \`kelmesh id verify\` checks it, \`kelmesh id import\` takes it. A key state is
signed by the member and kept.`,
  minPositionals: 1,
  options: {
    from: { type: 'string', value: 'SN', does: 'the events from this sequence number on' },
    ksn: { type: 'boolean', does: 'the key state only' },
    out: { type: 'string', short: 'o', value: 'FILE', does: 'write to FILE instead of stdout' },
  },
  async run(invocation) {
    const from = optionText(invocation, 'from');
    const ksn = invocation.options['ksn'] === true;
    if (from !== undefined && (ksn || !/^(0|[1-9][0-9]{0,14})$/.test(from)))
      throw new UsageError('kelmesh id query takes --from with a sequence number, or --ksn');
    const args = {
      aid: invocation.positionals[0] ?? '',
      from: from === undefined ? undefined : Number(from),
      ksn,
    };
    const result = await ask(invocation, 'id.query', args);
    const bytes = Buffer.from(result.cesr, 'base64');
    const out = optionText(invocation, 'out');
    if (out !== undefined) await writeOutput(out, bytes, { mode: PUBLIC });
    if (invocation.json) {
      const { cesr, ...others } = result;
      printJson(
        invocation.io,
        out === undefined ? { ...others, cesr } : { ...others, file: out, bytes: bytes.length },
      );
    } else if (result.route === 'ksn')
      print(
        invocation.io,
        table([['aid', result.aid], ...rowsOf(result.keyState), ['says', result.member]]),
      );
    else if (out === undefined) printFile(invocation.io, bytes);
    else
      note(
        invocation.io,
        `${bytes.length} bytes of ${result.member} in ${out}; \`kelmesh id verify ${out}\` checks them anywhere`,
      );
    return exitCodes.ok;
  },
};

export const idReplies: Command = {
  name: 'id replies',
  usage: 'AID',
  summary:
    'what signed replies say of an AID: where it is reached, who serves it, how far its log is',
  minPositionals: 1,
  async run(invocation) {
    const aid = invocation.positionals[0] ?? '';
    const result = await ask(invocation, 'id.replies', { aid });
    if (invocation.json) {
      printJson(invocation.io, result);
      return exitCodes.ok;
    }
    const { locations, roles, keyState: state } = result;
    const rows = [
      ...locations.map(({ url }) => ['reached at', url]),
      ...roles.map(({ role, eid, locations }) => [role, [eid, ...locations].join(' ')]),
      ...(state === null ? [] : [...rowsOf(state), ['says', state.source]]),
    ];
    if (rows.length === 0) note(invocation.io, `no reply about ${aid} is held`);
    else print(invocation.io, table(rows));
    return exitCodes.ok;
  },
};

import { composeDatabase, hasState, stateDeps } from '../../compose.ts';
import { IdentityError } from '../../identity/own/errors.ts';
import { type Config, readConfig } from '../../organisation/config/config.ts';
import { readFormat, STATE_FORMAT } from '../../organisation/state/format.ts';
import { type FormerState, readFormer } from '../../organisation/state/former-state.ts';
import { newEvidence, restoreFormer } from '../../organisation/state/restore.ts';
import { whileLocked } from '../../organisation/state/take-over.ts';
import type { Command, Invocation } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, type Io, note, print, printJson } from '../io.ts';

export const stateShow: Command = {
  name: 'state show',
  summary:
    'the format of the state directory, the backup of a takeover, and whether there is a way back',
  details: `What its files say, whether the agent runs or not; \`state restore\` looks into the database too.`,
  run: (invocation) => show(invocation, withState(invocation)),
};

export const stateTakeOver: Command = {
  name: 'state take-over',
  summary: 'take over what an earlier version has left, with a backup, as the first start does',
  details: `The agent of the earlier version is stopped; its tunnels may stay. Nothing is signed and nobody hears of it.`,
  async run(invocation) {
    const config = withState(invocation);
    const db = await composeDatabase(config, { info: (_, fields) => tell(invocation.io, fields) });
    await db.close();
    return show(invocation, config);
  },
};

export const stateRestore: Command = {
  name: 'state restore',
  summary: 'go back to what an earlier version had left, as long as nothing was signed since',
  details: `The agent is stopped; its tunnels may stay. The backup of the takeover takes the place of logs, records, keys and audit log. Refused
after the first own event, receipt or entry of the audit log since: whoever forgets what was signed signs something else in its place.`,
  options: { yes: yesOption },
  async run(invocation) {
    const config = withState(invocation);
    const question = 'put the state directory back to what the earlier version left?';
    if (!(await confirm(invocation, question))) return exitCodes.ok;
    const { stateDir } = config;
    const former = await whileLocked(stateDir, () => restoreFormer(stateDeps(config)));
    const { format, at } = former;
    if (invocation.json)
      printJson(invocation.io, { schema: 'kelmesh.state-restore/1', stateDir, format, at });
    else {
      print(invocation.io, `${stateDir} is as format ${format} left it on ${at}`);
      note(
        invocation.io,
        'next: `kelmesh up` of the earlier version; this one takes it over again',
      );
    }
    return exitCodes.ok;
  },
};

/** Throws IDENTITY_MISSING. */
function withState({ config: file }: Invocation): Config {
  const config = readConfig(file);
  if (hasState(config)) return config;
  throw new IdentityError('IDENTITY_MISSING', `${config.stateDir} holds no organisation`);
}

function tell(io: Io, fields: Readonly<Record<string, unknown>> = {}): void {
  if (typeof fields['text'] === 'string') note(io, fields['text']);
}

async function show({ io, json }: Invocation, { stateDir }: Config): Promise<number> {
  const { format = STATE_FORMAT, takenOver } = readFormat(stateDir) ?? {};
  const former = readFormer(stateDir);
  const reason = await closedBy(stateDir, former);
  const report = {
    schema: 'kelmesh.state/1',
    ...{ stateDir, format, newest: STATE_FORMAT, takenOver: takenOver ?? null },
    backup: former === undefined ? null : backupOf(former),
    wayBack: { isOpen: reason === null, reason },
  };
  if (json) printJson(io, report);
  else
    print(io, [
      `state directory  ${stateDir}`,
      `format           ${format}, this program makes ${STATE_FORMAT}`,
      `taken over       ${takenOver === undefined ? 'no' : `from format ${takenOver.from} on ${takenOver.at}`}`,
      `way back         ${reason === null ? '`kelmesh state restore`, with the agent stopped' : `none: ${reason}`}`,
    ]);
  return exitCodes.ok;
}

async function closedBy(stateDir: string, former: FormerState | undefined): Promise<string | null> {
  if (former === undefined) return 'there is no backup of a takeover, or not any more';
  return (await newEvidence(stateDir, former)) ?? null;
}

function backupOf({ format, at, mark, files }: FormerState) {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { format, at, sn: mark.head?.sn ?? null, files: files.length, bytes };
}

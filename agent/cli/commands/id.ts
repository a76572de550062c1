import { resolve } from 'node:path';
import { PUBLIC, writeOutput } from '#src/files/atomic-file';
import { identityJson } from '../../control/status.ts';
import type { ResultOf } from '../../control/verb-table.ts';
import { IdentityError } from '../../identity/own/errors.ts';
import { readLogFile } from '../../mesh/watch/log-source.ts';
import { readConfig } from '../../organisation/config/config.ts';
import { recoverOrganisation } from '../../organisation/organisation.ts';
import { ask, keyStoreSecret, requireState } from '../ask.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, note, print, printFile, printJson, table } from '../io.ts';
import { localDrivers } from '../local-drivers.ts';
import { planOption, showPlan } from './rotate.ts';

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

export const idRotate: Command = {
  name: 'id rotate',
  summary: 'rotate to the pre-rotated keys; the tunnels follow without losing a packet',
  details: `While the agent is stopped it also works where the key store has lost all but the next keys: what was sealed under the
others is made anew. Interactions of the own log that this agent did not make (somebody else has the current key) give way to the
rotation, with all that they seal. After a backup was restored they are yours: \`--adopt\` keeps them.`,
  options: {
    plan: planOption,
    adopt: {
      type: 'boolean',
      does: 'keep what the own log holds that was not made here: this state directory was restored from a backup',
    },
    log: {
      type: 'string',
      value: 'FILE',
      does: 'with the agent stopped: take this own log in first, as a member has exported it',
    },
    yes: yesOption,
  },
  async run(invocation) {
    if (invocation.options['plan'] === true) return showPlan(invocation, 'id');
    if (!(await confirm(invocation, 'rotate the keys of this organisation?'))) return exitCodes.ok;
    const adopt = invocation.options['adopt'] === true;
    const log = optionText(invocation, 'log');
    const result =
      log === undefined
        ? await rotate(invocation, adopt)
        : await recoverAtRest(invocation, adopt, readLogFile(resolve(log)));
    if (invocation.json) printJson(invocation.io, result);
    else {
      print(invocation.io, `event ${result.sn}, ${result.said}`);
      note(invocation.io, 'next: `kelmesh status` shows the tunnels change over');
      note(invocation.io, 'a backup from before holds no next keys any more: make a new one');
    }
    return exitCodes.ok;
  },
};

function isCuredByRotation(code: string, adopt: boolean): boolean {
  return code === 'IDENTITY_CURRENT_KEYS_LOST' || (code === 'IDENTITY_LOG_DIVERGED' && adopt);
}

/** At the agent, or at rest; where that lacks keys, with the next ones alone. */
async function rotate(invocation: Invocation, adopt: boolean): Promise<ResultOf<'id.rotate'>> {
  try {
    return await ask(invocation, 'id.rotate', { adopt });
  } catch (error) {
    if (!(error instanceof IdentityError) || !isCuredByRotation(error.code, adopt)) throw error;
    note(invocation.io, `${error.code}: ${error.message}`);
    note(invocation.io, 'rotating with the next keys alone');
    return recoverAtRest(invocation, adopt);
  }
}

async function recoverAtRest(
  { config: file, io }: Invocation,
  adopt: boolean,
  log?: Uint8Array,
): Promise<ResultOf<'id.rotate'>> {
  const config = readConfig(file);
  requireState(config);
  using secret = await keyStoreSecret(config, io);
  const drivers = await localDrivers(config, secret, io);
  const organisation = await recoverOrganisation(drivers, { adopt }, log);
  try {
    return { schema: 'kelmesh.id/1', ...identityJson(organisation) };
  } finally {
    await organisation.close();
  }
}

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

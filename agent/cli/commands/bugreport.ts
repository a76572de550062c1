import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { arch, hostname, release } from 'node:os';
import { join } from 'node:path';
import { writeOutput } from '#src/files/atomic-file';
import { runCommand } from '#src/wireguard/command';
import type { ResultOf } from '../../control/verb-table.ts';
import { type Config, readConfig } from '../../organisation/config/config.ts';
import { ask, isNotRunning } from '../ask.ts';
import type { Command, Invocation } from '../command.ts';
import { exitCodes, note, printJson } from '../io.ts';
import { newFile, outOption } from '../new-file.ts';
import { type Plain, scrub } from '../scrub.ts';
import { version } from '../version.ts';
import { checksOf } from './doctor.ts';

/** Bytes of the end of `agent.log`. */
const LOG_BYTES = 64 << 10;

/** What the system says of links, rules and the routes of the mesh; never what WireGuard holds, which has keys. */
const QUESTIONS: readonly (readonly string[])[] = [
  ['-j', 'addr'],
  ['-j', '-4', 'rule'],
  ['-j', '-6', 'rule'],
  ['-j', '-6', 'route', 'show', 'proto', '75'],
];

export const bugreport: Command = {
  name: 'bugreport',
  summary: 'what somebody who helps needs to know, without secrets, names and addresses',
  details: 'JSON on stdout, or into FILE. With or without an agent.',
  options: {
    out: outOption,
    full: {
      type: 'boolean',
      does: 'leave names, identifiers and addresses in: for your own people',
    },
  },
  async run(invocation) {
    const isFull = invocation.options['full'] === true;
    const { report, names } = await collect(invocation);
    const scrubbed = scrub(report, { names, isFull });
    if (invocation.options['out'] === undefined) printJson(invocation.io, scrubbed);
    else {
      const file = newFile(invocation);
      const bytes = Buffer.from(`${JSON.stringify(scrubbed, undefined, 2)}\n`);
      await writeOutput(file, bytes, { isNew: true });
      note(invocation.io, `written to ${file}: read it before you give it away`);
    }
    return exitCodes.ok;
  },
};

async function collect(
  invocation: Invocation,
): Promise<{ readonly report: Plain; readonly names: readonly string[] }> {
  const config = configOf(invocation);
  const status = config && (await statusOf(invocation));
  const report = {
    schema: 'kelmesh.bugreport/1',
    at: new Date().toISOString(),
    version: version(),
    node: process.version,
    system: `${process.platform} ${release()} ${arch()}`,
    config: config ?? null,
    checks: await checksOf(invocation).catch((error: Error) => [{ text: error.message }]),
    status: status ?? null,
    network: Object.fromEntries(
      await Promise.all(QUESTIONS.map(async (args) => [`ip ${args.join(' ')}`, await ip(args)])),
    ),
    log: config === undefined ? [] : logOf(config),
  };
  const names = [
    hostname(),
    config?.name ?? '',
    status?.mesh?.name ?? '',
    ...(status?.peers ?? []).map(({ name }) => name),
    ...(status?.mesh?.members ?? []).map(({ name }) => name),
    ...(status?.knocks ?? []).map(({ name }) => name ?? ''),
    ...(config?.tunnel.endpoints ?? []),
    ...(config?.network.announce ?? []).flatMap((address) => address.split('/').slice(2, 3)),
  ];
  // As it is printed: what is no JSON is left out.
  return { report: JSON.parse(JSON.stringify(report)) as Plain, names };
}

function configOf({ config }: Invocation): Config | undefined {
  try {
    return readConfig(config);
  } catch {
    return undefined;
  }
}

async function statusOf(invocation: Invocation): Promise<ResultOf<'status'> | undefined> {
  try {
    return await ask(invocation, 'status', {});
  } catch (error) {
    if (isNotRunning(error)) return undefined;
    throw error;
  }
}

async function ip(args: readonly string[]): Promise<unknown> {
  try {
    const { stdout, stderr, status } = await runCommand('ip', args);
    return status === 0 ? JSON.parse(stdout.trim() || '[]') : stderr.slice(0, 500);
  } catch (error) {
    return (error as Error).message;
  }
}

/** The last lines of what the agent wrote in the background; under systemd they are in its journal. */
function logOf({ stateDir }: Config): readonly string[] {
  let file: number;
  try {
    file = openSync(join(stateDir, 'agent.log'), 'r');
  } catch {
    return [];
  }
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.alloc(Math.min(size, LOG_BYTES));
    readSync(file, bytes, 0, bytes.length, size - bytes.length);
    const lines = bytes.toString('utf8').split('\n');
    // The first may have lost its beginning.
    return lines.slice(size > bytes.length ? 1 : 0).filter((line) => line !== '');
  } finally {
    closeSync(file);
  }
}

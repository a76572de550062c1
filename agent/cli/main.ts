/** `kelmesh`: finds the command, parses its options, reports errors in one form. */

import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { MeshError } from '#src/errors';
import { hintWithFile } from '../organisation/config/hint.ts';
import { withCode } from '../organisation/system-error.ts';
import type { Command, Invocation, Option } from './command.ts';
import { loadCommand, loadCommands } from './commands.ts';
import { helpOf, overview } from './help.ts';
import { exitCodes, type Io, note, print, printJson, UsageError } from './io.ts';
import { version } from './version.ts';

export const DEFAULT_CONFIG = '/etc/kelmesh/kelmesh.toml';

const common: Readonly<Record<string, Option>> = {
  config: { type: 'string', value: 'FILE', does: `configuration file; default ${DEFAULT_CONFIG}` },
  json: { type: 'boolean', does: 'result as JSON on stdout' },
  help: { type: 'boolean', short: 'h', does: 'this text' },
};

/** The configuration file of the command, where one was given its options. */
interface InUse {
  config: string | undefined;
}

/** @returns exit code; never throws */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  const json = argv.includes('--json');
  const inUse: InUse = { config: undefined };
  try {
    return await dispatch(argv, io, inUse);
  } catch (error) {
    return report(withCode(error), io, json, inUse);
  }
}

async function dispatch(argv: readonly string[], io: Io, inUse: InUse): Promise<number> {
  const { leading, words } = splitLeading(argv);
  if (words.length === 0 || words[0] === 'help') {
    if (argv.includes('--version')) {
      print(io, version());
      return exitCodes.ok;
    }
    expectKnown(leading);
    const asked = await findCommand(words.slice(1));
    print(io, asked === undefined ? overview(await loadCommands()) : helpOf(asked.command, common));
    return words.length === 0 && !argv.includes('--help') && !argv.includes('-h')
      ? exitCodes.usage
      : exitCodes.ok;
  }
  const found = await findCommand(words);
  if (found === undefined) {
    const group = await groupOf(words);
    if (group.length > 0) {
      print(io, overview(group));
      return words.includes('--help') || words.includes('-h') ? exitCodes.ok : exitCodes.usage;
    }
    throw await unknownCommand(words);
  }
  const { command } = found;
  try {
    const invocation = parse(command, [...leading, ...found.rest], io);
    if (invocation === undefined) {
      print(io, helpOf(command, common));
      return exitCodes.ok;
    }
    inUse.config = resolve(invocation.config);
    return await command.run(invocation);
  } catch (error) {
    if (error instanceof UsageError) error.help = `kelmesh ${command.name} --help`;
    throw error;
  }
}

/** Options that stand alone or before `help`. Throws {@link UsageError}. */
function expectKnown(leading: readonly string[]): void {
  const known = ['--version', '-h', ...Object.keys(common).map((name) => `--${name}`)];
  const unknown = leading.find(
    (word) => word.startsWith('-') && !known.includes(word.split('=')[0] ?? ''),
  );
  if (unknown !== undefined) throw new UsageError(`kelmesh has no option ${unknown.split('=')[0]}`);
}

/** Points to the help of the noun where that is known. */
async function unknownCommand(words: readonly string[]): Promise<UsageError> {
  const [noun = '', verb] = words;
  const error = new UsageError(`there is no command ${[noun, verb].join(' ').trim()}`);
  if ((await loadCommands(noun)).length > 0) error.help = `kelmesh ${noun} --help`;
  return error;
}

/** The commands of a noun that stands without a verb: `kelmesh mesh`, `kelmesh id evidence --help`. */
function groupOf(words: readonly string[]): Promise<readonly Command[]> {
  const isOption = words.findIndex((word) => word.startsWith('-'));
  const noun = words.slice(0, isOption === -1 ? words.length : isOption).join(' ');
  return loadCommands(noun);
}

/** `kelmesh --config FILE status`: options may stand before the command. */
function splitLeading(argv: readonly string[]): {
  leading: readonly string[];
  words: readonly string[];
} {
  let at = 0;
  while (at < argv.length && argv[at]?.startsWith('-') === true)
    at += argv[at] === '--config' ? 2 : 1;
  return { leading: argv.slice(0, at), words: argv.slice(at) };
}

async function findCommand(
  words: readonly string[],
): Promise<{ command: Command; rest: readonly string[] } | undefined> {
  for (const length of [3, 2, 1]) {
    const command = await loadCommand(words.slice(0, length).join(' '));
    if (command !== undefined && words.length >= length)
      return { command, rest: words.slice(length) };
  }
  return undefined;
}

/** Undefined when help was asked for. */
function parse(command: Command, args: readonly string[], io: Io): Invocation | undefined {
  const known = { ...common, ...command.options };
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: Object.fromEntries(
        Object.entries(known).map(([name, { type, short, multiple }]) => [
          name,
          {
            type,
            ...(short === undefined ? {} : { short }),
            ...(multiple === undefined ? {} : { multiple }),
          },
        ]),
      ),
    });
  } catch (error) {
    throw badOption(command, known, error as Error & { code?: string });
  }
  const { values, positionals } = parsed;
  if (values['help'] === true) return undefined;
  const { minPositionals = 0, maxPositionals = minPositionals } = command;
  if (positionals.length < minPositionals || positionals.length > maxPositionals) {
    throw new UsageError(
      `kelmesh ${command.name} ${command.usage ?? ''}: got ${positionals.length} arguments`,
    );
  }
  const options = values as Invocation['options'];
  return {
    positionals,
    options,
    json: values['json'] === true,
    config: (values['config'] as string | undefined) ?? DEFAULT_CONFIG,
    io,
  };
}

/** The sentence of the parser, in our words. */
function badOption(
  command: Command,
  known: Readonly<Record<string, Option>>,
  { code, message }: Error & { readonly code?: string },
): UsageError {
  const named = /'(-[^' =,]+)/.exec(message)?.[1] ?? '';
  const long = /--([a-z-]+)/.exec(/'([^']*)'/.exec(message)?.[1] ?? '')?.[1] ?? '';
  const option = known[long];
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION')
    return new UsageError(`kelmesh ${command.name} has no option ${named}`);
  if (option?.type === 'string')
    return new UsageError(
      `--${long} takes a value: --${long} ${option.value ?? 'VALUE'}; one that begins with a hyphen is given as --${long}=VALUE`,
    );
  if (option?.type === 'boolean') return new UsageError(`--${long} takes no value`);
  return new UsageError(message.split('\n')[0] ?? message);
}

function report(error: unknown, io: Io, json: boolean, inUse: InUse): number {
  if (error instanceof UsageError) {
    if (json)
      printJson(io, {
        schema: 'kelmesh.error/1',
        error: { code: 'CLI_USAGE', message: error.message, hint: `\`${error.help}\` explains it` },
      });
    note(io, `kelmesh: error: ${error.message}`);
    note(io, `kelmesh: hint: \`${error.help}\` explains it`);
    return exitCodes.usage;
  }
  if (error instanceof MeshError) {
    const hint = hintWithFile(error, inUse.config);
    if (json)
      printJson(io, {
        schema: 'kelmesh.error/1',
        error: { code: error.code, message: error.message, hint },
      });
    note(io, `kelmesh: error: ${error.message} (${error.code})`);
    if (hint !== '') note(io, `kelmesh: hint: ${hint}`);
    if (error.code === 'CONTROL_NOT_RUNNING') return exitCodes.notRunning;
    return error.code === 'CONTROL_NO_ACCESS' ? exitCodes.noAccess : exitCodes.failed;
  }
  if (json)
    printJson(io, {
      schema: 'kelmesh.error/1',
      error: { code: 'INTERNAL', message: (error as Error).message, hint: '' },
    });
  note(io, `kelmesh: error: ${(error as Error).stack ?? String(error)}`.split('\n'));
  note(io, 'kelmesh: hint: this is a defect of kelmesh; report it with the lines above');
  return exitCodes.failed;
}

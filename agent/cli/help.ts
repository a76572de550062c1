/** Help texts, from the same tables that parse the arguments. */
import type { Command, Option } from './command.ts';
import { type Lines, table } from './io.ts';

export function overview(commands: readonly Command[]): Lines {
  return [
    'kelmesh: WireGuard tunnels between institutions that share no authority',
    '',
    'usage: kelmesh COMMAND [OPTIONS]',
    '',
    ...table(
      commands.map(({ name, usage, summary }) => [
        `  ${name}${usage === undefined ? '' : ` ${usage}`}`,
        summary,
      ]),
    ),
    '',
    'Each command takes --help, --json and --config FILE.',
  ];
}

export function helpOf(command: Command, common: Readonly<Record<string, Option>>): Lines {
  const options = Object.entries({ ...command.options, ...common });
  const rows = options.map(([name, { short, value, does }]) => [
    `  --${name}${value === undefined ? '' : ` ${value}`}${short === undefined ? '' : `, -${short}`}`,
    does,
  ]);
  return [
    `usage: kelmesh ${command.name}${command.usage === undefined ? '' : ` ${command.usage}`} [OPTIONS]`,
    '',
    command.summary,
    ...(command.details === undefined ? [] : ['', ...command.details.split('\n')]),
    '',
    ...table(rows),
  ];
}

/** `docs/cli.md`, the commands and the exit codes, held together both ways. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import type { Command } from '#agent/cli/command';
import { loadCommands } from '#agent/cli/commands';
import { exitCodes } from '#agent/cli/io';

const commands = await loadCommands();

const page = readFileSync(fileURLToPath(new URL('../../../docs/cli.md', import.meta.url)), 'utf8');

/** By heading, without its backticks. */
const sections = new Map(
  page
    .split(/^### /m)
    .slice(1)
    .map((text) => {
      const [heading = '', ...lines] = text.split('\n');
      return [heading.replaceAll('`', ''), lines.join('\n')] as const;
    }),
);

function headingOf({ name, usage }: Command): string {
  return `kelmesh ${name}${usage === undefined ? '' : ` ${usage}`}`;
}

function rowsOf({ options = {} }: Command): readonly string[] {
  return Object.entries(options).map(([name, { value, short, multiple, does }]) => {
    const flag = `\`--${name}${value === undefined ? '' : ` ${value}`}\``;
    const others = `${short === undefined ? '' : `, \`-${short}\``}${multiple === true ? ', may be repeated' : ''}`;
    return `| ${flag}${others} | ${does} |`;
  });
}

describe('docs/cli.md', () => {
  it('has a section for every command, in the order of the help, and for no other', () => {
    assert.deepEqual([...sections.keys()], commands.map(headingOf));
  });

  it('lists the options of every command as the help does', () => {
    for (const command of commands) {
      const rows = sections
        .get(headingOf(command))
        ?.split('\n')
        .filter((line) => line.startsWith('| `--'));
      assert.deepEqual(rows, rowsOf(command), command.name);
    }
  });

  it('names the JSON schema of every command', () => {
    for (const [heading, text] of sections)
      assert.match(text, /^JSON `kelmesh\.[a-z-]+\/1`/m, heading);
  });

  it('has the exit codes', () => {
    const codes = [...page.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code));
    assert.deepEqual(codes, Object.values(exitCodes));
  });
});

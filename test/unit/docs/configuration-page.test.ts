/** `docs/configuration.md` and the keys of the configuration file, held together both ways. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { describeKind, parseConfig } from '#agent/organisation/config/config';
import { type ConfigKey, configKeys } from '#agent/organisation/config/keys';

const page = readFileSync(
  fileURLToPath(new URL('../../../docs/configuration.md', import.meta.url)),
  'utf8',
);

function rowOf([name, key]: readonly [string, ConfigKey]): string {
  const fallback = key.fallback === undefined ? '–' : `\`${JSON.stringify(key.fallback)}\``;
  const wanted = key.required === true ? 'needed' : fallback;
  return `| \`${name}\` | ${describeKind(key.kind)} | ${wanted} | ${key.does} |`;
}

/** Rows of the tables of keys: name, what it takes, default, what it does. */
const rows = page.split('\n').filter((line) => /^\| `[a-z.-]+` \|([^|]+\|){3}$/.test(line));

describe('docs/configuration.md', () => {
  it('says of every key what the source says, and has no other', () => {
    assert.deepEqual(rows, Object.entries(configKeys).map(rowOf));
  });

  it('has examples that are valid', () => {
    const examples = [...page.matchAll(/```toml\n([^`]*)```/g)].map(([, text = '']) => text);
    assert.ok(examples.length > 0);
    for (const example of examples) parseConfig(example, '/etc/kelmesh/kelmesh.toml');
  });
});

/** What starting a command costs is what it loads: one that an agent answers loads no organisation. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

/** Tells at the end which files of this program were loaded. */
const TELL = `import { registerHooks } from 'node:module';
const seen = [];
registerHooks({ load: (url, context, next) => (seen.push(url), next(url, context)) });
process.on('exit', () => process.stdout.write(JSON.stringify(seen)));`;

function loadedBy(...args: readonly string[]): readonly string[] {
  const { stdout } = spawnSync(
    process.execPath,
    [
      `--import=data:text/javascript,${encodeURIComponent(TELL)}`,
      join(root, 'agent/main.ts'),
      ...args,
      '--config=/nowhere/kelmesh.toml',
    ],
    { encoding: 'utf8', cwd: root },
  );
  return (JSON.parse(stdout) as string[])
    .filter((url) => url.startsWith('file:') && !url.includes('/node_modules/'))
    .map((url) => fileURLToPath(url).slice(root.length));
}

describe('a command', () => {
  for (const command of [
    ...['status', 'peer list', 'mesh show', 'mesh admit', 'id show', 'id export', 'rotate status'],
    ...['witness list', 'watch list', 'revoke status'],
  ])
    it(`loads no organisation where an agent answers it: ${command}`, () => {
      const loaded = loadedBy(...command.split(' '));
      assert.ok(loaded.includes('agent/cli/ask.ts'), loaded.join(' '));
      for (const heavy of ['agent/compose.ts', 'agent/organisation/organisation.ts'])
        assert.ok(!loaded.includes(heavy), heavy);
    });

  it('loads it where it asks for what is at rest', () => {
    assert.ok(loadedBy('id', 'rotate').includes('agent/organisation/organisation.ts'));
  });
});

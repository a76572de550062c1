/** Unit tests stand where their sources stand. */
import assert from 'node:assert/strict';
import { existsSync, globSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('the unit tests', () => {
  it('stand each in a folder that the source has', () => {
    const files = globSync('test/unit/**/*.test.ts', { cwd: root });
    assert.ok(files.length > 100);
    const folders = [...new Set(files.map((file) => relative('test/unit', dirname(file))))];
    assert.deepEqual(
      folders.filter((folder) => !existsSync(join(root, folder))),
      [],
    );
  });
});

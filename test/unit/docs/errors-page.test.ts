/** `docs/errors.md` and the error tables of the source, held together both ways. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import { describe, it } from 'mocha';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** By the text of the source, so that a table is found wherever it stands and whether or not it is exported. */
const tables = globSync('{src,kel,agent}/**/*.ts', { cwd: root })
  .map((file) => ({ file, text: readFileSync(`${root}/${file}`, 'utf8') }))
  .filter(({ text }) => text.includes('satisfies ErrorTable'))
  .flatMap(({ file, text }) => {
    const found = [...text.matchAll(/= (\{[^}]*\}) as const satisfies ErrorTable;/g)];
    assert.equal(
      found.length,
      text.split('satisfies ErrorTable').length - 1,
      `${file} has an error table in a form that this test does not read`,
    );
    return found.map(([, literal]) => runInNewContext(`(${literal})`) as Record<string, string>);
  });

const cures = new Map(tables.flatMap((table) => Object.entries(table)));

const rows = readFileSync(`${root}/docs/errors.md`, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => /^\| `([A-Z][A-Z0-9_]+)` \| (.+?) \| (.+) \|$/.exec(line) ?? assert.fail(line));

describe('docs/errors.md', () => {
  it('is compared with tables that are there', () => {
    assert.ok(tables.length >= 20);
    assert.equal(
      cures.size,
      tables.reduce((sum, table) => sum + Object.keys(table).length, 0),
      'a code stands in two tables',
    );
  });

  it('has every code of the source, each once, and no other', () => {
    assert.deepEqual(rows.map(([, code]) => code).toSorted(), [...cures.keys()].toSorted());
  });

  it('gives the cure that the program prints', () => {
    assert.deepEqual(
      Object.fromEntries(rows.map(([, code, , cure]) => [code, cure])),
      Object.fromEntries(cures),
    );
  });

  it('has cures that are sentences with a capital and without a final period', () => {
    for (const [code, cure] of cures) {
      assert.match(cure, /^[A-Z`]/, code);
      assert.doesNotMatch(cure, /[.\n|]$/, code);
    }
  });
});

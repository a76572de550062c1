/** One word for one thing: the names of types over all of the source, and the glossary. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const exported = globSync('{src,kel,agent,demo}/**/*.ts', { cwd: root }).flatMap((path) =>
  [...read(path).matchAll(/^export (?:abstract )?(?:interface|type|class) (\w+)/gm)].map(
    ([, name = '']) => ({ name, path }),
  ),
);
const terms = new Set(
  [...read('docs/glossary.md').matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = '']) =>
    cell.split(', '),
  ),
);

/** Where a word has its one meaning; the glossary says which. */
const words: readonly {
  readonly word: RegExp;
  readonly term: string;
  readonly folder: string;
}[] = [
  { word: /View$/, term: 'view', folder: 'agent/tunnel/pairs/' },
  { word: /Changes?$/, term: 'change', folder: 'agent/tunnel/pairs/' },
  { word: /Difference$/, term: 'difference', folder: 'src/wireguard/' },
  { word: /^Standing$/, term: 'standing', folder: 'agent/mesh/membership/' },
  { word: /^Member$/, term: 'member', folder: 'agent/mesh/membership/' },
  { word: /^Peer(Key|Address)$/, term: 'peer', folder: 'agent/network/' },
  {
    word: /^(Peer(State|Memory)|DesiredPeer)$/,
    term: 'peer of a device',
    folder: 'src/wireguard/',
  },
];

describe('words', () => {
  it('name one thing each: no type is exported under the name of another', () => {
    const paths = new Map<string, string[]>();
    for (const { name, path } of exported) paths.set(name, [...(paths.get(name) ?? []), path]);
    assert.ok(paths.size > 300);
    assert.deepEqual(
      [...paths].filter(([, { length }]) => length > 1).map(([name]) => name),
      [],
    );
  });

  for (const { word, term, folder } of words)
    it(`have the meaning that the glossary gives: ${term}`, () => {
      const named = exported.filter(({ name }) => word.test(name));
      assert.ok(named.length > 0);
      assert.deepEqual(
        named.filter(({ path }) => !path.startsWith(folder)),
        [],
      );
      assert.ok(terms.has(term), `the glossary has no row for ${term}`);
    });
});

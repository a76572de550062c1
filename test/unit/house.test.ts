/** The house: what may import what, held by lint, and where everything is, as `docs/architecture.md` says. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { before, describe, it } from 'mocha';

const root = fileURLToPath(new URL('../..', import.meta.url));
const biome = join(root, 'node_modules/.bin/biome');

interface Planted {
  /** Where the file stands. */
  readonly folder: string;
  readonly specifier: string;
  readonly isTaken: boolean;
}

/** From the top down; each may import what stands below it, `inner` nothing but `src/`. */
const groups = [
  ...['cli', 'control', 'organisation', 'tunnel', 'evidence', 'mesh', 'identity', 'network'],
] as const;

const refused = (folder: string, ...specifiers: readonly string[]): readonly Planted[] =>
  specifiers.map((specifier) => ({ folder, specifier, isTaken: false }));
const taken = (folder: string, ...specifiers: readonly string[]): readonly Planted[] =>
  specifiers.map((specifier) => ({ folder, specifier, isTaken: true }));

/** What was written several times once, and where it stands now; the pattern is how a second one would begin. */
const oneOfEach: readonly {
  readonly what: string;
  readonly pattern: RegExp;
  readonly places: readonly string[];
}[] = [
  {
    what: 'telling the journal of a failure',
    pattern: /code: code \?\? 'none', message \}/,
    places: [],
  },
  {
    what: 'a loop of rounds until the agent stops',
    pattern: /while \(!signal\.aborted\) \{\n\s*await clock\s*\.sleep\(/,
    places: ['src/ticks.ts'],
  },
  { what: 'a pause that varies by a quarter', pattern: /0\.75 \+/, places: ['src/ticks.ts'] },
  {
    what: 'waiting for a message of a stream within a time',
    pattern: /withDeadline\([^;]*\breceive\(/,
    places: ['agent/network/conversation.ts'],
  },
  {
    what: 'a bucket of tokens that fills',
    pattern: /Math\.min\([^;]*\btokens \+/,
    places: ['src/allowance.ts'],
  },
  {
    what: 'the purpose of a key that seals data at rest',
    pattern: /storageKey\(\d|const \w*_KEK = |KEK_NUMBERS = /,
    places: ['src/crypto/labels.ts'],
  },
  {
    what: 'reading heads of CBOR',
    pattern: /head >> 5|first >> 5/,
    places: ['src/cbor-reader.ts'],
  },
  {
    what: 'the length before a message',
    pattern: /uint32be\(message\.length\)/,
    places: ['agent/network/framing.ts'],
  },
];

const planted: readonly Planted[] = [
  ...groups.flatMap((group, at) => {
    const above = groups.slice(0, at);
    const below = groups.slice(at + 1);
    const folder = `agent/${group}`;
    return [
      ...refused(folder, ...above.flatMap((other) => [`#agent/${other}/it`, `../${other}/it.ts`])),
      ...refused(folder, '../../demo/it.ts'),
      ...taken(folder, ...below.map((other) => `../${other}/it.ts`), '#kel/identifiers'),
      ...refused(`${folder}/deeper`, ...above.map((other) => `../../${other}/it.ts`)),
    ];
  }),
  // Only those who start a program name its drivers.
  ...groups.slice(2).flatMap((group) => refused(`agent/${group}`, '../compose.ts')),
  ...groups.slice(0, 2).flatMap((group) => taken(`agent/${group}`, '../compose.ts')),
  ...refused(
    'agent/inner/ca',
    '#kel/identifiers',
    '../../../kel/identifiers.ts',
    '../../compose.ts',
  ),
  ...refused('agent/inner/ca', ...groups.map((group) => `../../${group}/it.ts`)),
  ...taken('agent/inner/ca', '#src/secret', './it.ts'),
  ...['format', 'auditor'].flatMap((room) => [
    ...refused(`agent/evidence/${room}`, '../../network/it.ts', '../../identity/own/it.ts'),
    ...refused(`agent/evidence/${room}`, '../../tunnel/pairs/it.ts', '../../mesh/sync/it.ts'),
    ...refused(`agent/evidence/${room}`, '../log/it.ts', '#agent/evidence/log/it'),
    ...taken(`agent/evidence/${room}`, '../../mesh/membership/charter.ts', '#kel/identifiers'),
  ]),
  ...refused('src/audit', '#kel/identifiers', '#agent/compose', '../wireguard/it.ts'),
  ...refused('src/crypto', '#src/wireguard/it', '../keystore/it.ts'),
  ...taken('src/wireguard', '#src/crypto/it', '../net/it.ts'),
  ...refused('src/wireguard', '#src/rosenpass/it', '../rosenpass/it.ts'),
  ...refused('src/rosenpass', '#kel/identifiers', '#src/keystore/it', '../mtls/it.ts'),
  ...refused('src/rosenpass/program', '#agent/compose', '../../store/it.ts'),
  ...taken('src/rosenpass/program', '#src/wireguard/it', '#src/net/it', '../it.ts'),
  ...refused('kel/state', '#agent/compose', '#kel/store/it', '../escrow/it.ts'),
  ...refused('kel/cesr', '#kel/event/it'),
  ...refused('kel/event', '#kel/state/it', '../state/it.ts'),
  ...refused('kel/message', '#kel/store/it'),
  ...refused('kel/escrow', '#kel/store/it'),
  ...refused('kel/duplicity', '#kel/store/it'),
  ...taken('kel/store', '#kel/escrow/it', '#kel/duplicity/it', '#kel/state/it'),
];

describe('lint refuses an import against the direction', () => {
  let refusals: ReadonlySet<string>;

  before(async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kelmesh-house-'));
    try {
      const {
        vcs: _,
        $schema: __,
        ...rules
      } = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8'));
      await writeFile(join(directory, 'biome.json'), JSON.stringify(rules));
      for (const [at, { folder, specifier }] of planted.entries()) {
        await mkdir(join(directory, folder), { recursive: true });
        await writeFile(join(directory, folder, `planted-${at}.ts`), `import '${specifier}';\n`);
      }
      const { stdout } = spawnSync(
        biome,
        [
          ...['lint', '--only=style/noRestrictedImports', '--reporter=json'],
          ...['--max-diagnostics=none', directory],
        ],
        { cwd: directory, encoding: 'utf8', maxBuffer: 1 << 26 },
      );
      const { diagnostics } = JSON.parse(stdout) as {
        diagnostics: { category: string; location: { path: string } }[];
      };
      refusals = new Set(
        diagnostics
          .filter(({ category }) => category === 'lint/style/noRestrictedImports')
          .map(({ location }) => basename(location.path)),
      );
      assert.ok(refusals.size > 0);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  for (const folder of new Set(planted.map((one) => one.folder)))
    it(`in ${folder}, and takes one along it`, () => {
      for (const [at, { specifier, isTaken, ...one }] of planted.entries())
        if (one.folder === folder)
          assert.equal(!refusals.has(`planted-${at}.ts`), isTaken, specifier);
    });
});

/** Every import of the tree, as files. */
function imports(): readonly { readonly from: string; readonly to: string }[] {
  const found = globSync('{src,kel,agent,demo}/**/*.ts', { cwd: root }).flatMap((from) =>
    [...readFileSync(join(root, from), 'utf8').matchAll(/\bfrom '([^']+)'/g)].flatMap(
      ([, specifier = '']) => {
        if (/^#(src|kel|agent)\//.test(specifier))
          return [{ from, to: `${specifier.slice(1)}.ts` }];
        if (!specifier.startsWith('.')) return [];
        return [{ from, to: posix.normalize(posix.join(dirname(from), specifier)) }];
      },
    ),
  );
  assert.ok(found.length > 1_000);
  return found;
}

/** `agent/tunnel/pairs`, `kel/event`, `src/crypto`, `demo`; a file beside the rooms is a room of its own. */
function roomOf(path: string): string {
  const folders = path.split('/').slice(0, -1);
  const depth = folders[0] === 'agent' ? 3 : 2;
  if (folders[0] === 'demo') return 'demo';
  if (folders[1] === 'cli' || folders[1] === 'control' || folders[1] === 'network')
    return folders.slice(0, 2).join('/');
  return folders.length < depth ? path : folders.slice(0, depth).join('/');
}

describe('the rooms', () => {
  it('stand in imports alone: no other text of a program is the path of a file beside it', () => {
    const strays = globSync('{agent,kel,src,demo}/**/*.ts', { cwd: root }).flatMap((file) =>
      readFileSync(join(root, file), 'utf8')
        .split('\n')
        .filter((line) => /(['"`])\.{1,2}\/[\w/.-]*\1/.test(line))
        .filter((line) => !/\bfrom '|\bimport[ (]|new URL\(/.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
    assert.deepEqual(strays, []);
  });

  for (const { what, pattern, places } of oneOfEach)
    it(`have one way for ${what}`, () => {
      const found = globSync('{agent,kel,src,demo}/**/*.ts', { cwd: root }).filter((file) =>
        pattern.test(readFileSync(join(root, file), 'utf8')),
      );
      assert.deepEqual(found.toSorted(), places);
    });

  it('never import each other, directly or in a circle', () => {
    const arrows = new Map<string, Set<string>>();
    for (const { from, to } of imports()) {
      const [a, b] = [roomOf(from), roomOf(to)];
      if (a !== b) arrows.set(a, (arrows.get(a) ?? new Set()).add(b));
    }
    const done = new Set<string>();
    const visit = (room: string, path: readonly string[]): void => {
      assert.ok(!path.includes(room), `a circle: ${[...path, room].join(' -> ')}`);
      if (done.has(room)) return;
      for (const next of arrows.get(room) ?? []) visit(next, [...path, room]);
      done.add(room);
    };
    for (const room of arrows.keys()) visit(room, []);
  });

  it('each have their line in docs/architecture.md, and no other has one', () => {
    const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
    const section = page.slice(
      page.indexOf('## Folders'),
      page.indexOf('\n## ', page.indexOf('## Folders') + 1),
    );
    const named = [...section.matchAll(/^\| `([\w/-]+)\/?` \|/gm)].map(([, name]) => name ?? '');
    const folders = (path: string): string[] =>
      readdirSync(join(root, path), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => `${path}/${entry.name}`);
    const groupRooms = folders('agent').flatMap((group) => {
      const rooms = folders(group);
      return group === 'agent/cli' || rooms.length === 0 ? [group] : rooms;
    });
    const expected = [...folders('src'), ...folders('kel'), ...groupRooms, 'demo'];
    assert.deepEqual(named.toSorted(), expected.toSorted());
  });
});

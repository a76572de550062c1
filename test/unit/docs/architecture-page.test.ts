/** What `docs/architecture.md` and its neighbours say of protocols, ports and pages, held together with the source. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { configKeys } from '#agent/organisation/config/keys';
import { MAX_DEVICES } from '#agent/tunnel/pairs/devices';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const pages = ['README.md', ...globSync('docs/*.md', { cwd: root }).sort()];
const architecture = read('docs/architecture.md');

/** `'/kelmesh/1/sync' as ProtocolId`, and the topics, which end in the mesh: no other way makes one. */
const NAMED = /'([^']+)' as ProtocolId|`([^`]+)\/\$\{mesh\}`/g;
const inSource = globSync('agent/**/*.ts', { cwd: root }).flatMap((path) =>
  [...read(path).matchAll(NAMED)].map(([, protocol, topic]) => protocol ?? `${topic}/MESH`),
);

/** Headings outside of code blocks, with the lines of their sections. */
function headings(text: string): readonly string[] {
  return text.replaceAll(/^```[\s\S]*?^```/gm, '').match(/^#+ .*$/gm) ?? [];
}

describe('docs/architecture.md', () => {
  it('has a section for every protocol and every gossip topic of the source, and for no other', () => {
    const named = headings(architecture).flatMap((line) =>
      [...line.matchAll(/`(\/kelmesh\/[^`]+)`/g)].map(([, id]) => id),
    );
    assert.ok(inSource.length >= 10);
    assert.deepEqual(named.toSorted(), inSource.toSorted());
  });
});

describe('the pages', () => {
  for (const path of pages)
    it(`have each section once: ${path}`, () => {
      const own = headings(read(path));
      assert.deepEqual(
        own.filter((line, n) => own.indexOf(line) !== n),
        [],
      );
    });

  it('name all UDP ports of the tunnels wherever they name more than the first', () => {
    const first = Number(configKeys['tunnel.port'].fallback);
    const last = first + MAX_DEVICES - 1;
    for (const path of pages)
      for (const line of read(path).split('\n')) {
        const ports = [...line.matchAll(/\b518\d\d\b/g)].map(([port]) => Number(port));
        if (ports.length > 1) assert.deepEqual(ports, [first, last], `${path}: ${line.trim()}`);
      }
  });

  it('are all linked from the README', () => {
    const linked = new Set(
      [...read('README.md').matchAll(/\(docs\/([a-z-]+\.md)/g)].map(([, p]) => `docs/${p}`),
    );
    assert.deepEqual(
      pages.filter((path) => path !== 'README.md' && !linked.has(path)),
      [],
    );
  });
});

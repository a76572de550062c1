/** The wiring of an organisation and of its agent reads from top to bottom: every part is made before anything that is given it. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const files = ['agent/organisation/organisation.ts', 'agent/compose.ts'].concat(
  globSync('agent/organisation/running/*.ts', { cwd: root }),
);

/** A part that is made in a function, with the text before it in that function and its own making. */
function* made(source: string) {
  const making =
    /^( +)const (\w+) = (?:await )?(?:new [A-Z]\w*|[A-Z]\w*\.(?:open|start)|open\w+)\(/gm;
  for (const { 1: indent = '', 2: name = '', index } of source.matchAll(making)) {
    const before = source.slice(0, index);
    const start = Math.max(...[...before.matchAll(/^(?! |\n)/gm)].map((match) => match.index ?? 0));
    const body = source.slice(index).split('\n');
    const last = body.findIndex(
      (line) => line.startsWith(indent) && !line.startsWith(`${indent} `) && line.endsWith(';'),
    );
    assert.ok(last !== -1, name);
    const statement = body.slice(0, last + 1).join('\n');
    yield {
      name,
      before: source.slice(start, index),
      making: statement.slice(statement.indexOf('=')),
    };
  }
}

describe('wiring', () => {
  const sources = files.map((file) => [file, readFileSync(join(root, file), 'utf8')] as const);

  it('no part is called by what stands before it, nor by what it is made of', () => {
    let parts = 0;
    for (const [file, source] of sources)
      for (const { name, before, making } of made(source)) {
        parts += 1;
        const call = new RegExp(`(?<![.\\w#])${name}\\??\\.\\w`);
        assert.doesNotMatch(before, call, `${file}: ${name} is used before it is made`);
        assert.doesNotMatch(making, call, `${file}: ${name} is a part of itself`);
      }
    assert.ok(parts >= 30, `${parts} parts were found`);
  });

  it('no part is handed in as not made yet', () => {
    for (const [file, source] of sources) {
      assert.doesNotMatch(source, /^ +let \w+: [A-Z]\w* \| undefined;$/m, file);
      assert.doesNotMatch(source, /: \(\) => [^;=]*\| undefined;[^\n]*\n[^\n]*not made/, file);
      for (const [body] of source.matchAll(/^ {2}(private )?constructor\([\s\S]*?^ {2}\}$/gm))
        assert.doesNotMatch(body, /=>[^\n]*\bthis\./, `${file}: a constructor hands itself in`);
    }
  });

  it('agent/compose.ts alone names concrete drivers; commands on files name what verifies signatures, and nothing else', () => {
    const drivers = [
      /\bimport \{[^}]*\b(SealedFileProcess|Pkcs11KeyStore|createLibp2pNetwork|TcpOverlay|NodeLogFiles)\b/,
      /\bimport \{[^}]*\b(chooseTunnelDriver|provisionSoftHsm|loadCryptoSuite)\b/,
      /\bimport \{[^}]*\} from '(level|node:dns\/promises)'/,
    ];
    for (const file of globSync('agent/**/*.ts', { cwd: root })) {
      const named = drivers.flatMap(
        (driver) => driver.exec(readFileSync(join(root, file), 'utf8')) ?? [],
      );
      if (file === 'agent/compose.ts') assert.ok(named.length > 0);
      else if (file === 'agent/cli/verifier.ts') assert.match(named[0] ?? '', /loadCryptoSuite/);
      else assert.deepEqual(named, [], file);
    }
  });
});

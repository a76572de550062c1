/** The tests of the data-plane program itself, with the toolchain that builds it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { skip } from '../support/skip.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

function findGo(): string | undefined {
  const own = `${root}/.tools/go/go/bin/go`;
  if (existsSync(own)) return own;
  return spawnSync('go', ['version']).status === 0 ? 'go' : undefined;
}

function expectSuccess(go: string, args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(go, args, {
    cwd: `${root}/deploy/dataplane`,
    encoding: 'utf8',
    env: {
      ...process.env,
      GOFLAGS: '-mod=readonly',
      GOWORK: 'off',
      GOTOOLCHAIN: 'local',
      CGO_ENABLED: '0',
    },
  });
  assert.equal(status, 0, `${stdout}${stderr}`);
}

describe('data-plane program', () => {
  it('passes its own tests', function () {
    this.timeout(300_000);
    const go = findGo();
    if (go === undefined) skip(this, 'there is no Go toolchain here');
    expectSuccess(go ?? '', ['vet', './...']);
    expectSuccess(go ?? '', ['test', '-count=1', './...']);
  });
});

/** What doctor says where no agent answers. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { configureAtRest, initAtRest } from '../support/machines/at-rest.ts';
import { cli } from '../support/machines/cli.ts';

describe('doctor without an agent', function () {
  this.timeout(60_000);
  let dir = '';

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-doctor-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  async function says(config: string): Promise<readonly string[]> {
    const { code, stdout } = await cli('doctor', '--json', '--config', config);
    assert.equal(code, 5);
    const { schema, checks } = JSON.parse(stdout);
    assert.equal(schema, 'kelmesh.doctor/1');
    for (const check of checks) {
      assert.deepEqual(Object.keys(check).sort(), ['code', 'cure', 'peers', 'severity', 'text']);
      assert.notEqual(check.cure, '');
    }
    return checks.map(({ code: of, severity }: Record<string, string>) => `${of} ${severity}`);
  }

  it('says that there is no identity, then that no agent runs, and what is wrong with a configuration', async () => {
    const config = configureAtRest(dir);
    assert.deepEqual(await says(config), ['identity-missing error']);
    await initAtRest(dir);
    assert.deepEqual(await says(config), ['agent-not-running error']);
    await writeFile(config, 'name = 5\n');
    assert.deepEqual(await says(config), ['config error']);
    const { code, stdout } = await cli('doctor', '--config', config);
    assert.equal(code, 5);
    assert.match(stdout, /^error {3}config: CONFIG_/);
  });
});

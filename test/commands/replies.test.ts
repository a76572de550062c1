/** Commands on replies, on an organisation at rest. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { exitCodes } from '#agent/cli/io';
import { buildQuery } from '#kel/query/query';
import { Organisation, witnessKey } from '../support/kit/key-log.ts';
import { at, replyBy, replyOfKey } from '../support/kit/replies.ts';
import { initAtRest } from '../support/machines/at-rest.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';

describe('kelmesh on replies', () => {
  let dir: string;
  let common: readonly string[];

  before(async function () {
    this.timeout(30_000);
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-replies-'));
    common = ['--config', await initAtRest(dir)];
  });

  after(() => rm(dir, { recursive: true, force: true }));

  it('imports them with the log behind them, and shows them', async () => {
    const org = new Organisation('foreign');
    org.incept();
    const endpoint = witnessKey('endpoint');
    const role = replyBy(org, {
      type: 'end-role',
      cid: org.aid,
      role: 'watcher',
      eid: endpoint.aid,
      isAllowed: true,
    });
    const url = 'http://192.0.2.1:5642/';
    const place = { type: 'location', eid: endpoint.aid, scheme: 'http', url } as const;
    const query = buildQuery('JSON', at(0), { route: 'ksn', aid: org.aid, source: org.aid });
    const thief = { ...witnessKey('thief'), key: endpoint.key };
    const forged = replyOfKey(thief, place, { dateTime: at(1) });
    const file = join(dir, 'replies.cesr');
    writeFileSync(file, Buffer.concat([role, query, org.stream, replyOfKey(endpoint, place)]));
    const result = await cliJson('id', 'import', file, ...common);
    assert.deepEqual(
      result.outcomes.map(({ verdict, aid, offset }: Record<string, unknown>) => [
        verdict,
        aid,
        offset,
      ]),
      [
        ['accepted', org.aid, 0],
        ['accepted', org.aid, role.length + query.length],
        ['accepted', endpoint.aid, role.length + query.length + org.stream.length],
      ],
    );
    writeFileSync(file, Buffer.concat([role, forged]));
    const { code, stdout: text } = await cli('id', 'import', file, ...common, '--json');
    assert.equal(code, exitCodes.failed);
    const again = JSON.parse(text);
    assert.deepEqual(
      again.outcomes.map(({ verdict, code }: Record<string, unknown>) => [verdict, code]),
      [
        ['duplicate', null],
        ['refused', 'KEL_BAD_SIGNATURE'],
      ],
    );
    const replies = await cliJson('id', 'replies', org.aid, ...common);
    assert.deepEqual(replies.roles, [{ role: 'watcher', eid: endpoint.aid, locations: [url] }]);
    const { stdout } = await cli('id', 'replies', org.aid, ...common);
    assert.match(stdout, new RegExp(`watcher +${endpoint.aid} ${url}`));
  });

  it('asks through the running agent only, for one thing at a time', async () => {
    const { aid } = new Organisation('x').incept();
    assert.equal((await cliError('id', 'query', aid, ...common)).code, 'CONTROL_NOT_RUNNING');
    for (const options of [
      ['--from', '1', '--ksn'],
      ['--from', 'one'],
    ]) {
      const { code } = await cli('id', 'query', aid, ...options, ...common);
      assert.equal(code, exitCodes.usage);
    }
  });
});

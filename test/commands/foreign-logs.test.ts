/** Commands on foreign logs, on an organisation at rest: what an operator sees, and what a script reads. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { verifyEvidence } from '#kel/duplicity/evidence-file';
import { interactionFork, seal } from '../support/kit/forks.ts';
import { Organisation, verifySignature, witnessKey } from '../support/kit/key-log.ts';
import { initAtRest } from '../support/machines/at-rest.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';

describe('kelmesh on foreign logs', () => {
  let dir: string;
  let common: readonly string[];
  const place = (name: string, bytes: Uint8Array): string => {
    const file = join(dir, name);
    writeFileSync(file, bytes);
    return file;
  };

  before(async function () {
    this.timeout(30_000);
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-logs-'));
    common = ['--config', await initAtRest(dir)];
  });

  after(() => rm(dir, { recursive: true, force: true }));

  it('imports a log, watches it, and says what became of each event', async () => {
    const org = new Organisation('foreign');
    org.incept();
    org.anchor();
    const file = place('foreign.cesr', org.stream);
    const result = await cliJson('id', 'import', file, ...common);
    assert.equal(result.schema, 'kelmesh.id-import/1');
    assert.deepEqual(result.aids, [{ aid: org.aid, sn: 1, said: org.state.said, watched: true }]);
    assert.deepEqual(
      result.outcomes.map(({ verdict, sn, offset }: Record<string, unknown>) => [
        verdict,
        sn,
        offset,
      ]),
      [
        ['accepted', 0, 0],
        ['accepted', 1, org.steps[0]?.message.length],
      ],
    );
    const again = await cliJson('id', 'import', file, ...common);
    assert.deepEqual([again.accepted, again.duplicate, again.refused], [0, 2, 0]);
    const { watched } = await cliJson('watch', 'list', ...common);
    assert.deepEqual(
      watched.map(({ aid, source, sn }: Record<string, unknown>) => [aid, source, sn]),
      [[org.aid, { kind: 'import' }, 1]],
    );
    const out = join(dir, 'again.cesr');
    await cliJson('id', 'export', org.aid, '--out', out, ...common);
    assert.deepEqual(readFileSync(out), Buffer.from(org.stream));
    await cliJson('watch', 'remove', org.aid, ...common);
    assert.deepEqual((await cliJson('watch', 'list', ...common)).watched, []);
    assert.equal((await cliError('watch', 'remove', org.aid, ...common)).code, 'WATCH_UNKNOWN');
  });

  it('shows a recovery with what it superseded, and replays it in first-seen order', async () => {
    const org = new Organisation('recovered');
    org.incept();
    const other = org.fork(1);
    const lost = org.anchor([seal('D')]);
    const rotation = other.rotate();
    const file = place('recovered.cesr', Buffer.concat([org.stream, rotation.message]));
    await cliJson('id', 'import', file, ...common);
    const { events } = await cliJson('id', 'log', org.aid, ...common);
    assert.deepEqual(
      events.map(({ ordinal, sn, type, said, superseded }: Record<string, unknown>) => [
        ordinal,
        sn,
        type,
        said,
        superseded,
      ]),
      [
        [0, 0, 'icp', org.aid, false],
        [1, 1, 'ixn', lost.said, true],
        [2, 1, 'rot', rotation.said, false],
      ],
    );
    assert.match((await cli('id', 'log', org.aid, ...common)).stdout, /superseded by a recovery/);
    const replay = join(dir, 'replay.cesr');
    await cliJson('id', 'export', org.aid, '--first-seen', '--out', replay, ...common);
    const verified = await cliJson('id', 'verify', replay);
    assert.deepEqual([verified.aids[0].sn, verified.aids[0].said], [1, rotation.said]);
    assert.match(readFileSync(replay, 'latin1'), /-EAB0A.*-EAB0A.*-EAB0A/s);
  });

  it('says of an event that waits what for, from whom, and until when', async () => {
    const witnesses = ['wa', 'wb'].map(witnessKey);
    const org = new Organisation('waiting');
    const event = org.incept({ witnesses: witnesses.map(({ aid }) => aid), witnessThreshold: 2 });
    const file = place('waiting.cesr', event.message);
    assert.equal((await cli('id', 'import', file, ...common)).code, 1);
    const { escrow } = await cliJson('id', 'escrow', ...common);
    assert.equal(escrow.length, 1);
    const [entry] = escrow;
    assert.deepEqual(
      [entry.aid, entry.sn, entry.said, entry.code, entry.from],
      [event.aid, 0, event.said, 'KEL_AWAITS_WITNESSES', witnesses.map(({ aid }) => aid)],
    );
    assert.match(entry.waitsFor, /^2 more receipts/);
    assert.equal(Date.parse(entry.expires) - Date.parse(entry.since), 3_600_000);
    assert.match((await cli('id', 'escrow', ...common)).stdout, /released by +receipts of these/);
  });

  it('keeps evidence of a fork, exports it, verifies it offline, and resolves it', async () => {
    const { org, file, first, second } = interactionFork('forked here');
    const imported = await cli('id', 'import', place('fork.cesr', file), '--json', ...common);
    assert.equal(imported.code, 1);
    assert.equal(JSON.parse(imported.stdout).outcomes.at(-1).code, 'KEL_DUPLICITOUS');
    const { evidence } = await cliJson('id', 'evidence', 'list', ...common);
    assert.deepEqual(
      evidence.map(({ aid, sn, saids, suspends }: Record<string, unknown>) => [
        aid,
        sn,
        saids,
        suspends,
      ]),
      [[org.aid, 3, [first.said, second.said], true]],
    );
    const out = join(dir, 'evidence.cesr');
    await cliJson('id', 'evidence', 'export', org.aid, '--out', out, ...common);
    assert.deepEqual(readFileSync(out), Buffer.from(file));
    assert.equal(verifyEvidence(readFileSync(out), verifySignature).verdict, 'duplicity');
    assert.deepEqual(await cliJson('id', 'evidence', 'verify', out), {
      schema: 'kelmesh.id-evidence-verify/1',
      verdict: 'duplicity',
      aid: org.aid,
      sn: 3,
      saids: [first.said, second.said],
      problems: [],
    });
    assert.match((await cli('id', 'evidence', 'verify', out)).stdout, /^duplicity: E/);

    const missing = await cli('id', 'evidence', 'resolve', org.aid, ...common);
    assert.equal(missing.code, 2);
    const resolved = await cliJson(
      ...['id', 'evidence', 'resolve', org.aid, '--reason', 'they explained', ...common],
    );
    assert.deepEqual([resolved.aid, resolved.suspended], [org.aid, false]);
    const listed = await cliJson('id', 'evidence', 'list', ...common);
    assert.equal(listed.evidence[0].resolved.reason, 'they explained');
    const twice = ['id', 'evidence', 'resolve', org.aid, '--reason', 'x', ...common];
    assert.equal((await cliError(...twice)).code, 'DUPLICITY_NONE');
  });

  it('finds no proof in a log, in a changed file, in noise', async () => {
    const { file, prefix } = interactionFork();
    const changed = Buffer.from(file);
    changed[changed.length - 30] = (changed[changed.length - 30] as number) ^ 1;
    const files = {
      log: Buffer.concat(prefix.map((step) => step.message)),
      changed,
      noise: Buffer.from('this is no CESR'),
      empty: Buffer.alloc(0),
    };
    for (const [name, bytes] of Object.entries(files)) {
      const { code, stdout } = await cli('id', 'evidence', 'verify', place(name, bytes), '--json');
      const report = JSON.parse(stdout);
      assert.deepEqual([code, report.verdict], [1, 'none'], name);
      assert.ok(report.problems.length > 0, name);
    }
    assert.equal((await cliError('id', 'evidence', 'verify', dir)).code, 'FILE_NOT_REGULAR');
  });

  it('watches a file, takes only what concerns the AID, and refuses what it is not', async () => {
    const [wanted, other] = ['wanted', 'other'].map((name) => new Organisation(name));
    wanted?.incept();
    other?.incept();
    const both = Buffer.concat([wanted?.stream ?? [], other?.stream ?? []] as Uint8Array[]);
    const file = place('both.cesr', both);
    const aid = wanted?.aid as string;
    const { watched } = await cliJson('watch', 'add', aid, '--file', file, ...common);
    const entry = watched.find((one: { aid: string }) => one.aid === aid);
    assert.deepEqual([entry.source, entry.sn], [{ kind: 'file', path: file }, 0]);
    const held = await cliError('id', 'export', other?.aid as string, ...common);
    assert.equal(held.code, 'CONTROL_BAD_REQUEST');

    const third = new Organisation('third');
    third.incept();
    const rows: readonly (readonly [string, readonly string[]])[] = [
      ['WATCH_BAD_SOURCE', [third.aid, '--file', file]],
      ['WATCH_NOT_CESR', [third.aid, '--file', place('html', Buffer.from('<html></html>'))]],
      ['WATCH_UNREADABLE', [third.aid, '--file', dir]],
      ['WATCH_BAD_SOURCE', ['nobody', '--url', 'https://example.org/log']],
    ];
    for (const [code, args] of rows)
      assert.equal((await cliError('watch', 'add', ...args, ...common)).code, code, args.join(' '));
    assert.equal((await cli('watch', 'add', third.aid, ...common)).code, 2);
    const list = (await cliJson('watch', 'list', ...common)).watched;
    assert.ok(!list.some((one: { aid: string }) => one.aid === third.aid));
  });
});

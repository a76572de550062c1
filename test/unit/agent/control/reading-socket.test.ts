/** The socket for a group that reads: who reaches it, and what it can be asked. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { askAgent } from '#agent/control/client';
import { groupId } from '#agent/control/group';
import { type Handler, serveReading } from '#agent/control/server';
import { readingVerbs, verbTable } from '#agent/control/verb-table';
import { skip } from '../../../support/skip.ts';

const [USER, GROUP, OTHER] = [12_345, 23_456, 34_567];
const echo: Handler = async ({ verb }) => verb;
const ignore = () => undefined;

/** What a process of that user and group gets at the socket: the answer, or the code of the system. */
function askAs(uid: number, gid: number, path: string, verb: string): Promise<string> {
  const program = `
    const socket = require('node:net').connect(${JSON.stringify(path)});
    socket.on('error', (error) => console.log(error.code));
    socket.pipe(process.stdout);
    socket.write(JSON.stringify({ verb: ${JSON.stringify(verb)}, args: {} }) + '\\n');`;
  return new Promise((resolve, reject) => {
    const options = { uid, gid, cwd: '/', env: {} };
    execFile(process.execPath, ['-e', program], options, (error, stdout) =>
      error === null ? resolve(stdout.trim()) : reject(error),
    );
  });
}

describe('the socket for reading', () => {
  let dir: string;
  let path: string;
  const open: AsyncDisposable[] = [];
  const serve = async (handler = echo, group: number = GROUP) => {
    open.push(await serveReading(path, group, handler));
  };

  beforeEach(function () {
    if (process.geteuid?.() !== 0) skip(this, 'only root can act for other users');
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-reading-'));
    chmodSync(dir, 0o711);
    path = join(dir, 'run', 'status.sock');
  });
  afterEach(async () => {
    for (const server of open.splice(0)) await server[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  it('is for the group and its owner, and for nobody else', async () => {
    const umask = process.umask(0o077);
    try {
      await serve();
    } finally {
      process.umask(umask);
    }
    const { mode, uid, gid } = statSync(path);
    assert.deepEqual([mode & 0o777, uid, gid], [0o660, 0, GROUP]);
    assert.equal(await askAs(USER, GROUP, path, 'status'), '{"result":"status"}');
    assert.equal(await askAs(USER, OTHER, path, 'status'), 'EACCES');
    assert.equal(await askAgent(path, { verb: 'status', args: {} }, ignore), 'status');
  });

  it('answers every verb that reads, and refuses every other, before it is looked at', async () => {
    const asked: string[] = [];
    await serve(async ({ verb }) => {
      asked.push(verb);
      return verb;
    });
    const all = [...Object.keys(verbTable), '__proto__', ''];
    for (const verb of all) {
      const answer = askAgent(path, { verb, args: {} }, ignore);
      if (readingVerbs.has(verb)) assert.equal(await answer, verb);
      else await assert.rejects(answer, { code: 'CONTROL_READS_ONLY' }, verb);
    }
    assert.deepEqual(asked.toSorted(), [...readingVerbs].toSorted());
  });

  it('no verb that changes something counts as reading, by the words in its name', () => {
    const changes =
      /^(down|.*\.(rotate|create|join|admit|remove|add|cut|allow|deny|approve|accept|request|import|backup|resolve|submit|invite|query|psk|tunnel|id|all|ca|node|epoch|organisation|leave|rename))$/;
    assert.deepEqual(
      [...readingVerbs].filter((verb) => changes.test(verb)),
      [],
    );
    assert.ok(Object.keys(verbTable).filter((verb) => changes.test(verb)).length >= 20);
  });

  it('stands in no directory in which others could put another in its place', async () => {
    mkdirSync(join(dir, 'run'));
    chmodSync(join(dir, 'run'), 0o777);
    await assert.rejects(serve(), { code: 'FILE_OTHERS_CAN_WRITE' });
    chmodSync(join(dir, 'run'), 0o755);
    chownSync(join(dir, 'run'), USER, GROUP);
    await assert.rejects(serve(), { code: 'FILE_OTHERS_CAN_WRITE' });
  });

  it('finds a group by name or number, and says which is not there', () => {
    const database = join(dir, 'group');
    writeFileSync(database, 'root:x:0:\nkelmesh-readers:x:977:alice,bob\nbroken\nempty:x::\n');
    assert.equal(groupId('kelmesh-readers', database), 977);
    assert.equal(groupId('4711', database), 4711);
    for (const name of ['readers', 'broken', 'empty', 'x'])
      assert.throws(() => groupId(name, database), { code: 'CONTROL_NO_GROUP' }, name);
  });
});

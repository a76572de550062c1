/** How a program that does not come up is reported, with small scripts in its place. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { TunnelProgram } from '#src/wireguard/program';
import { parseInterfaceName } from '#src/wireguard/values';
import { skip } from '../../../support/skip.ts';

const name = parseInterfaceName('km-never');

describe('userspace program', () => {
  let directory: string;

  before(async function () {
    if (!existsSync('/dev/net/tun')) skip(this, 'there is no /dev/net/tun here');
    directory = await mkdtemp(join(tmpdir(), 'kelmesh-program-'));
    await mkdir(join(directory, 'sockets'));
  });

  after(async () => {
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  });

  const programAt = (path: string): TunnelProgram =>
    new TunnelProgram({
      path,
      stateDir: join(directory, 'state'),
      socketDir: join(directory, 'sockets'),
    });

  async function script(label: string, ...lines: string[]): Promise<string> {
    const path = join(directory, label);
    await writeFile(path, ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o700 });
    return path;
  }

  it('is missing', async () => {
    const program = programAt(join(directory, 'nowhere'));
    await assert.rejects(program.start(name), { code: 'WIREGUARD_NO_PROGRAM' });
  });

  it('dies for a reason that its log tells', async () => {
    const reasons: [string, string][] = [
      [
        'ERROR: (km) Failed to create TUN device: operation not permitted',
        'WIREGUARD_NO_PRIVILEGE',
      ],
      ['ERROR: (km) Failed to create TUN device: device or resource busy', 'WIREGUARD_NAME_TAKEN'],
      ['ERROR: (km) UAPI listen error: unix socket in use', 'WIREGUARD_NAME_TAKEN'],
      ['ERROR: (km) Failed: /dev/net/tun does not exist', 'WIREGUARD_NO_TUN'],
      ['ERROR: (km) something else', 'WIREGUARD_PROGRAM_DIED'],
    ];
    for (const [line, code] of reasons) {
      const program = programAt(await script('dies', `echo '${line}'`, 'exit 1'));
      await assert.rejects(program.start(name), { code });
    }
    assert.deepEqual(await readdir(join(directory, 'state')), [`${name}.log`]);
    await programAt(join(directory, 'dies')).stop(name);
    assert.deepEqual(await readdir(join(directory, 'state')), []);
  });

  it('finds the socket of the name answered by another', async () => {
    const program = programAt(await script('fine', 'sleep 60'));
    const server = createServer().listen(program.socketPath(name));
    await once(server, 'listening');
    try {
      await assert.rejects(program.start(name), { code: 'WIREGUARD_NAME_TAKEN' });
    } finally {
      server.close();
    }
  });

  it('is not a process that only has the number in the pid file', async () => {
    const program = programAt('/usr/bin/wireguard-go');
    await mkdir(join(directory, 'state'), { recursive: true });
    for (const text of [`${process.pid}\n`, '1\n', '0\n', '-1\n', 'x\n', '']) {
      await writeFile(join(directory, 'state', `${name}.pid`), text);
      assert.equal(await program.find(name), undefined);
    }
    assert.deepEqual(await program.list(), []);
    await program.stop(name);
  });

  it('has a log of bounded size', async () => {
    const program = programAt('/usr/bin/wireguard-go');
    const log = join(directory, 'state', `${name}.log`);
    await program.boundLog(name);
    await writeFile(log, 'x'.repeat(1000));
    await program.boundLog(name);
    assert.equal((await stat(log)).size, 1000);
    await writeFile(log, 'x'.repeat(2 ** 21));
    await program.boundLog(name);
    assert.equal((await stat(log)).size, 0);
  });
});

import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { CommandResult, RunCommand } from '#src/wireguard/command';
import { runCommand } from '#src/wireguard/command';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import { kernelHasWireGuard } from '#src/wireguard/kernel-driver';

const said = (status: number, stdout: string, stderr = ''): CommandResult => ({
  status,
  stdout,
  stderr,
});

/** A system in which each program says one thing, and all calls are noted. */
function system(answers: Record<string, CommandResult>): { run: RunCommand; calls: string[] } {
  const calls: string[] = [];
  const run: RunCommand = async (file, args) => {
    const call = [file, ...args].join(' ').replace(/kmtest\d+/, 'NAME');
    calls.push(call);
    const found = Object.entries(answers).find(([start]) => call.startsWith(start));
    return found ? found[1] : said(0, '');
  };
  return { run, calls };
}

const unknown = { 'ip link add': said(2, '', 'Error: Unknown device type.') };

describe('choice of a tunnel driver', () => {
  let directory: string;

  const path = process.env['PATH'];

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kelmesh-detect-'));
    // Where the tests run under set-up, the programs that it built are found by name.
    process.env['PATH'] = '/usr/bin:/bin';
    await mkdir(join(directory, 'bin'));
    await writeFile(join(directory, 'bin', 'wireguard-go'), '#!/bin/sh\n');
  });

  after(async () => {
    process.env['PATH'] = path;
    await rm(directory, { recursive: true, force: true });
  });

  const choose = (preference: 'auto' | 'kernel' | 'userspace', run: RunCommand, program?: string) =>
    chooseTunnelDriver({
      preference,
      stateDir: directory,
      toolsDir: directory,
      run,
      ...(program === undefined ? {} : { program }),
    });

  it('takes the kernel where it makes a device, and leaves none behind', async () => {
    const { run, calls } = system({});
    assert.equal(await kernelHasWireGuard(run), true);
    assert.deepEqual(calls.slice(0, 2), [
      'ip link add dev NAME type wireguard',
      'ip link del dev NAME',
    ]);
    assert.match((await choose('auto', run)).description, /^kernel \d/);
  });

  it('does without the kernel when the module or wg is missing', async () => {
    assert.equal(await kernelHasWireGuard(system(unknown).run), false);
    assert.equal(await kernelHasWireGuard(system({ wg: said(127, '') }).run), false);
    await assert.rejects(choose('kernel', system(unknown).run), {
      code: 'WIREGUARD_NO_KERNEL_MODULE',
    });
  });

  it('prefers the program that the set-up built, and names it with its version', async () => {
    await chmod(join(directory, 'bin', 'wireguard-go'), 0o700);
    const path = join(directory, 'bin', 'wireguard-go');
    const { run } = system({
      ...unknown,
      [path]: said(0, 'wireguard-go v0.0.20250522\n\nUserspace\n'),
    });
    for (const preference of ['auto', 'userspace'] as const)
      assert.equal(
        (await choose(preference, run)).description,
        `wireguard-go v0.0.20250522 (${path}), without events and relay`,
      );
  });

  it("prefers the project's own program to the stock one, wherever that is", async () => {
    const path = join(directory, 'bin', 'kelmesh-dataplane');
    await writeFile(path, '', { mode: 0o700 });
    const { run } = system({
      ...unknown,
      [path]: said(0, 'kelmesh-dataplane v0.0.0-20260522210424-ecfc5a8d5446\n\nText\n'),
    });
    assert.equal(
      (await choose('userspace', run)).description,
      `kelmesh-dataplane v0.0.0-20260522210424-ecfc5a8d5446 (${path})`,
    );
  });

  it('refuses a program that is neither', async () => {
    const { run } = system({ '/opt/boringtun-cli': said(0, 'boringtun 0.7.1\n') });
    await assert.rejects(choose('userspace', run, '/opt/boringtun-cli'), {
      code: 'WIREGUARD_UNSUITABLE_PROGRAM',
    });
  });

  it('says so when the program that is configured does not exist', async () => {
    await assert.rejects(choose('userspace', runCommand, join(directory, 'nowhere')), {
      code: 'WIREGUARD_NO_PROGRAM',
    });
  });
});

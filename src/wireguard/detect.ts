/** Which driver a machine can run: the kernel's where there is one, else the fastest userspace program. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunCommand, runCommand, searchPath } from './command.ts';
import { WireGuardError } from './errors.ts';
import { createKernelDriver, kernelHasWireGuard } from './kernel-driver.ts';
import { USERSPACE_PROGRAMS } from './program.ts';
import type { TunnelDriver } from './tunnel-driver.ts';
import { createUserspaceDriver } from './userspace-driver.ts';

export interface TunnelDriverChoice {
  readonly preference: 'auto' | 'kernel' | 'userspace';
  /** Path of the userspace program; absent: the one in `toolsDir`, then the one on `PATH`. */
  readonly program?: string;
  /** Pid files and logs of userspace programs. */
  readonly stateDir: string;
  /** Where the set-up puts programs that it builds: `toolsDir/bin/wireguard-go`. */
  readonly toolsDir: string;
  readonly socketDir?: string;
  /** A name of `ip netns`; absent: the network namespace of this process. */
  readonly namespace?: string;
  readonly now?: () => number;
  /** See `DeviceDriver`; default 0. */
  readonly linkTrustMs?: number;
  readonly run?: RunCommand;
}

/** @throws WIREGUARD_NO_KERNEL_MODULE, WIREGUARD_NO_PROGRAM, WIREGUARD_UNSUITABLE_PROGRAM */
export async function chooseTunnelDriver(choice: TunnelDriverChoice): Promise<TunnelDriver> {
  const { preference, run = runCommand } = choice;
  if (preference !== 'userspace') {
    if (await kernelHasWireGuard(run)) return createKernelDriver(choice);
    if (preference === 'kernel')
      throw new WireGuardError(
        'WIREGUARD_NO_KERNEL_MODULE',
        'expected device type wireguard and the program wg, got at least one missing',
      );
  }
  const program = choice.program ?? (await findProgram(choice.toolsDir));
  const version = await programVersion(program, run);
  return createUserspaceDriver({ ...choice, program, version });
}

/** The project's own program, also where the kernel carries the tunnels: it relays. @returns undefined where there is none */
export async function findOwnProgram(toolsDir: string): Promise<string | undefined> {
  const [name] = USERSPACE_PROGRAMS;
  return findAmong([name], toolsDir);
}

/** What the set-up built is newer than a distribution's wireguard-go, and more than twice as fast. */
async function findProgram(toolsDir: string): Promise<string> {
  const found = await findAmong(USERSPACE_PROGRAMS, toolsDir);
  if (found !== undefined) return found;
  throw new WireGuardError(
    'WIREGUARD_NO_PROGRAM',
    `expected ${USERSPACE_PROGRAMS.join(' or ')} in ${placesOf(toolsDir).join(', ')}, got none`,
  );
}

async function findAmong(names: readonly string[], toolsDir: string): Promise<string | undefined> {
  for (const name of names)
    for (const directory of placesOf(toolsDir)) {
      const path = join(directory, name);
      const isThere = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (isThere) return path;
    }
  return undefined;
}

function placesOf(toolsDir: string): readonly string[] {
  return [join(toolsDir, 'bin'), ...searchPath().split(':')];
}

/** The first line is `wireguard-go v0.0.20250522`, or `kelmesh-dataplane` with the version of the library that it is made of. */
async function programVersion(program: string, run: RunCommand): Promise<string> {
  const { stdout } = await run(program, ['--version']);
  const version = /^(?:wireguard-go|kelmesh-dataplane) v?[0-9][0-9A-Za-z.-]{0,63}\b/.exec(
    stdout,
  )?.[0];
  if (version !== undefined) return version;
  const said = (stdout.split('\n')[0] ?? '').slice(0, 80);
  throw new WireGuardError(
    'WIREGUARD_UNSUITABLE_PROGRAM',
    `${program}: expected it to say wireguard-go and its version, got "${said}"`,
  );
}

/**
 * The program of an earlier release, from the history of this repository: its files in a folder of their own, with the packages and
 * tools of this clone, which still carry everything that it imports.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

/** 0.1.0 */
const RELEASED = '4f654a2fa13898c27b3e3584923199a459d7166d';

/** The largest archive that is read, in bytes. */
const MAX_ARCHIVE = 256 << 20;

/** Why the release cannot be had here; undefined when it can. */
export function releaseUnavailable(): string | undefined {
  const { status } = git('cat-file', '-e', `${RELEASED}^{commit}`);
  if (status === 0) return undefined;
  return `the history has no commit ${RELEASED.slice(0, 12)} (release 0.1.0): a clone with its whole history has it`;
}

export interface Release extends Disposable {
  /** Its `agent/main.ts`, which the Node of this process runs. */
  readonly main: string;
}

export function takeOutRelease(): Release {
  const dir = mkdtempSync(join(tmpdir(), 'kelmesh-released-'));
  const release = {
    main: join(dir, 'agent/main.ts'),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
  try {
    const { status, stdout, stderr } = git('archive', '--format=tar', RELEASED);
    if (status !== 0) throw new Error(`git archive: ${stderr}`);
    execFileSync('tar', ['-x', '-C', dir], { input: stdout });
    for (const name of ['node_modules', '.tools'])
      symlinkSync(join(REPOSITORY, name), join(dir, name));
    return release;
  } catch (error) {
    release[Symbol.dispose]();
    throw error;
  }
}

function git(...args: readonly string[]) {
  return spawnSync('git', ['-C', REPOSITORY, ...args], { maxBuffer: MAX_ARCHIVE });
}

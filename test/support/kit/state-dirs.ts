/** State directories of an earlier version, without a program: files that are told apart by what is in them. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { StateMark } from '#agent/organisation/state/mark';
import { type StateSteps, stateSteps } from '#agent/organisation/state/steps';
import type { TakeOverDeps } from '#agent/organisation/state/take-over';
import type { Database } from '#src/store/durable-table';
import { SimulatedClock } from '../simulation/simulated-clock.ts';

export const MARK: StateMark = {
  head: { aid: `E${'a'.repeat(43)}`, sn: 3, said: `E${'b'.repeat(43)}` } as StateMark['head'],
  pending: null,
  receipted: [],
};

const FILES = [
  'audit/tail',
  'audit/tile/0/000',
  'audit/tile/entries/000',
  'keys.sealed',
  'store/000005.ldb',
  'store/000006.log',
  'store/CURRENT',
  'store/MANIFEST-000004',
];

/** @param version told apart by it */
export function writeState(stateDir: string, version: string): void {
  for (const path of FILES) {
    mkdirSync(dirname(join(stateDir, path)), { recursive: true });
    writeFileSync(join(stateDir, path), `${version} ${path}`);
  }
  // Belongs to no part, or to a process.
  writeFileSync(join(stateDir, 'secret'), 'secret');
  writeFileSync(join(stateDir, 'store/LOCK'), '');
}

/** Which version each file of the state is of, for those that any program reads. */
export function versionsIn(stateDir: string, within = ''): readonly string[] {
  return FILES.map((path) => {
    const full = join(stateDir, within, path);
    const found = statSync(full, { throwIfNoEntry: false });
    return found === undefined ? 'none' : (readFileSync(full, 'utf8').split(' ')[0] ?? '');
  });
}

/** Every file and folder below, for what must not stay. */
export function namesIn(stateDir: string): readonly string[] {
  return readdirSync(stateDir).sort();
}

export function takeOverDeps(
  stateDir: string,
  more: Partial<TakeOverDeps> & { readonly mark?: () => StateMark } = {},
): TakeOverDeps {
  const room = { path: stateDir, freeBytes: 2 ** 40, totalBytes: 2 ** 40, freeFiles: undefined };
  return {
    stateDir,
    steps: stateSteps,
    disk: () => room,
    tell: () => undefined,
    clock: new SimulatedClock(),
    openDatabase: async () => ({ close: async () => undefined }) as unknown as Database,
    markOf: async () => more.mark?.() ?? MARK,
    ...more,
  };
}

export class Crash extends Error {}

/** The process ends at the `at`-th step: before it, after it, or in the middle of what is no single step. */
export function crashingSteps(at: number, how: 'before' | 'after' | 'within') {
  const counted = { count: 0, crashed: undefined as string | undefined };
  const dies = <A extends readonly unknown[]>(
    name: string,
    step: (...args: A) => Promise<void>,
    half?: (...args: A) => Promise<void>,
  ) => {
    return async (...args: A) => {
      if (counted.crashed !== undefined) throw new Crash('nothing runs any more');
      const isNow = counted.count++ === at;
      if (isNow) counted.crashed = `${how} ${name} ${String(args.at(-1))}`;
      if (isNow && how === 'within') await half?.(...args);
      if (!isNow || how === 'after') await step(...args);
      if (isNow) throw new Crash(counted.crashed);
    };
  };
  const s = stateSteps;
  const steps: StateSteps = {
    makeDirectory: dies('makeDirectory', s.makeDirectory),
    link: dies('link', s.link),
    copy: dies('copy', s.copy, async (_, to) => writeFileSync(to, 'ha')),
    write: dies('write', s.write, async (path) => writeFileSync(`${path}.tmp`, 'ha')),
    rename: dies('rename', s.rename),
    remove: dies('remove', s.remove, async (path) => {
      const inside = statSync(path, { throwIfNoEntry: false })?.isDirectory() && readdirSync(path);
      for (const name of (inside || []).slice(0, 1)) await s.remove(join(path, name));
    }),
    syncDirectory: dies('syncDirectory', s.syncDirectory),
  };
  return { steps, counted };
}

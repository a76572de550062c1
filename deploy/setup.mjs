// Installs what is missing on this machine, then runs one of the project's programs on the project's Node.
//   node deploy/setup.mjs demo|test|test:unit|test:slow|test:rosenpass|test:releases|bench|install -- ARGUMENTS
// Plain JavaScript without dependencies: it runs before anything is installed, on Node 18 or later.
import { existsSync, readdirSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { runInForeground } from './child.mjs';
import { ensureGoPrograms } from './setup/go-programs.mjs';
import { ensureNodeModules } from './setup/node-modules.mjs';
import { ownNode, programEnv, root } from './setup/paths.mjs';
import { say, sayMissing } from './setup/report.mjs';
import { ensureRosenpassPrograms } from './setup/rosenpass-programs.mjs';
import { ensureSystemPackages } from './setup/system-packages.mjs';
import { plan, runInWorkers } from './setup/tests.mjs';
import { checkTunDevice } from './setup/tun-device.mjs';

const programs = {
  demo: (args) => run(['--disable-sigusr1', 'demo/main.ts', ...args]),
  test: (args) => test(args),
  'test:unit': (args) => test(args, 'test/unit'),
  'test:slow': (args) => test(args, 'test', { KELMESH_SLOW: '1' }),
  'test:rosenpass': testRosenpass,
  // Beside release 0.1, with what costs minutes.
  'test:releases': (args) =>
    test([...args, 'test/e2e/both-releases.test.ts'], 'test', { KELMESH_SLOW: '1' }),
  bench: runBenchmarks,
  install: async () => 0,
};

async function main([verb, ...rest]) {
  const args = rest[0] === '--' ? rest.slice(1) : rest;
  const program = programs[verb];
  if (program === undefined) {
    say(`expected one of ${Object.keys(programs).join(', ')}, got ${verb ?? 'nothing'}`);
    return 2;
  }
  if (process.platform !== 'linux')
    say(`this is ${process.platform}: tunnels need Linux; the rest may work`);
  const missing = await ensureEverything(verb);
  sayMissing(missing);
  if (missing.some((one) => one.fatal)) return 1;
  process.chdir(root);
  return program(args);
}

const withoutDataPlane = {
  what: "the project's data-plane program, which is built with Go 1.23 or later",
  without: "events of handshakes, relaying; the distribution's wireguard-go carries the tunnels",
  cure: 'install Go, or python3 with venv and pip (Debian, Ubuntu: sudo apt-get install python3-venv)',
};

/** @returns what could not be installed; the program that follows decides what it can do without */
async function ensureEverything(verb) {
  const modules = await ensureNodeModules();
  const pinned = await ensureGoPrograms();
  const system = await ensureSystemPackages({
    wireguardGo: !pinned,
    tests: verb.startsWith('test'),
  });
  return [...modules, ...(pinned ? [] : [withoutDataPlane]), ...system, ...checkTunDevice()];
}

/**
 * All below a folder, in worker processes; with arguments, mocha in one process, on the files that they name
 * (`npm test -- test/unit/secret.test.ts`, or a pattern with `*`), or on all (`npm test -- --grep WORD`).
 */
function test(args, below = 'test', env = {}) {
  if (args.length === 0) return runInWorkers(plan(below), { env });
  const named = args.some((arg) => !arg.startsWith('-') && (arg.includes('*') || existsSync(arg)));
  const all = named ? [] : [`${below}/**/*.test.ts`];
  return run(['node_modules/mocha/bin/mocha.js', ...args, ...all], env);
}

/** Beside the other programs, through two rekeys: about six minutes, and a build before the first time. */
async function testRosenpass(args) {
  await ensureRosenpassPrograms();
  return test([...args, 'test/interop/rosenpass/rosenpass.test.ts'], 'test', { KELMESH_SLOW: '1' });
}

async function runBenchmarks(args) {
  const option = args.findIndex((arg) => arg.startsWith('-'));
  const [named, options] = option < 0 ? [args, []] : [args.slice(0, option), args.slice(option)];
  const all = readdirSync(join(root, 'bench'))
    .filter((name) => name.endsWith('.ts'))
    .sort();
  const files =
    named.length === 0
      ? all
      : named.map(
          (name) =>
            all.find(
              (file) =>
                name === file ||
                resolve(name) === join(root, 'bench', file) ||
                `${name}.ts` === file,
            ) ?? name,
        );
  const unknown = files.filter((file) => !all.includes(file));
  if (unknown.length > 0) {
    say(
      `no such benchmark: ${unknown.join(', ')}; there are ${all.map((file) => file.slice(0, -3)).join(', ')}`,
    );
    return 2;
  }
  let worst = 0;
  for (const file of files) {
    process.stdout.write(`== ${relative(root, join(root, 'bench', file))}\n`);
    worst = Math.max(worst, await run([`bench/${file}`, ...options]));
  }
  return worst;
}

function run(args, env = {}) {
  return runInForeground(ownNode, args, { ...programEnv, ...env });
}

process.exitCode = await main(process.argv.slice(2));

// The npm packages: installed when what is there differs from the lock file. npm compares each with the digest there
// and runs no script of any; what has to be built on this machine is listed here, and built afterwards.
import { existsSync, lstatSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { asOwner, makeFolder } from './owner.mjs';
import {
  findProgram,
  ownNode,
  root,
  runtime,
  runtimePackage,
  systemEnv,
  systemNode,
} from './paths.mjs';
import { runStep } from './report.mjs';

const lockFile = join(root, 'package-lock.json');
const installedLockFile = join(root, 'node_modules/.package-lock.json');
/** The only packages whose scripts or build files run, each with the file that shows that it was built. */
const built = { pkcs11js: join(root, 'node_modules/pkcs11js/build/Release/pkcs11.node') };
const compilerPrograms = ['g++', 'make', 'python3'];

/** @returns what is missing afterwards */
export async function ensureNodeModules() {
  if (!isInStep()) {
    const failure = await install();
    if (failure !== undefined) return [failure];
  }
  linkPrograms();
  const lacking = compilerPrograms.filter((name) => findProgram(name) === undefined);
  const unbuilt = Object.keys(built).filter(
    (name) => existsSync(join(root, 'node_modules', name)) && !existsSync(built[name]),
  );
  if (unbuilt.length > 0 && lacking.length === 0) await build(unbuilt);
  return existsSync(built.pkcs11js) ? [] : [missingPkcs11(lacking)];
}

/** True when every package of the lock file that this machine needs is installed from the bytes that it names. */
function isInStep() {
  if (!existsSync(ownNode)) return false;
  const wanted = readPackages(lockFile);
  const installed = readPackages(installedLockFile);
  if (installed[`node_modules/${runtimePackage}`] === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const found = installed[path];
    if (found === undefined) return entry.optional === true || entry.devOptional === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages ?? {};
  } catch {
    return {};
  }
}

async function install() {
  const npm = findNpm(systemNode());
  if (npm === undefined) {
    return {
      what: 'npm',
      without: 'nothing runs: the packages are not installed',
      cure: 'install Node.js 20 or later with npm from your distribution',
      fatal: true,
    };
  }
  const args = [
    'ci',
    '--ignore-scripts',
    '--include=dev',
    '--include=optional',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  // A registry that hiccups once is common; one that fails twice is down.
  for (let attempt = 1; ; attempt++) {
    const { ok, tail } = await runStep(
      'npm ci (about a minute the first time)',
      npm[0],
      [...npm.slice(1), ...args],
      { ...asOwner(systemEnv), cwd: root },
    );
    if (ok) return existsSync(ownNode) ? undefined : missingRuntime();
    if (attempt === 2) {
      return {
        what: `the npm packages; npm's last words:\n${tail}`,
        without: 'nothing runs',
        cure: `see that the npm registry can be reached and hands out what package-lock.json names, then run \`npm ci\` in ${root}`,
        fatal: true,
      };
    }
  }
}

/** npm leaves out an optional package that it cannot get, or whose digest is another one, and says nothing. */
function missingRuntime() {
  const isKnown = readPackages(lockFile)[`node_modules/${runtimePackage}`] !== undefined;
  return {
    what: `the Node runtime, package ${runtimePackage}`,
    without: 'nothing runs',
    cure: isKnown
      ? `see that the npm registry has ${runtimePackage} with the digest in package-lock.json, then run \`npm ci\` in ${root}: another digest is refused`
      : `use a machine for which package-lock.json has a runtime (${process.platform} ${process.arch} is none)`,
    fatal: true,
  };
}

/** Headers come from the runtime package, whose digest was checked: otherwise node-gyp downloads them. */
async function build(names) {
  const npm = findNpm(systemNode());
  if (npm === undefined) return;
  const { env, ...who } = asOwner(systemEnv);
  await runStep(
    `building ${names.join(', ')}`,
    npm[0],
    [...npm.slice(1), 'rebuild', '--ignore-scripts=false', ...names],
    { ...who, env: { ...env, npm_config_nodedir: runtime }, cwd: root },
  );
}

/** `npx kelmesh` in the clone, and the path of the runtime that systemd units of 0.1 name. */
function linkPrograms() {
  link(join(root, 'deploy/kelmesh.mjs'), join(root, 'node_modules/.bin/kelmesh'));
  link(ownNode, join(root, 'node_modules/node/bin/node'));
}

function link(target, path) {
  const wanted = relative(dirname(path), target);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSymbolicLink() && readlinkSync(path) === wanted) return;
  makeFolder(dirname(path));
  rmSync(path, { force: true });
  symlinkSync(wanted, path);
}

/** Command and first arguments that run npm on a Node outside node_modules. */
function findNpm(node) {
  const script = process.env['npm_execpath'];
  if (node !== undefined && script?.endsWith('npm-cli.js') && existsSync(script))
    return [node, script];
  const program = findProgram('npm');
  return program === undefined ? undefined : [program];
}

function missingPkcs11(lacking) {
  return {
    what: `pkcs11js, the bridge to PKCS#11 tokens${lacking.length > 0 ? ` (no ${lacking.join(', ')} to build it with)` : ''}`,
    without: 'keys in hardware tokens and SoftHSM; the sealed-file key store works',
    cure:
      lacking.length > 0
        ? 'apt-get install g++ make python3, then run this again'
        : 'npm rebuild --ignore-scripts=false --foreground-scripts pkcs11js shows why it did not build',
  };
}

// The npm packages: installed when what is there differs from the lock file.
import { existsSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findProgram, ownNode, root, systemEnv, systemNode } from './paths.mjs';
import { runStep } from './report.mjs';

const lockFile = join(root, 'package-lock.json');
const installedLockFile = join(root, 'node_modules/.package-lock.json');
// Says that pkcs11js was left out for want of a compiler: with one, the next run tries again.
const withoutCompilerMark = join(root, 'node_modules/.without-compiler');
const compilerPrograms = ['g++', 'make', 'python3'];

/** @returns what is missing afterwards */
export async function ensureNodeModules() {
  const lacking = compilerPrograms.filter((name) => findProgram(name) === undefined);
  const compilerIsNew = lacking.length === 0 && existsSync(withoutCompilerMark);
  if (!isInStep() || compilerIsNew) {
    const failure = await install();
    if (failure !== undefined) return [failure];
    if (lacking.length > 0) writeFileSync(withoutCompilerMark, '');
    else rmSync(withoutCompilerMark, { force: true });
  }
  return existsSync(join(root, 'node_modules/pkcs11js')) ? [] : [missingPkcs11(lacking)];
}

/** True when every package of the lock file that this machine needs is installed in that version. */
function isInStep() {
  if (!existsSync(ownNode)) return false;
  if (!existsSync(lockFile)) return true;
  const wanted = readPackages(lockFile);
  const installed = readPackages(installedLockFile);
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const found = installed[path];
    if (found === undefined) return entry.optional === true || entry.devOptional === true;
    return found.version === entry.version;
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
  const node = systemNode();
  const npm = findNpm(node);
  if (npm === undefined) {
    return {
      what: 'npm',
      without: 'nothing runs: the packages are not installed',
      cure: 'install Node.js 20 or later with npm from your distribution',
      fatal: true,
    };
  }
  const verb = existsSync(lockFile) ? 'ci' : 'install';
  const args = [
    verb,
    '--include=dev',
    '--include=optional',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  const env = { ...systemEnv, ...headersOf(node) };
  // A registry that hiccups once is common; one that fails twice is down.
  for (let attempt = 1; ; attempt++) {
    const { ok, tail } = await runStep(
      `npm ${verb} (about a minute the first time)`,
      npm[0],
      [...npm.slice(1), ...args],
      env,
    );
    if (ok) return undefined;
    if (attempt === 2) {
      return {
        what: `the npm packages; npm's last words:\n${tail}`,
        without: 'nothing runs',
        cure: `see that the npm registry can be reached, then run \`npm ${verb}\` in ${root}`,
        fatal: true,
      };
    }
  }
}

/** Command and first arguments that run npm on a Node outside node_modules. */
function findNpm(node) {
  const script = process.env['npm_execpath'];
  if (node !== undefined && script?.endsWith('npm-cli.js') && existsSync(script))
    return [node, script];
  const program = findProgram('npm');
  return program === undefined ? undefined : [program];
}

/** node-gyp downloads Node's headers unless it is told where they are: then an add-on builds offline. */
function headersOf(node) {
  if (node === undefined || process.env['npm_config_nodedir'] !== undefined) return {};
  const prefix = dirname(dirname(realpathSync(node)));
  return existsSync(join(prefix, 'include/node/node_api.h')) ? { npm_config_nodedir: prefix } : {};
}

function missingPkcs11(lacking) {
  return {
    what: `pkcs11js, the bridge to PKCS#11 tokens${lacking.length > 0 ? ` (no ${lacking.join(', ')} to build it with)` : ''}`,
    without: 'keys in hardware tokens and SoftHSM; the sealed-file key store works',
    cure:
      lacking.length > 0
        ? 'apt-get install g++ make python3, then run this again'
        : 'npm install --no-save pkcs11js --foreground-scripts shows why it did not build',
  };
}

// Where things are: the project, and the programs of the machine.
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const tools = join(root, '.tools');
/**
 * The package that holds the runtime for this machine. The lock file has its digest, so npm has checked it before
 * it runs; the `node` package would fetch it in an install script instead, without one.
 */
export const runtimePackage =
  process.platform === 'darwin' ? `node-bin-darwin-${process.arch}` : `node-linux-${process.arch}`;
export const runtime = join(root, 'node_modules', runtimePackage);
export const ownNode = join(runtime, 'bin/node');

// A plain user's PATH often lacks the sbin folders, where `ip` and `wg` may be.
const systemPath = [
  ...(process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '' && !resolve(folder).startsWith(`${root}/`)),
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
];

/** For what runs during set-up: nothing from node_modules, which set-up may be replacing. */
export const systemEnv = { ...process.env, PATH: systemPath.join(delimiter) };

/** For the program afterwards: own wireguard-go first, then the project's programs, then the machine's. */
export const programEnv = {
  ...process.env,
  PATH: [join(tools, 'bin'), join(root, 'node_modules/.bin'), ...systemPath].join(delimiter),
};

/** Absolute path of a program of the machine, undefined when there is none. */
export function findProgram(name) {
  return systemPath.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The Node that set-up may use while node_modules is replaced. */
export function systemNode() {
  const candidates = [process.env['npm_node_execpath'], process.execPath, findProgram('node')];
  return candidates.find(
    (path) => path && existsSync(path) && !realpathSync(path).startsWith(`${root}/`),
  );
}

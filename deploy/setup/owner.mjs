// Who owns the project's folder. What set-up installs there needs no more rights than that user has, so as root
// it drops to the owner first; in a folder that belongs to root there is nobody to drop to.
import { chownSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { root } from './paths.mjs';

// npm tells these to the programs that it starts, for the user who started it.
const ofAnotherUser =
  /^(npm_config_(cache|userconfig|globalconfig|prefix)|XDG_.*|GOPATH|GOCACHE|GOMODCACHE)$/i;

/**
 * Options for `spawn` that run a step as the owner of the folder.
 * @returns `{env, uid?, gid?}`; uid and gid only for root in somebody else's folder
 */
export function asOwner(env, folder = root, passwd = '/etc/passwd') {
  const { uid, gid } = statSync(folder);
  if (process.getuid?.() !== 0 || uid === 0) return { env };
  const own = Object.entries(env).filter(([name]) => !ofAnotherUser.test(name));
  const user = accountOf(uid, passwd);
  // npm and Go keep their caches in the home; without one they would write into root's.
  const home = user !== undefined && existsSync(user.home) ? user.home : folder;
  const name = user?.name ?? String(uid);
  return { uid, gid, env: { ...Object.fromEntries(own), HOME: home, USER: name, LOGNAME: name } };
}

/** Makes a folder and those above it, each of them the owner's: otherwise the owner could not replace it later. */
export function makeFolder(path) {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  mkdirSync(path);
  const { uid, gid } = asOwner({});
  if (uid !== undefined) chownSync(path, uid, gid);
}

function accountOf(uid, passwd) {
  let text = '';
  try {
    text = readFileSync(passwd, 'utf8');
  } catch {
    return undefined;
  }
  const fields = text.split('\n').map((line) => line.split(':'));
  const found = fields.find((field) => field[2] === String(uid));
  return found === undefined ? undefined : { name: found[0], home: found[5] };
}

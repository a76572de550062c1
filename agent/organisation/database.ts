/** The database of a state directory, looked at before its library opens it. */
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { damaged } from './system-error.ts';

/** LevelDB makes a new, empty database over one that has lost the file which names its parts. @throws CONTROL_STATE_DAMAGED */
export function expectWholeDatabase(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isDirectory() && !found.isSymbolicLink()) throw damaged(path, 'it is no directory');
  const isLeftOver = readdirSync(path).some((name) => /\.(ldb|sst|log)$|^MANIFEST-/.test(name));
  if (isLeftOver && !existsSync(join(path, 'CURRENT')))
    throw damaged(path, 'the file CURRENT is missing');
}

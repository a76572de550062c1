/** The group that may read: which it is. */
import { readFileSync } from 'node:fs';
import { ControlError } from './errors.ts';

/** A database of groups is no longer than this, in bytes. */
const MAX_DATABASE = 1 << 22;

/** @param group a number, or a name of group(5)  @throws CONTROL_NO_GROUP */
export function groupId(group: string, database = '/etc/group'): number {
  if (/^\d+$/.test(group)) return Number(group);
  const text = readFileSync(database, 'utf8').slice(0, MAX_DATABASE);
  for (const line of text.split('\n')) {
    const [name, , id = ''] = line.split(':');
    if (name === group && /^\d+$/.test(id)) return Number(id);
  }
  throw new ControlError('CONTROL_NO_GROUP', `there is no group ${group} in ${database}`);
}

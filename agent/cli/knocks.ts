/** Who asks to join, in lines for a person. */
import type { ResultOf } from '../control/verb-table.ts';

type KnockRow = ResultOf<'mesh.show'>['knocks'][number];

/** @param isGovernor whether this organisation may admit it; the command stands only where it works */
export function knockLine({ aid, at, name, via, passedOn }: KnockRow, isGovernor: boolean): string {
  const who = name === null ? aid : `${aid}, which calls itself ${name},`;
  const way = via === null ? '' : ` (passed on by ${via})`;
  const next = isGovernor
    ? `: \`kelmesh mesh admit ${aid}\``
    : passedOn
      ? '; the governor has been told, and decides'
      : '; the governor decides, and is not connected now: it is told when it is';
  return `${who} asks to join since ${at}${way}${next}`;
}

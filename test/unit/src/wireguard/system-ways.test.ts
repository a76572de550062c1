import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { SystemWays } from '#src/wireguard/system-ways';

function children(): readonly string[] {
  const { pid } = process;
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
  return text.split(' ').filter((child) => child.trim() !== '');
}

describe('changes of ways, as the system tells them', () => {
  it('come from one process for all who listen, which ends with the last of them', async () => {
    const before = new Set(children());
    const started = () => children().filter((child) => !before.has(child)).length;
    const ways = new SystemWays();
    const listener = () => undefined;
    const [first, second] = [ways.watch(listener), ways.watch(listener)];
    assert.deepEqual([started(), first.isTelling, second.isTelling], [1, true, true]);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    assert.deepEqual([started(), second.isTelling], [1, true]);
    second[Symbol.dispose]();
    // Until the system has taken it away; the limit is that of the test.
    while (started() > 0) await sleep(5);
    using again = ways.watch(listener);
    assert.deepEqual([started(), again.isTelling], [1, true]);
  });
});

/**
 * Waits until standard input ends, which it does with the process that holds grounds, then takes away those that it has
 * not released. Argument: that process, as JSON.
 */
import { ledgerEntries, type Owner, strike } from './ground-ledger.ts';
import { takeAway } from './ground-removal.ts';

// Whoever ends everything at once must not end this first: it has to be the last.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

const owner = JSON.parse(process.argv[2] ?? '{}') as Owner;
process.stdin.resume();
await new Promise((resolve) => process.stdin.once('close', resolve));

for (const entry of await ledgerEntries())
  if (entry.owner.pid === owner.pid && entry.owner.started === owner.started) {
    await takeAway(entry.ground);
    await strike(entry.path);
  }

/**
 * On the network of one site: echoes datagrams at its overlay address, and says on each line of standard input which of
 * the targets do not echo its own. Argument: the task as JSON.
 */
import { createInterface } from 'node:readline';
import { measureRtt, serveProbe } from '#src/net/probe';

interface Task {
  readonly self: string;
  readonly port: number;
  /** Name and overlay address. */
  readonly targets: readonly (readonly [string, string])[];
}

const COUNT = 20;
const INTERVAL_MS = 100;

const { self, port, targets } = JSON.parse(process.argv[2] ?? '{}') as Task;
await serveProbe({ address: self, port });
process.stdout.write('ready\n');
for await (const _ of createInterface(process.stdin)) {
  const silent = await Promise.all(
    targets.map(async ([name, address]) => {
      const { received } = await measureRtt({
        address,
        port,
        count: COUNT,
        intervalMs: INTERVAL_MS,
      });
      return received > 0 ? [] : [name];
    }),
  );
  process.stdout.write(`${JSON.stringify(silent.flat())}\n`);
}

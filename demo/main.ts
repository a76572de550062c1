/**
 * `npm start`: three organisations that trust no common server bring up WireGuard tunnels whose every key
 * traces back to a key event log, and an auditor proves afterwards who did what.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { confine } from '#src/confinement';
import { visible } from '#src/visible';
import { Demonstration } from './demonstration.ts';
import { obstacle, onParentGone, reenter, SIGNALS, withoutMark } from './rootless.ts';

confine();

const help = `usage: npm start -- [--out DIR] [--keep]

  --out DIR  leave report.json, the key event logs and the evidence bundle in DIR; default: a directory in ${tmpdir()}
  --keep     leave the mesh running after the last step until SIGINT, SIGTERM or SIGHUP`;

async function main(): Promise<number> {
  const argv = withoutMark(process.argv.slice(2));
  const { values } = parseArgs({
    args: [...argv],
    options: {
      out: { type: 'string' },
      keep: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    process.stdout.write(`${help}\n`);
    return 0;
  }
  const problem = obstacle();
  if (problem !== undefined) {
    process.stderr.write(
      `kelmesh: error: the demonstration cannot run here\nkelmesh: hint: ${problem}\n`,
    );
    return 1;
  }
  const reentered = await reenter(process.argv.slice(2));
  if (reentered !== undefined) return reentered;
  const out = resolve(values.out ?? mkdtempSync(join(tmpdir(), 'kelmesh-demo-')));
  mkdirSync(out, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'kelmesh-'));
  const stop = new AbortController();
  const onSignal = () => stop.abort(new Error('interrupted'));
  for (const signal of SIGNALS) process.on(signal, onSignal);
  // The terminal may be gone, and what is said with it.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', onSignal);
  onParentGone(onSignal);
  const demonstration = new Demonstration({
    out,
    work,
    say: (text) => process.stdout.write(`${text.split('\n').map(visible).join('\n')}\n`),
    signal: stop.signal,
  });
  try {
    const succeeded = await demonstration.run();
    if (values.keep === true && succeeded && !stop.signal.aborted) {
      process.stdout.write(
        `\nthe mesh keeps running; ${join(out, 'report.json')} names its parts. End it with Ctrl-C.\n`,
      );
      await new Promise<void>((ended) => {
        // A pending promise alone does not keep the process alive.
        const alive = setInterval(() => undefined, 60_000);
        stop.signal.addEventListener('abort', () => {
          clearInterval(alive);
          ended();
        });
      });
    }
    return succeeded ? 0 : 1;
  } finally {
    await demonstration.clean();
    rmSync(work, { recursive: true, force: true });
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

process.exitCode = await main();

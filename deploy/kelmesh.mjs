#!/usr/bin/env node
// `kelmesh` from a clone: hands over to the agent's own main on the Node that the project brings along,
// whatever version the machine has.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runInForeground } from './child.mjs';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
// npm links it to the runtime package of this machine.
const node = path('../node_modules/.bin/node');

if (existsSync(node)) {
  // A signal must not open a debugger's port, here or there, and no core file holds keys: the limit is inherited by all that follows.
  process.on('SIGUSR1', () => undefined);
  process.exitCode = await runInForeground('/bin/sh', [
    '-c',
    'ulimit -c 0; exec "$@"',
    'kelmesh',
    node,
    '--disable-sigusr1',
    '--disable-warning=ExperimentalWarning',
    path('../agent/main.ts'),
    ...process.argv.slice(2),
  ]);
} else {
  process.stderr.write(
    `kelmesh: error: the packages are not installed: ${node} is missing\n` +
      `kelmesh: hint: run \`node deploy/setup.mjs install\` in ${path('..')}, which also installs what the system lacks\n`,
  );
  process.exitCode = 1;
}

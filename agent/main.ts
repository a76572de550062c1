/** Entry point of `kelmesh`. */
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { confine } from '#src/confinement';

// Before anything secret is read, whoever started this and however.
confine();

// Stripped and compiled once: a start takes a third of the time. In the installation, not in a directory that others can write.
enableCompileCache(fileURLToPath(new URL('../.tools/compile-cache', import.meta.url)));
const { runCli } = await import('./cli/main.ts');

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
});

// What set-up tells the person: one line per long step, one block per thing that is missing.
import { spawn } from 'node:child_process';

/** Progress on stderr; stdout belongs to the program that runs afterwards. */
export function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

/** @param missing `{what, without, cure}`: what is missing, what does not work without it, how to get it */
export function sayMissing(missing) {
  for (const { what, without, cure } of missing) {
    process.stderr.write(
      `setup: missing: ${what}\n       without it: ${without}\n       to get it:  ${cure}\n`,
    );
  }
}

/**
 * Runs a step quietly, with a sign of life every 15 s.
 * @param options `{env, uid, gid}`: for whom it runs (`asOwner`)
 * @returns `{ok, tail}`: whether it ended with 0, and the last lines it printed
 */
export function runStep(title, command, args, options = { env: process.env }) {
  say(`${title} ...`);
  const started = performance.now();
  const seconds = () => Math.round((performance.now() - started) / 1000);
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const ticker = setInterval(() => say(`${title}: still running after ${seconds()} s`), 15_000);
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-8_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const end = (ok) => {
      clearInterval(ticker);
      say(`${title}: ${ok ? 'done' : 'failed'} in ${seconds()} s`);
      resolve({ ok, tail: output.trim().split('\n').slice(-12).join('\n') });
    };
    child.once('error', (error) => {
      keep(error.message);
      end(false);
    });
    child.once('close', (code) => end(code === 0));
  });
}

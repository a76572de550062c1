// Runs test files in worker processes, as many as the machine has cores, and sums up over all of them. Files that share the machine
// (`alone`) run one after the other when all others have ended: they wait for other programs, and count what gets lost.
import { fork } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { join, resolve } from 'node:path';
import { ownNode, programEnv, root, tools } from './paths.mjs';

const workerProgram = join(root, 'test/support/run/worker.mjs');
/** A worker holds some hundred megabytes. */
const maxWorkers = 8;
const lingerMs = 10_000;

/** What starts agents, makes namespaces or looks at what is left of them on the machine; a test compares. */
const aloneFolders = ['test/e2e', 'test/hostile', 'test/interop'];
const aloneFiles = ['test/contract/tunnel-driver.test.ts'];
/** What counts packets while keys change: last, when nothing runs beside it any more, so that the machine itself drops none. */
const aloneLast = [
  'test/hostile/claimed-key',
  'test/hostile/dropped-datagrams',
  ...['bad-input', 'damage', 'rotation', 'restart', 'wireguard-restart', 'wireguard', 'demo'].map(
    (name) => `test/e2e/${name}`,
  ),
].map((path) => `${path}.test.ts`);
/** The longest first: what begins last ends the run. */
const longestFirst = [
  ...[
    'test/sim/rotation-explorer.test.ts',
    'test/sim',
    'test/commands',
    'test/property',
    'test/contract',
    'test/fuzz',
  ],
  ...['test/unit', 'test/vectors'],
];

/** @returns `{alone, together}`: every test file there is, or those below one folder, as paths from the root */
export function plan(below = 'test') {
  const files = testFiles(below);
  const rank = (file) => {
    const at = longestFirst.findIndex((folder) => file === folder || file.startsWith(`${folder}/`));
    return at < 0 ? longestFirst.length : at;
  };
  const together = files.filter((file) => !isAlone(file));
  const isLast = (file) => Number(aloneLast.includes(file));
  const alone = files.filter(isAlone).sort((a, b) => isLast(a) - isLast(b));
  return { alone, together: together.sort((a, b) => rank(a) - rank(b)) };
}

function isAlone(file) {
  return aloneFiles.includes(file) || aloneFolders.some((folder) => file.startsWith(`${folder}/`));
}

function testFiles(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return testFiles(path);
      return entry.name.endsWith('.test.ts') ? [path] : [];
    });
}

/**
 * Runs each file once. What a worker tells of a file is printed when the file has ended; at the end failures, reasons of skipping,
 * and the line `N passed, N failed, N skipped`. A worker that dies, a file that does not load and a handle that stays open are failures.
 * @returns the exit code: 0, the number of failures up to 255, or 128 + signal number without that line
 */
export async function runInWorkers({ alone, together }, options = {}) {
  const cores = options.workers ?? Math.min(availableParallelism(), maxWorkers);
  const count = Math.max(1, Math.min(cores, alone.length + together.length));
  const run = new Run(options);
  const [waiting, beside] = [[...alone], [...together]];
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const stop = (signal) => run.stop(signal);
  for (const signal of signals) process.on(signal, stop);
  try {
    await Promise.all(Array.from({ length: count }, () => run.work(() => beside.shift())));
    // Alone means alone: what counts packets takes every stall of the machine for a loss.
    if (waiting.length > 0) await run.work(() => waiting.shift());
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
  return run.sumUp();
}

class Run {
  #env;
  #lingerMs;
  #stopped;
  #workers = new Set();
  #passed = 0;
  /** `{title, text}` each. */
  #failures = [];
  /** `{title, reason}` each. */
  #skipped = [];

  constructor(options) {
    this.#lingerMs = options.lingerMs ?? lingerMs;
    this.#env = {
      ...programEnv,
      NODE_COMPILE_CACHE: join(tools, 'compile-cache'),
      ...options.env,
    };
  }

  /** Runs the files that `next` gives, in one worker as long as it lives. */
  async work(next) {
    let worker;
    for (let file = this.#next(next); file !== undefined; file = this.#next(next)) {
      worker ??= this.#start();
      const ended = await worker.run(file);
      this.#report(file, ended);
      if (ended.isDead) worker = undefined;
    }
    const left = await worker?.end(this.#lingerMs);
    if (left !== undefined && this.#stopped === undefined)
      this.#failures.push({ title: `after ${worker.file}`, text: `  ${left}\n` });
  }

  stop(signal) {
    this.#stopped ??= signal;
    for (const worker of this.#workers) worker.kill(signal);
  }

  sumUp() {
    if (this.#stopped !== undefined) return 128 + constants.signals[this.#stopped];
    const print = (text) => process.stdout.write(text);
    if (this.#failures.length > 0) print('\n  failures:\n');
    for (const { title, text } of this.#failures) print(`\n  ${title}\n${text}`);
    if (this.#skipped.length > 0) print('\n  skipped:\n');
    for (const { title, reason } of this.#skipped) print(`    ${title}: ${reason}\n`);
    const failed = this.#failures.length;
    print(`\n${this.#passed} passed, ${failed} failed, ${this.#skipped.length} skipped\n`);
    return Math.min(failed, 255);
  }

  #next(next) {
    return this.#stopped === undefined ? next() : undefined;
  }

  #start() {
    const worker = new Worker(this.#env);
    this.#workers.add(worker);
    void worker.exited.then(() => this.#workers.delete(worker));
    return worker;
  }

  #report(file, { text, passed, failures, skipped }) {
    process.stdout.write(`\n${file}${text}`);
    this.#passed += passed;
    this.#failures.push(...failures.map((why) => ({ title: file, text: why })));
    this.#skipped.push(...skipped);
  }
}

class Worker {
  /** Of the run that goes on, or was the last. */
  file = '';
  /** Resolves with how it ended, in words. */
  exited;
  #child;
  #tell = () => {};

  constructor(env) {
    const options = { execPath: ownNode, execArgv: [], env, cwd: root };
    this.#child = fork(workerProgram, [], options);
    this.#child.on('message', (message) => this.#tell(message));
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(error.message));
      // `close` comes when all that the channel held was read.
      this.#child.once('close', (code, signal) => resolve(signal ?? `code ${code}`));
    });
  }

  /** @returns `{text, passed, failures, skipped, isDead}`; never rejects */
  async run(file) {
    this.file = file;
    let [text, passed, begun] = ['', 0, undefined];
    const [failures, skipped] = [[], []];
    const over = new Promise((done) => {
      this.#tell = (message) => {
        text += message.text ?? '';
        begun = message.begun ?? begun;
        if (message.passed !== undefined) passed++;
        if (message.failed !== undefined) failures.push(message.why);
        if (message.skipped !== undefined)
          skipped.push({ title: message.skipped, reason: message.reason });
        if (message.unloadable !== undefined)
          failures.push(`  the file cannot be run: ${message.unloadable}\n`);
        if (message.done === true || message.unloadable !== undefined) done(undefined);
      };
    });
    this.#child.send({ file: resolve(root, file) }, () => {});
    const death = await Promise.race([over, this.exited]);
    if (death !== undefined) {
      const where = begun === undefined ? 'while it was loaded' : `in "${begun}"`;
      failures.push(`  the process of the tests ended (${death}) ${where}\n`);
    }
    return { text, passed, failures, skipped, isDead: death !== undefined };
  }

  /** @returns what it left open, or how else it ended wrong; undefined when nothing is to be said */
  async end(lingerMs) {
    let open;
    this.#tell = (message) => {
      open = message.open ?? open;
    };
    this.#child.send({ end: true, lingerMs }, () => {});
    const how = await this.exited;
    if (open !== undefined) return `the tests left open: ${open.join(', ') || 'an output pipe'}`;
    return how === 'code 0' ? undefined : `the process of the tests ended (${how})`;
  }

  kill(signal) {
    this.#child.kill(signal);
  }
}

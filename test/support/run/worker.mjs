// Runs test files one after the other for `deploy/setup/tests.mjs`, which forks it, and tells it over the channel all that happens,
// as it happens: when this process dies, what it had told is known, and in which test it was.
//   from the parent: {file}, {end: true, lingerMs}
//   to the parent: {text}, {begun}, {passed}, {failed, why}, {skipped, reason}, {done: true}, {unloadable}, {open}
import { createRequire } from 'node:module';
import { format, inspect } from 'node:util';
import Mocha from 'mocha';

const require = createRequire(import.meta.url);
const { openResources, skipReason } = require('./outcome.cjs');
const { timeout } = require('../../../.mocharc.json');
const { Base, Spec } = Mocha.reporters;

const tell = (message) => process.send?.(message);
Base.consoleLog = (...args) => tell({ text: `${format(...args)}\n` });

class TellingReporter extends Spec {
  constructor(runner, options) {
    super(runner, options);
    for (const event of ['hook', 'test'])
      runner.on(event, (runnable) => tell({ begun: runnable.fullTitle() }));
    runner.on('pass', (test) => tell({ passed: test.fullTitle() }));
    runner.on('fail', (test) => tell({ failed: test.fullTitle(), why: explained(test) }));
    runner.on('pending', (test) => tell({ skipped: test.fullTitle(), reason: skipReason(test) }));
  }

  /** The parent sums up. */
  epilogue() {}
}

/** What mocha would print of it at the end of a run. */
function explained(test) {
  const before = Base.consoleLog;
  let text = '';
  Base.consoleLog = (...args) => {
    text += `${format(...args)}\n`;
  };
  try {
    Base.list([test]);
  } finally {
    Base.consoleLog = before;
  }
  return text;
}

async function run(file) {
  // A file that waits, while it is loaded, for what can no longer come ends the process, and the parent hears it.
  process.channel?.unref();
  const mocha = new Mocha({ ui: 'bdd', timeout, reporter: TellingReporter, forbidOnly: true });
  try {
    await mocha.addFile(file).loadFilesAsync();
  } catch (error) {
    return { unloadable: inspect(error) };
  }
  return new Promise((resolve) => {
    mocha.run(() => resolve({ done: true }));
  });
}

function end(lingerMs) {
  process.channel?.unref();
  setTimeout(() => {
    process.send({ open: openResources() }, () => process.exit(1));
  }, lingerMs).unref();
}

process.on('message', async (message) => {
  if (message.end === true) return end(message.lingerMs);
  const outcome = await run(message.file).catch((error) => ({ unloadable: inspect(error) }));
  process.channel?.ref();
  tell(outcome);
});
// Mocha hands on rejections that nobody handles to nobody, and emits them once more.
const unhandled = new WeakSet();
process.on('unhandledRejection', (reason, promise) => {
  if (unhandled.has(promise)) return;
  unhandled.add(promise);
  tell({ failed: 'a rejection', why: `  a rejection that nobody handles: ${inspect(reason)}\n` });
});
// Without the parent nobody reads the outcome, and nobody would end this process.
process.on('disconnect', () => process.exit(1));

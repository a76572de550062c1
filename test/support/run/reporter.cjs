// The reporter of files that are run by name, in one process: the spec reporter, which also says why each skipped test was
// skipped, ends with one plain line `N passed, N failed, N skipped`, and does not let a forgotten handle keep the run alive.
const { reporters } = require('mocha');
const { openResources, skipReason } = require('./outcome.cjs');

const lingerMs = 10_000;

class SummaryReporter extends reporters.Spec {
  #skipped = [];
  #unhandled = new Map();

  constructor(runner, options) {
    super(runner, options);
    runner.on('pending', (test) => this.#skipped.push(test));
    // Mocha hands them on to nobody, and emits them once more.
    process.on('unhandledRejection', (reason, promise) => this.#unhandled.set(promise, reason));
  }

  epilogue() {
    super.epilogue();
    if (this.#skipped.length > 0) console.log('  skipped:');
    for (const test of this.#skipped) console.log(`    ${test.fullTitle()}: ${skipReason(test)}`);
    for (const reason of this.#unhandled.values())
      console.log('  a rejection that nobody handles:', reason);
    const { passes, pending } = this.stats;
    const failures = this.stats.failures + this.#unhandled.size;
    console.log(`\n${passes} passed, ${failures} failed, ${pending} skipped`);
    if (this.#unhandled.size > 0) setImmediate(() => endWith(failures));
    this.#endWhatLingers(failures);
  }

  /** A test that leaves a socket or a timer open is a failure, told by kind, not a run that hangs. */
  #endWhatLingers(failures) {
    setTimeout(() => {
      console.error(`the tests left open: ${openResources().join(', ') || 'an output pipe'}`);
      endWith(Math.max(failures, 1));
      process.exit();
    }, lingerMs).unref();
  }
}

/** Mocha sets the exit code in a listener of its own, registered before this one. */
function endWith(failures) {
  process.once('exit', () => {
    process.exitCode = Math.min(failures, 255);
  });
}

module.exports = SummaryReporter;

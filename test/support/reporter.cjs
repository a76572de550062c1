// The spec reporter, which also says why each skipped test was skipped, ends with one plain line
// `N passed, N failed, N skipped`, and does not let a forgotten handle keep the run alive.
const { reporters } = require('mocha');

const lingerMs = 10_000;
let inParallel = false;

/** @see skip.ts for where the reason comes from */
function skipReason(test) {
  if (test.skipReason !== undefined) return test.skipReason;
  for (let suite = test.parent; suite; suite = suite.parent) {
    // Of a suite that ran in another process only its name is here.
    const hook = [...(suite._beforeAll ?? []), ...(suite._beforeEach ?? [])].find(
      (one) => one.skipReason !== undefined,
    );
    if (hook !== undefined) return hook.skipReason;
  }
  return inParallel ? 'the reason is printed where it was skipped' : 'no reason given';
}

class SummaryReporter extends reporters.Spec {
  #skipped = [];

  constructor(runner, options) {
    super(runner, options);
    inParallel = options?.parallel === true;
    runner.on('pending', (test) => this.#skipped.push(test));
  }

  epilogue() {
    super.epilogue();
    if (this.#skipped.length > 0) console.log('  skipped:');
    for (const test of this.#skipped) console.log(`    ${test.fullTitle()}: ${skipReason(test)}`);
    const { passes, failures, pending } = this.stats;
    console.log(`\n${passes} passed, ${failures} failed, ${pending} skipped`);
    this.#endWhatLingers(failures);
  }

  /** A test that leaves a socket or a timer open is a failure, told by kind, not a run that hangs. */
  #endWhatLingers(failures) {
    setTimeout(() => {
      const open = process
        .getActiveResourcesInfo()
        .filter((kind) => !/TTY|Pipe|Immediate/.test(kind));
      console.error(`the tests left open: ${open.join(', ') || 'an output pipe'}`);
      // Mocha sets the exit code in a listener of its own, registered before this one.
      process.once('exit', () => {
        process.exitCode = Math.min(Math.max(failures, 1), 255);
      });
      process.exit();
    }, lingerMs).unref();
  }
}

module.exports = SummaryReporter;

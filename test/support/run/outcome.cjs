/** Why a test was skipped, as `skip.ts` noted it at the test or at the hook of a suite around it. */
function skipReason(test) {
  if (test.skipReason !== undefined) return test.skipReason;
  for (let suite = test.parent; suite; suite = suite.parent) {
    const hook = [...(suite._beforeAll ?? []), ...(suite._beforeEach ?? [])].find(
      (one) => one.skipReason !== undefined,
    );
    if (hook !== undefined) return hook.skipReason;
  }
  return 'no reason given';
}

/** What keeps this process from ending, by kind. */
function openResources() {
  return process.getActiveResourcesInfo().filter((kind) => !/TTY|Pipe|Immediate/.test(kind));
}

module.exports = { skipReason, openResources };

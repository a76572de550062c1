/** What a verb gets: the parts that its subject names, and nothing else of the organisation or the agent. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type RunningContext, type VerbContext, verbsOf } from '#agent/control/verb';

/** Each part says its own name. */
const everything = (names: readonly string[]) => Object.fromEntries(names.map((of) => [of, of]));

describe('a verb', () => {
  const atRest = {
    organisation: everything(['identity', 'kel', 'drivers']),
    agent: undefined,
    name: 'alba',
    progress: () => undefined,
  };
  const running = { ...atRest, agent: everything(['sync', 'tunnels', 'rotate']), stop: () => {} };
  const { needsAgent, needsState, needsNothing } = verbsOf({
    organisation: ['kel'],
    agent: ['sync'],
  });
  const told = async (context: object) => {
    const { organisation, agent, name } = context as VerbContext;
    return { organisation, agent, name } as unknown as { readonly name: string };
  };

  for (const [what, make] of Object.entries({ needsState, needsNothing, needsAgent }))
    it(`that ${what} gets of a running agent the parts that its subject names`, async () => {
      const call = make({ args: {}, run: told }).call({});
      assert.deepEqual(await call.run(running as unknown as RunningContext), {
        organisation: { kel: 'kel' },
        agent: { sync: 'sync' },
        name: 'alba',
      });
    });

  for (const [what, make] of Object.entries({ needsState, needsNothing }))
    it(`that ${what} gets of an organisation at rest the parts that its subject names`, async () => {
      const call = make({ args: {}, run: told }).call({});
      assert.deepEqual(await call.run(atRest as unknown as VerbContext), {
        organisation: { kel: 'kel' },
        agent: undefined,
        name: 'alba',
      });
    });
});

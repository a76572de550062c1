import { strict as assert } from 'node:assert';
import { describe, it } from 'mocha';
import { eventSeal } from '#kel/event/seal';
import { Organisation } from '../support/kit/key-log.ts';
import { approvesAll } from '../support/kit/store-kit.ts';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';

/** A foreign log that another one delegates. */
function delegated() {
  const root = new Organisation('foreign root');
  root.incept();
  const leaf = new Organisation('foreign leaf');
  root.anchor([eventSeal(leaf.incept({ delegator: root.aid }, { delegator: approvesAll }))]);
  return { root, leaf };
}

describe('A watched log in a simulated federation', () => {
  it('comes from the member that holds it, with its delegator, and goes on by itself', async function () {
    this.timeout(60_000);
    const federation = await SimulatedFederation.create({ seed: 'watch', size: 3 });
    const [governor, holder, asking] = federation.agents as [
      SimulatedAgent,
      SimulatedAgent,
      SimulatedAgent,
    ];
    await federation.found();
    await federation.admit([holder, asking]);
    await federation.until(
      () => asking.running.directory.bound().length === 2,
      300_000,
      () => 'not bound',
    );
    const { root, leaf } = delegated();
    const { kel, watch } = holder.organisation;
    await federation.perform(kel.process(Buffer.concat([root.stream, leaf.stream])));
    const fetch = () => asking.running.watcher.fetch(leaf.aid, { kind: 'members' });
    await federation.perform(fetch());
    assert.equal(
      asking.organisation.kel.state(leaf.aid),
      undefined,
      'not watched there: not given',
    );

    await federation.perform(watch.add(leaf.aid, { kind: 'import' }));
    await federation.perform(fetch());
    assert.equal(asking.organisation.kel.state(leaf.aid)?.said, leaf.state.said);
    assert.equal(asking.organisation.kel.state(root.aid)?.said, root.state.said);

    await federation.perform(asking.organisation.watch.add(leaf.aid, { kind: 'members' }));
    leaf.anchor();
    await federation.perform(kel.process(leaf.steps.at(-1)?.message as Uint8Array));
    await federation.until(
      () => asking.organisation.kel.state(leaf.aid)?.said === leaf.state.said,
      1_200_000,
      () => 'the new event has not arrived',
      30_000,
    );
    assert.equal(governor.organisation.kel.state(leaf.aid), undefined);
    assert.equal(asking.organisation.watch.list()[0]?.failure, null);
    federation.abandon();
  });
});

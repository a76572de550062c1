import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { OwnLogComparison, type OwnLogComparisonDeps } from '#agent/mesh/sync/own-log-comparison';
import type { Aid } from '#kel/identifiers';
import { codeOf } from '../../../../support/kit/party.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const member = 'Emember' as Aid;

function world(others: readonly Aid[] = [member], heard = others) {
  const clock = new SimulatedClock();
  const own = { sn: 5 };
  const told: string[] = [];
  const comparison = new OwnLogComparison({
    identity: { aid: 'Eself', state: own },
    membership: { others: () => others.map((aid) => ({ aid })) },
    records: { list: () => heard.map((i) => ({ record: { i } })) },
    clock,
    journal: {
      warn: (event: string) => told.push(event),
      error: (event: string) => told.push(event),
    },
  } as unknown as OwnLogComparisonDeps);
  const stop = new AbortController();
  const start = () => comparison.start(stop.signal);
  return { clock, comparison, own, told, stop, start };
}

/** Whether an own event could be made, within the time that the clock has moved. */
async function asked(comparison: OwnLogComparison): Promise<{ readonly code: () => string }> {
  let code = 'waits';
  void codeOf(comparison.expectNewest()).then((result) => {
    code = result ?? 'may';
  });
  await new Promise(setImmediate);
  return { code: () => code };
}

describe('comparison of the own log', () => {
  it('lets nothing be made before members can be asked', async () => {
    const { comparison } = world();
    assert.equal(await codeOf(comparison.expectNewest()), 'IDENTITY_AWAITS_PEERS');
  });

  it('asks nobody where there is nobody', async () => {
    const { comparison, start } = world([]);
    assert.equal(await codeOf(comparison.expectNewest()), undefined);
    start();
    assert.equal(await codeOf(comparison.expectNewest()), undefined);
  });

  it('waits for an exchange with a member, and takes no time without one for an answer', async () => {
    for (const isExchanged of [true, false]) {
      const { comparison, clock, told, start } = world();
      start();
      const event = await asked(comparison);
      await clock.advance(9_000);
      assert.equal(event.code(), 'waits');
      if (isExchanged) comparison.exchanged(member);
      await clock.advance(isExchanged ? 1 : 1_001);
      await new Promise(setImmediate);
      assert.equal(event.code(), isExchanged ? 'may' : 'IDENTITY_AWAITS_PEERS');
      await clock.advance(86_400_000);
      assert.deepEqual(told, isExchanged ? [] : ['identity.not-compared']);
      const later = await codeOf(comparison.expectNewest());
      assert.equal(later, isExchanged ? undefined : 'IDENTITY_AWAITS_PEERS');
      comparison.exchanged(member);
      assert.equal(await comparison.expectNewest(), true);
    }
  });

  it("takes the operator's word, and asks nobody where no member was ever heard", async () => {
    const told = world();
    told.start();
    told.comparison.confirm();
    assert.equal(await told.comparison.expectNewest(), false);
    const alone = world([member], []);
    assert.equal(await alone.comparison.expectNewest(), false);
    alone.start();
    assert.equal(await alone.comparison.expectNewest(), false);
  });

  it('ends with the agent', async () => {
    const { comparison, stop, start } = world();
    start();
    const event = await asked(comparison);
    stop.abort();
    await new Promise(setImmediate);
    assert.equal(event.code(), 'IDENTITY_AWAITS_PEERS');
  });

  it('lets nothing be made while a member holds later events, until they are here', async () => {
    const { comparison, own, told, start } = world();
    start();
    comparison.lacks(member, 6);
    comparison.exchanged(member);
    assert.equal(await codeOf(comparison.expectNewest()), undefined);
    comparison.lacks(member, 9);
    assert.deepEqual(told, ['identity.behind']);
    assert.equal(await codeOf(comparison.expectNewest()), 'IDENTITY_AWAITS_RECOVERY');
    own.sn = 8;
    assert.equal(await codeOf(comparison.expectNewest()), undefined);
    // A recovery makes the log shorter than it was.
    own.sn = 6;
    assert.equal(await codeOf(comparison.expectNewest()), undefined);
  });

  it('believes nobody who shows nothing, or is no member any more', async () => {
    const others = [member];
    const { comparison, told, clock, start } = world(others);
    start();
    comparison.lacks(member, 9);
    comparison.exchanged(member);
    assert.deepEqual(told, ['identity.behind', 'identity.claim-not-shown']);
    assert.equal(await codeOf(comparison.expectNewest()), undefined);
    comparison.lacks(member, 9);
    assert.equal(await codeOf(comparison.expectNewest()), undefined, 'it has lied a moment ago');
    await clock.advance(3_700_000);
    comparison.lacks(member, 9);
    assert.equal(await codeOf(comparison.expectNewest()), 'IDENTITY_AWAITS_RECOVERY');
    others.pop();
    assert.equal(await codeOf(comparison.expectNewest()), undefined);
  });

  it('is held up by no claim for longer than it takes to show it, however often and in whatever order it is made', async () => {
    const { comparison, clock, start, own } = world();
    start();
    comparison.exchanged(member);
    let heldUpMs = 0;
    for (let second = 0; second < 3_000; second++) {
      comparison.lacks(member, [9, 1_000_000, own.sn + 1][second % 3] as number);
      if (second % 100 === 50) comparison.exchanged(member);
      if ((await codeOf(comparison.expectNewest())) !== undefined) heldUpMs += 1_000;
      await clock.advance(1_000);
      // A wall clock that steps does not begin it anew.
      if (second % 500 === 0) clock.stepWall(second % 1_000 === 0 ? 7_200_000 : -7_200_000);
    }
    assert.ok(heldUpMs > 0 && heldUpMs <= 60_000, `${heldUpMs} ms of 3,000,000`);
  });
});

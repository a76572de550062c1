import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { digestSeal, eventSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { type Judgement, judges } from '../support/kit/judges.ts';
import { Organisation, witnessKey } from '../support/kit/key-log.ts';
import { digest } from '../support/kit/record-samples.ts';
import { approvesAll, openStore, receiptOf, statesOf } from '../support/kit/store-kit.ts';

interface World {
  readonly messages: readonly Uint8Array[];
  readonly states: Readonly<Record<string, unknown>>;
}

/** A delegator, its delegate, a witnessed log whose receipts come apart, and a log that was recovered. */
function world(): World {
  const witnesses = ['a', 'b'].map(witnessKey);
  const delegator = new Organisation('delegator');
  delegator.incept({ keyCount: 2, signingThreshold: '2' });
  const delegate = new Organisation('delegate');
  const dip = delegate.incept({ delegator: delegator.aid }, { delegator: approvesAll });
  delegator.anchor([eventSeal(dip)]);
  delegate.anchor();
  delegator.rotate();
  const drt = delegate.rotate({}, { delegator: approvesAll });
  delegator.anchor([eventSeal(drt)]);
  const witnessed = new Organisation('witnessed');
  witnessed.incept({ witnesses: witnesses.map(({ aid }) => aid), witnessThreshold: 2 });
  const receipts = witnesses.map((key, index) =>
    receiptOf(witnessed.steps[0] as (typeof witnessed.steps)[0], [{ index, key }], 'couples'),
  );
  const lost = new Organisation('recovered');
  lost.incept();
  lost.anchor([digestSeal(digest('D') as Said)]);
  lost.anchor();
  const recovered = lost.fork(2);
  const rotation = recovered.rotate();
  const after = recovered.anchor();
  const orgs = [delegator, delegate, lost];
  const accepted = new Organisation('witnessed');
  accepted.incept(
    { witnesses: witnesses.map(({ aid }) => aid), witnessThreshold: 2 },
    { witnesses },
  );
  return {
    messages: [
      ...orgs.flatMap((org) => org.steps.map((step) => step.message)),
      witnessed.steps[0]?.message as Uint8Array,
      ...receipts,
      rotation.message,
      after.message,
    ],
    states: Object.fromEntries(
      [delegator, delegate, accepted, recovered]
        .map((org) => [org.aid, org.state] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
  };
}

describe('log store, any order of arrival', () => {
  const { messages, states } = world();
  const order = fc.shuffledSubarray(messages.slice(), {
    minLength: messages.length,
    maxLength: messages.length,
  });
  /** Where the stream is cut into calls. */
  const cuts = fc.array(fc.boolean(), { minLength: messages.length, maxLength: messages.length });

  it('ends in the same state, which replay and reopening give again', async () => {
    await fc.assert(
      fc.asyncProperty(order, cuts, async (order, cuts) => {
        const { store, reopen } = await openStore();
        let call: Uint8Array[] = [];
        for (const [at, message] of order.entries()) {
          call.push(message);
          if (cuts[at] || at === order.length - 1) {
            await store.process(Buffer.concat(call));
            call = [];
          }
        }
        assert.deepEqual(statesOf(store), states);
        await store.replay();
        assert.deepEqual(await store.duplicities(), []);
        assert.deepEqual(store.escrowed(), []);
        const again = await reopen();
        assert.deepEqual(statesOf(again), states);
        await again.replay();
      }),
      { numRuns: 60 },
    );
  });

  it('is judged alike by both engines, the whole of it and any part', async () => {
    const bySaid = (judgement: Judgement) =>
      Object.fromEntries([...judgement.states].map(([aid, { said, sn }]) => [aid, { said, sn }]));
    await fc.assert(
      fc.asyncProperty(order, fc.nat(messages.length), async (order, count) => {
        const part = order.slice(0, count);
        const [first, ...others] = await Promise.all(judges.map(([, judge]) => judge(part)));
        assert.ok(first !== undefined && others.length > 0);
        for (const other of others) assert.deepEqual(bySaid(other), bySaid(first));
      }),
      { numRuns: 60 },
    );
  });

  it('survives a restart between any two messages', async () => {
    await fc.assert(
      fc.asyncProperty(order, async (order) => {
        const { reopen } = await openStore();
        for (const message of order) await (await reopen()).process(message);
        const store = await reopen();
        assert.deepEqual(statesOf(store), states);
        await store.replay();
      }),
      { numRuns: 15 },
    );
  });

  it('gives the log to another store, which ends in the same state', async () => {
    await fc.assert(
      fc.asyncProperty(order, async (order) => {
        const { store: first } = await openStore();
        await first.process(Buffer.concat(order));
        const { store: second } = await openStore();
        for (const aid of first.aids()) await second.process(await first.export(aid));
        assert.deepEqual(statesOf(second), states);
      }),
      { numRuns: 20 },
    );
  });
});

describe('log store, hostile streams', () => {
  it('keeps the accepted state whatever bytes come, and never throws', async () => {
    const { messages, states } = world();
    const { store } = await openStore();
    await store.process(Buffer.concat(messages));
    const stream = Buffer.concat(messages);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat(), xor: fc.integer({ min: 1, max: 255 }) }), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.nat(),
        async (changes, cut) => {
          const changed = Buffer.from(stream);
          for (const { at, xor } of changes) {
            changed[at % changed.length] = (changed[at % changed.length] as number) ^ xor;
          }
          await store.process(changed.subarray(0, cut % changed.length));
          assert.deepEqual(statesOf(store), states);
        },
      ),
      { numRuns: 60 },
    );
    await store.replay();
  });
});

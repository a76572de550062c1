import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { verifyEvidence } from '#kel/duplicity/evidence-file';
import type { Aid } from '#kel/identifiers';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import { delegatedFork, interactionFork, rotationFork, seal } from '../support/kit/forks.ts';
import { Organisation, verifySignature } from '../support/kit/key-log.ts';
import { openStore } from '../support/kit/store-kit.ts';

interface World {
  readonly messages: readonly Uint8Array[];
  /** Forks as AID and sequence number. */
  readonly forks: readonly string[];
}

/** Forked logs of every kind, each with more events on both branches, and an honest one. */
function world(): World {
  const forks = [interactionFork('a'), rotationFork('b'), delegatedFork()];
  const messages = forks.flatMap(({ org, prefix, first, second }) => {
    const branches = [first, second].map((step, n) => {
      const branch = org.fork(org.steps.length - 1);
      branch.steps.push(step);
      branch.anchor([seal(n === 0 ? 'X' : 'Y')]);
      return branch.steps.slice(-1);
    });
    return [...prefix, first, second, ...(first.state.eventType === 'ixn' ? branches.flat() : [])];
  });
  const honest = new Organisation('honest');
  honest.incept();
  honest.anchor();
  return {
    messages: [...messages, ...honest.steps].map((step) => step.message),
    forks: forks.map(({ org, first }) => `${org.aid} ${first.sn}`).sort(),
  };
}

const forksOf = (store: LevelKelStore) =>
  store
    .duplicityCases()
    .map(({ aid, sn }) => `${aid} ${sn}`)
    .sort();

describe('duplicity, any order of arrival', () => {
  const { messages, forks } = world();
  const order = fc.shuffledSubarray(messages.slice(), {
    minLength: messages.length,
    maxLength: messages.length,
  });

  it('finds the same forks, and each file proves itself', async () => {
    await fc.assert(
      fc.asyncProperty(order, async (order) => {
        const { store, reopen } = await openStore();
        for (const message of order) await store.process(message);
        assert.deepEqual(forksOf(store), forks);
        for (const found of store.duplicityCases()) {
          const { verdict, fork } = verifyEvidence(
            await store.evidenceFile(found),
            verifySignature,
          );
          assert.deepEqual([verdict, fork?.aid, fork?.sn], ['duplicity', found.aid, found.sn]);
        }
        await store.replay();
        assert.deepEqual(forksOf(await reopen()), forks);
      }),
      { numRuns: 40 },
    );
  });

  it('two stores that saw different halves know the same after they exchanged their files', async () => {
    await fc.assert(
      fc.asyncProperty(
        order,
        fc.array(fc.boolean(), { minLength: messages.length, maxLength: messages.length }),
        async (order, sides) => {
          const [left, right] = [await openStore(), await openStore()];
          for (const [at, message] of order.entries())
            await (sides[at] ? left : right).store.process(message);
          for (const message of order) await left.store.process(message);
          for (const found of left.store.duplicityCases())
            await right.store.takeEvidence(await left.store.evidenceFile(found));
          assert.deepEqual(forksOf(right.store), forks);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('calls no honest log a forked one, recoveries included', async () => {
    const org = new Organisation('recovering');
    org.incept();
    const recovered = org.fork(1);
    org.anchor([seal('D')]);
    org.anchor();
    recovered.rotate();
    recovered.anchor();
    const again = recovered.fork(2);
    recovered.anchor([seal('E')]);
    again.rotate();
    const all = [...org.steps, ...recovered.steps, ...again.steps].map((step) => step.message);
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length }),
        async (order) => {
          const { store } = await openStore();
          for (const message of order) await store.process(message);
          assert.deepEqual(store.duplicityCases(), []);
          assert.deepEqual(store.state(org.aid as Aid), again.state);
        },
      ),
      { numRuns: 40 },
    );
  });
});

/** A signature of both lists made one of the current list alone: the only change that no signature covers. */
function isCodeOfSignature(before: number | undefined, after: number | undefined): boolean {
  return before === 'A'.charCodeAt(0) && after === 'B'.charCodeAt(0);
}

describe('evidence of any bytes', () => {
  const { file } = interactionFork();

  it('never throws, and a changed file proves nothing else', () => {
    const { fork } = verifyEvidence(file, verifySignature);
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), (at, xor, cut) => {
        const changed = Buffer.from(file);
        const place = at % changed.length;
        changed[place] = (changed[place] as number) ^ xor;
        const report = verifyEvidence(changed, verifySignature);
        if (isCodeOfSignature(file[place], changed[place])) {
          if (report.verdict === 'duplicity') assert.deepEqual(report.fork, fork);
        } else {
          assert.equal(report.verdict, 'none');
        }
        assert.equal(
          verifyEvidence(file.subarray(0, cut % file.length), verifySignature).verdict,
          'none',
        );
      }),
      { numRuns: 300, examples: [[378121577, 3, 0]] },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        assert.equal(verifyEvidence(bytes, verifySignature).verdict, 'none');
      }),
    );
  });
});

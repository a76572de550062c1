/** Replaying gives the same state, in any order of arrival; thresholds agree with exact arithmetic. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { buildInception } from '#kel/event/inception';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal, eventSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { checkThreshold, satisfies } from '#kel/key-state/threshold';
import { LogVerifier } from '#kel/verify/log-verifier';
import { Organisation, sign, testKey, verifySignature } from '../support/kit/key-log.ts';

/** A delegator, a delegate, and a log with a recovery in it. */
function scene(): { messages: Uint8Array[]; superseded: Uint8Array[]; heads: Map<string, string> } {
  const parent = new Organisation('parent');
  parent.incept();
  const [a, b] = [testKey('child/0'), testKey('child/1')];
  const dip = buildInception({
    keys: [a.key],
    nextDigests: [keyDigest(b.key)],
    delegator: parent.aid,
  });
  const prior = {
    ...parent.state,
    ...dip,
    keys: [a.key],
    delegator: parent.aid,
    witnessThreshold: 0,
  };
  const drt = buildRotation({ prior, keys: [b.key], nextDigests: [] });
  parent.anchor([eventSeal(dip)]);
  parent.rotate({ anchors: [eventSeal(drt)] });
  const lost = new Organisation('lost');
  lost.incept();
  lost.anchor();
  lost.anchor([digestSeal(lost.state.said)]);
  lost.anchor();
  const recovered = lost.fork(2);
  recovered.rotate();
  recovered.anchor();
  recovered.anchor();
  return {
    messages: [
      ...parent.steps.map(({ message }) => message),
      encodeSignedEvent(dip.bytes, sign(dip.bytes, [a])),
      encodeSignedEvent(drt.bytes, sign(drt.bytes, [b])),
      ...recovered.steps.map(({ message }) => message),
    ],
    superseded: lost.steps.slice(2).map(({ message }) => message),
    heads: new Map([
      [parent.aid, parent.state.said],
      [dip.aid, drt.said],
      [recovered.aid, recovered.state.said],
    ]),
  };
}

describe('properties of key state', () => {
  it('any order of arrival ends in the same state', () => {
    const { messages, superseded, heads } = scene();
    const all = [...messages, ...superseded];
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (order) => {
        const verifier = new LogVerifier(verifySignature);
        for (const message of order) verifier.feed(message);
        const { aids } = verifier.finish();
        assert.deepEqual(new Map(aids.map(({ aid, said }) => [aid, said])), heads);
      }),
      { numRuns: 150 },
    );
  });

  it('without recovery nothing is refused and nothing waits, in any order and with repetitions', () => {
    const { messages } = scene();
    fc.assert(
      fc.property(
        fc.shuffledSubarray(messages, { minLength: messages.length }),
        fc.subarray(messages),
        (order, again) => {
          const verifier = new LogVerifier(verifySignature);
          for (const message of [...order, ...again]) verifier.feed(message);
          const { refused, waiting } = verifier.finish();
          assert.deepEqual([refused, waiting], [[], []]);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('a numeric threshold counts distinct indices', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.nat(19), { maxLength: 40 }),
        (least, indices) => {
          assert.equal(satisfies(least.toString(16), indices), new Set(indices).size >= least);
        },
      ),
    );
  });

  it('weights are summed exactly', () => {
    const clause = fc.array(fc.integer({ min: 2, max: 12 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(clause, fc.array(fc.nat(11), { maxLength: 12 }), (denominators, indices) => {
        // n weights 1/n per denominator n: each full group makes exactly one.
        const weights = denominators.flatMap((n) => Array.from({ length: n }, () => `1/${n}`));
        assert.deepEqual(checkThreshold('kt', weights, weights.length), weights);
        const common = denominators.reduce((product, n) => product * n, 1);
        const sum = [...new Set(indices)].reduce(
          (total, i) => total + common / Number(weights[i]?.slice(2) ?? Number.POSITIVE_INFINITY),
          0,
        );
        assert.equal(satisfies(weights, indices), sum >= common);
      }),
    );
  });
});

/** Defaults at a rotation keep what is in force, and what is lowered is told as such. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { afterEach, describe, it } from 'mocha';
import { proposeInception, proposeRotation } from '#agent/identity/custody/draft';
import { explainProposal } from '#agent/identity/custody/explain';
import { lowerings } from '#agent/identity/custody/lowered';
import { stateOfLog } from '#agent/identity/custody/review';
import { thresholdOf } from '#agent/identity/custody/threshold-text';
import type { RotationEvent } from '#kel/event/key-event';
import type { KeyState, ThresholdForm } from '#kel/key-state/key-state';
import { satisfies } from '#kel/key-state/threshold';
import { logAfter, Party } from '../../../../support/kit/custodian-party.ts';

const NAMES = ['alice', 'bob', 'carol'] as const;

describe('a proposed rotation without thresholds', () => {
  let party: Party;

  afterEach(() => party[Symbol.asyncDispose]());

  async function incepted(signing: string, next: string) {
    party = await Party.of(...NAMES);
    const draft = proposeInception(
      {
        cards: party.cards(...NAMES),
        kind: 'CBOR',
        signingThreshold: thresholdOf(signing),
        nextThreshold: thresholdOf(next),
      },
      party.verifySignature,
    );
    const log = logAfter(await party.sign(draft, ...NAMES));
    const cards = await Promise.all(NAMES.map((name) => party.get(name).custodian.nextCard(log)));
    const [alice, bob, carol] = cards;
    assert.ok(alice && bob && carol);
    const rotate = (more: object = {}, given = cards) =>
      proposeRotation(
        { log, cards: given, reserves: [], saids: [], enclosures: [], ...more },
        party.verifySignature,
      );
    return { log, rotate, alice, bob, carol };
  }

  for (const [signing, next] of [
    ['3', '3'],
    ['2', '3'],
    ['1', '2'],
    ['1/2,1/2,1/2', '1/2,1/2,1/2'],
    ['1,1/2,1/2', '1/2,1/4,1/4'],
    ['3', '1/2,1/2,1'],
  ] as const)
    it(`keeps ${signing} for everyday events and ${next} for the next rotation`, async () => {
      const { rotate, log } = await incepted(signing, next);
      const before = stateOfLog(log, party.verifySignature);
      const review = rotate();
      const { event } = review;
      assert.ok(event.type === 'rot');
      assert.deepEqual(event.signingThreshold, before.signingThreshold);
      assert.deepEqual(event.nextThreshold, before.nextThreshold);
      assert.doesNotMatch(explainProposal(review, new Set()).join('\n'), /LOWERED/);
    });

  it('asks where what is in force says nothing about those who come', async () => {
    const { rotate, alice, bob, carol } = await incepted('3', '1/2,1/4,1/4');
    const asks = (run: () => unknown, option: string) =>
      assert.throws(run, (error: { code: string; hint: string }) => {
        assert.equal(error.code, 'CUSTODY_BAD_PROPOSAL');
        assert.ok(error.hint.includes(option), error.hint);
        return true;
      });
    asks(() => rotate({}, [alice, bob]), '--threshold');
    asks(() => rotate({ signingThreshold: '2' }, [alice, bob]), '--next-threshold');
    // Weights belong to people: in another order they would belong to others.
    asks(() => rotate({}, [bob, alice, carol]), '--next-threshold');
    rotate({ signingThreshold: '2', nextThreshold: '2' }, [bob, alice, carol]);
  });

  it('shows every signer what is lowered, in words and for scripts', async () => {
    const { rotate } = await incepted('3', '3');
    const words = (more: object) => explainProposal(rotate(more), new Set()).join('\n');
    assert.match(
      words({ nextThreshold: '2' }),
      /LOWERED: who can rotate next: any 2 of the 3, before all 3 together/,
    );
    assert.match(
      words({ signingThreshold: thresholdOf('1,1/2,1/2') }),
      /LOWERED: who can sign everyday events: .*alice 1.*before all 3 together/,
    );
    assert.doesNotMatch(words({ signingThreshold: '3' }), /LOWERED/);
  });
});

describe('what a rotation lowers', () => {
  const weights = (count: number) =>
    fc
      .array(fc.constantFrom('0', '1/4', '1/3', '1/2', '2/3', '1'), {
        minLength: count,
        maxLength: count,
      })
      .filter((clause) => satisfies(clause, clause.keys()));
  const threshold = (count: number): fc.Arbitrary<ThresholdForm> =>
    fc.oneof(
      fc.integer({ min: 1, max: count }).map((least) => least.toString(16)),
      weights(count),
    );
  const told = (before: ThresholdForm, now: ThresholdForm, count: number, countNow = count) => {
    const list = (length: number) => Array.from({ length }, (_, i) => `k${i}`);
    const prior = {
      keys: list(count),
      nextDigests: list(count),
      signingThreshold: before,
      nextThreshold: before,
      witnesses: [],
      witnessThreshold: 0,
    } as unknown as KeyState;
    const event = {
      keys: list(countNow),
      nextDigests: list(countNow),
      signingThreshold: now,
      nextThreshold: now,
      witnessCuts: [],
      witnessAdds: [],
      witnessThreshold: 0,
    } as unknown as RotationEvent;
    return lowerings(event, prior, { signing: list(countNow), next: list(countNow) });
  };

  it('is told whenever a group suffices that did not before, and only then', () => {
    const pair = fc
      .integer({ min: 1, max: 5 })
      .chain((count) => fc.tuple(fc.constant(count), threshold(count), threshold(count)));
    fc.assert(
      fc.property(pair, ([count, before, now]) => {
        const isWeaker = Array.from({ length: 2 ** count }, (_, bits) =>
          [...Array(count).keys()].filter((i) => (bits >> i) & 1),
        ).some((group) => satisfies(now, group) && !satisfies(before, group));
        assert.equal(told(before, now, count).length, isWeaker ? 2 : 0);
      }),
    );
  });

  it('is told of other numbers of keys by the smallest group, and by its share', () => {
    assert.equal(told('2', '2', 3, 5).length, 2, 'a smaller share');
    assert.equal(told('3', '2', 3, 2).length, 2, 'fewer');
    assert.equal(told('2', '3', 3, 4).length, 0);
    assert.equal(told('d', 'd', 20).length, 0);
    assert.equal(told('d', 'c', 20).length, 2);
    assert.equal(told(Array(20).fill('1/4'), [...Array(19).fill('1/4'), '1'], 20).length, 2);
  });

  it('is told of receipts', () => {
    const lines = (before: number, of: number, cuts: number, adds: number, now: number) =>
      lowerings(
        {
          keys: ['k'],
          nextDigests: ['n'],
          signingThreshold: '1',
          nextThreshold: '1',
          witnessCuts: Array(cuts).fill('w'),
          witnessAdds: Array(adds).fill('w'),
          witnessThreshold: now,
        } as unknown as RotationEvent,
        {
          keys: ['k'],
          nextDigests: ['n'],
          signingThreshold: '1',
          nextThreshold: '1',
          witnesses: Array(of).fill('w'),
          witnessThreshold: before,
        } as unknown as KeyState,
        { signing: ['a'], next: ['a'] },
      );
    assert.deepEqual(lines(3, 4, 0, 0, 3), []);
    assert.deepEqual(lines(3, 4, 1, 0, 3), []);
    assert.match(lines(3, 4, 1, 0, 2)[0] ?? '', /2 of 3, before 3 of 4/);
    assert.match(lines(1, 1, 0, 1, 1)[0] ?? '', /1 of 2, before 1 of 1/);
    assert.match(lines(1, 1, 1, 0, 0)[0] ?? '', /0 of 0, before 1 of 1/);
  });
});

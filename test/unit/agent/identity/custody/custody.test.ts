import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { encodeCard } from '#agent/identity/custody/card';
import { Custodian } from '#agent/identity/custody/custodian';
import {
  encodeCustodian,
  parseCustodian,
  readCustodian,
} from '#agent/identity/custody/custodian-file';
import {
  proposeInception,
  proposeInteraction,
  proposeRotation,
} from '#agent/identity/custody/draft';
import { explainProposal } from '#agent/identity/custody/explain';
import { encodeProposal, mergeProposals, type Proposal } from '#agent/identity/custody/proposal';
import { type Review, stateOfLog } from '#agent/identity/custody/review';
import { thresholdOf, thresholdWords } from '#agent/identity/custody/threshold-text';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal, eventSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { buildRecord } from '#kel/record/build';
import { atomicFileSteps } from '#src/files/atomic-file';
import { seededKeyStore } from '../../../../support/doubles/seeded-key-store.ts';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { logAfter, Party } from '../../../../support/kit/custodian-party.ts';

const THING = 'EBkPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM' as Said;
const NOTHING = { saids: [], enclosures: [] };

describe('several custodians', () => {
  let party: Party;
  let inception: Review;
  let log: Uint8Array;

  before(async () => {
    party = await Party.of('alice', 'bob', 'carol');
    const draft = proposeInception(
      { cards: party.cards('alice', 'bob', 'carol'), kind: 'CBOR', signingThreshold: '2' },
      party.verifySignature,
    );
    inception = await party.sign(draft, 'alice', 'bob');
    log = logAfter(inception);
  });

  after(() => party[Symbol.asyncDispose]());

  const interaction = (said = THING) =>
    proposeInteraction(
      { log, cards: party.cards('alice', 'bob', 'carol'), saids: [said], enclosures: [] },
      party.verifySignature,
    );
  const bad = (code: string, message?: RegExp) => (error: unknown) => {
    const { code: got, message: text } = error as { code: string; message: string };
    assert.equal(got, code, text);
    if (message !== undefined) assert.match(text, message);
    return true;
  };

  it('is complete with the threshold and not before, in any order of copies', async () => {
    assert.equal(inception.isComplete, true);
    assert.equal(stateOfLog(log, party.verifySignature).aid, inception.event.aid);
    const bare = { ...inception.proposal, signatures: [] };
    const [a, b] = inception.proposal.signatures.map(
      (signature): Proposal => ({
        ...bare,
        signatures: [signature],
      }),
    );
    assert.ok(a !== undefined && b !== undefined);
    assert.equal(party.review(a).isComplete, false);
    for (const copies of [
      [a, b],
      [b, a],
      [bare, b, a, a],
    ])
      assert.deepEqual(encodeProposal(mergeProposals(copies)), encodeProposal(inception.proposal));
    assert.throws(
      () => mergeProposals([a, { ...b, log: new Uint8Array(1) }]),
      bad('CUSTODY_DIFFERENT_EVENTS'),
    );
  });

  it('refuses the signature of another key or event', () => {
    const [first, second] = inception.proposal.signatures;
    assert.ok(first !== undefined && second !== undefined);
    for (const signatures of [
      [{ index: first.index, signature: second.signature }],
      [{ index: 2, signature: first.signature }],
      [{ index: 63, signature: first.signature }],
    ])
      assert.throws(
        () => party.review({ ...inception.proposal, signatures }),
        bad('CUSTODY_BAD_SIGNATURE'),
      );
  });

  it('accounts for every key and every next key', () => {
    const cards = party.cards('alice', 'bob', 'carol');
    const keys = cards.map(({ key }) => key);
    const nextDigests = cards.map(({ next }) => next);
    const proposal = (event: { bytes: Uint8Array }, given = cards): Proposal => ({
      ...inception.proposal,
      event: event.bytes,
      cards: given.map(encodeCard),
      signatures: [],
    });
    assert.throws(
      () => party.review(proposal(buildInception({ keys, nextDigests }), cards.slice(0, 2))),
      bad('CUSTODY_BAD_PROPOSAL', /no card is enclosed for key 3/),
    );
    assert.throws(
      () =>
        party.review(
          proposal(buildInception({ keys, nextDigests: [...nextDigests.slice(0, 2), THING] })),
        ),
      bad('CUSTODY_BAD_PROPOSAL', /nobody's/),
    );
    assert.throws(
      () => party.review(proposal(buildInception({ keys, nextDigests }), [...cards].reverse())),
      bad('CUSTODY_BAD_PROPOSAL', /no place among the keys/),
    );
    const delegated = buildInception({ keys, nextDigests, delegator: inception.event.aid });
    assert.throws(() => party.review(proposal(delegated)), bad('CUSTODY_BAD_PROPOSAL', /dip/));
  });

  it('refuses a log that is not the one before the event', () => {
    const { proposal } = interaction();
    for (const other of [
      new Uint8Array(0),
      log.subarray(0, -4),
      Buffer.concat([log, log.subarray(0, 9)]),
    ])
      assert.throws(() => party.review({ ...proposal, log: other }), bad('CUSTODY_BAD_PROPOSAL'));
    const later = logAfter({ ...inception });
    assert.throws(
      () => party.review({ ...inception.proposal, log: later }),
      bad('CUSTODY_BAD_PROPOSAL', /inception with a log/),
    );
  });

  it('signs nothing that it cannot explain', async () => {
    const review = interaction();
    const { custodian } = party.get('carol');
    await assert.rejects(custodian.sign(review), bad('CUSTODY_UNEXPLAINED_SEALS', /1 of 1 seals/));
    assert.equal(
      explainProposal(review, new Set()).filter((line) => line.includes('UNKNOWN')).length,
      1,
    );
    const signed = await custodian.sign(review, { allowUnknownSeals: true });
    assert.equal(signed.signatures.length, 1);
  });

  it('explains a record that is enclosed, with nothing in it that could move a cursor', () => {
    const { bytes } = buildRecord('rvk', {
      aid: inception.event.aid,
      salt: new Uint8Array(16),
      dt: '2026-01-02T03:04:05.000000+00:00',
      fields: {
        k: 'organisation',
        who: inception.event.aid,
        from: '2026-01-02T03:04:05.000000+00:00',
        why: 'stolen \u202e laptop',
      },
    });
    const review = proposeInteraction(
      { log, cards: [], saids: [], enclosures: [bytes] },
      party.verifySignature,
    );
    assert.deepEqual(review.unexplained, []);
    const words = explainProposal(review, new Set()).join('\n');
    assert.match(words, /a revocation stated by/);
    assert.match(words, /stolen \\u\{202e\} laptop/);
    assert.throws(
      () =>
        party.review({
          ...interaction().proposal,
          enclosures: [bytes],
        }),
      bad('CUSTODY_BAD_PROPOSAL', /no seal of the event names it/),
    );
  });

  it('explains the node that it approves, and no other event under its seal', () => {
    const [card] = party.cards('alice');
    const node = buildInception({
      keys: [card?.key as never],
      nextDigests: [],
      delegator: inception.event.aid,
    });
    const review = proposeInteraction(
      { log, cards: [], saids: [], enclosures: [node.bytes] },
      party.verifySignature,
    );
    assert.match(
      explainProposal(review, new Set()).join('\n'),
      new RegExp(`approves the birth of the node AID ${node.aid}`),
    );
    const prior = stateOfLog(log, party.verifySignature);
    const wrong = buildInteraction({ prior, anchors: [eventSeal({ ...node, sn: 1 })] });
    assert.throws(
      () => party.review({ ...review.proposal, event: wrong.bytes }),
      bad('CUSTODY_BAD_PROPOSAL', /no seal/),
    );
  });

  it('signs one event at each place of a log, unless it is told which one gives way', async () => {
    const { custodian } = party.get('alice');
    const first = interaction();
    const second = proposeInteraction(
      {
        log,
        cards: [],
        saids: ['EAtPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM' as Said],
        enclosures: [],
      },
      party.verifySignature,
    );
    await custodian.sign(first, { allowUnknownSeals: true });
    await custodian.sign(first, { allowUnknownSeals: true });
    await assert.rejects(
      custodian.sign(second, { allowUnknownSeals: true }),
      bad('CUSTODY_SIGNED_OTHER', new RegExp(first.event.said)),
    );
    await assert.rejects(
      custodian.sign(second, { allowUnknownSeals: true, insteadOf: second.event.said }),
      bad('CUSTODY_SIGNED_OTHER'),
    );
    await custodian.sign(second, { allowUnknownSeals: true, insteadOf: first.event.said });
  });

  it('signs only where its key is named', async () => {
    await party.join('mallory');
    await assert.rejects(
      party.get('mallory').custodian.sign(inception),
      bad('CUSTODY_NOT_A_SIGNER', /mallory/),
    );
  });
});

describe('custodians who rotate', () => {
  let party: Party;
  let log: Uint8Array;

  before(async () => {
    party = await Party.of('alice', 'bob', 'carol');
    const cards = party.cards('alice', 'bob', 'carol');
    const draft = proposeInception(
      { cards, kind: 'JSON', signingThreshold: '2' },
      party.verifySignature,
    );
    log = logAfter(await party.sign(draft, 'alice', 'carol'));
  });

  after(() => party[Symbol.asyncDispose]());

  const next = (...names: readonly string[]) =>
    Promise.all(names.map((name) => party.get(name).custodian.nextCard(log)));

  it('gives the same card until the rotation is in the log', async () => {
    const [first] = await next('bob');
    const [again] = await next('bob');
    assert.deepEqual(again, first);
    assert.deepEqual(await party.get('bob').custodian.nextCard(), first);
    assert.notEqual(first?.key, party.get('bob').card.key);
  });

  it('needs as many pre-rotated keys as the log says', async () => {
    const [alice] = await next('alice');
    const strangers = [await party.join('dave'), await party.join('erin')];
    assert.throws(
      () =>
        proposeRotation(
          { log, cards: [alice as never, ...strangers], reserves: [], ...NOTHING },
          party.verifySignature,
        ),
      { code: 'CUSTODY_BAD_PROPOSAL', message: /1 of the keys were committed to before/ },
    );
    assert.throws(
      () =>
        proposeRotation(
          { log, cards: party.cards('alice', 'bob', 'carol'), reserves: [], ...NOTHING },
          party.verifySignature,
        ),
      { code: 'CUSTODY_BAD_PROPOSAL', message: /was in force before/ },
    );
  });

  it('keeps a custodian in reserve, then brings it back; stale logs are refused', async () => {
    const before = log;
    const prior = stateOfLog(log, party.verifySignature);
    const reserve = party.get('carol').card.next;
    const rotation = proposeRotation(
      {
        log,
        cards: await next('bob', 'alice'),
        reserves: [reserve],
        signingThreshold: '2',
        nextThreshold: thresholdOf('1/2, 1/2, 1/2'),
        ...NOTHING,
      },
      party.verifySignature,
    );
    const words = explainProposal(rotation, new Set()).join('\n');
    assert.match(words, new RegExp(`next key ${reserve} is not used now and stays committed to`));
    assert.match(words, /weights that reach 1 of: bob 1\/2, alice 1\/2, in reserve 1\/2/);
    assert.match(words, new RegExp(`keys that stop counting: ${prior.keys.join(', ')}`));
    log = logAfter(await party.sign(rotation, 'alice', 'bob'));
    assert.equal(stateOfLog(log, party.verifySignature).sn, 1);

    await assert.rejects(party.get('alice').custodian.nextCard(), { code: 'CUSTODY_LOG_NEEDED' });
    const back = proposeRotation(
      {
        log,
        cards: await next('carol', 'alice', 'bob'),
        reserves: [],
        signingThreshold: '2',
        nextThreshold: '2',
        ...NOTHING,
      },
      party.verifySignature,
    );
    const signed = await party.sign(back, 'carol', 'bob');
    assert.equal(signed.isComplete, true);
    const state = stateOfLog(logAfter(signed), party.verifySignature);
    assert.equal(state.keys.length, 3);

    // Bob has seen event 1 now.
    const stale = proposeInteraction(
      { log: before, cards: [], saids: [THING], enclosures: [] },
      party.verifySignature,
    );
    await assert.rejects(
      party.get('bob').custodian.sign(stale, { allowUnknownSeals: true }),
      (error: { code: string }) =>
        error.code === 'CUSTODY_STALE' || error.code === 'CUSTODY_NOT_A_SIGNER',
    );
    await assert.rejects(party.get('bob').custodian.nextCard(before), { code: 'CUSTODY_STALE' });
  });

  it('destroys keys that the log has left behind, and only those', async () => {
    const { keyStore, path, custodian, card } = party.get('bob');
    const remembered = await readCustodian(path);
    const held = (await keyStore.list()).map(({ id }) => id);
    assert.deepEqual([...held].sort(), [...(remembered?.keys ?? [])].sort());
    const keys = [...(await custodian.keys()).keys()];
    const prior = stateOfLog(log, party.verifySignature);
    assert.equal(keys.includes(card.key), false);
    assert.ok(prior.keys.includes(keys[0] as never));
  });

  it('says in words that an organisation ends', async () => {
    const prior = stateOfLog(log, party.verifySignature);
    const cards = await next('alice', 'bob', 'carol');
    const last = buildRotation({ prior, keys: cards.map(({ key }) => key), nextDigests: [] });
    const review = party.review({
      event: last.bytes,
      log,
      cards: cards.map(encodeCard),
      enclosures: [],
      signatures: [],
    });
    const words = explainProposal(review, new Set()).join('\n');
    assert.match(words, /THE ORGANISATION ENDS/);
    assert.match(words, /alice is NOT among them/);
  });

  it('refuses seals that the log would refuse', () => {
    const prior = stateOfLog(log, party.verifySignature);
    const skipped = buildInteraction({
      prior: { ...prior, sn: prior.sn + 1 },
      anchors: [digestSeal(THING)],
    });
    assert.throws(
      () => party.review({ event: skipped.bytes, log, cards: [], enclosures: [], signatures: [] }),
      { code: 'CUSTODY_BAD_PROPOSAL', message: /the log ends with event 1/ },
    );
  });
});

describe('the file of a custodian', () => {
  it('is exact', () => {
    const state = {
      name: 'alice',
      keys: ['00'.repeat(16), '01'.repeat(16)],
      signed: [{ aid: THING, sn: 3, said: THING }],
      seen: [],
    } as never;
    const bytes = encodeCustodian(state);
    assert.deepEqual(parseCustodian(bytes), state);
    assert.throws(() => parseCustodian(bytes.subarray(1)), { code: 'CUSTODY_MALFORMED' });
  });

  it('names the keys that exist, whichever step of its writing fails', async () => {
    const party = await Party.of('carol');
    try {
      for (const step of ['write', 'sync', 'rename', 'syncDirectory'] as const) {
        const keyStore = seededKeyStore(new SeededRng(step));
        const path = `${party.directory}/${step}`;
        const steps = {
          ...atomicFileSteps,
          [step]: () => Promise.reject(new Error(`no ${step}`)),
        };
        const deps = { keyStore, path, verifySignature: party.verifySignature };
        await assert.rejects(
          Custodian.create({ ...deps, steps }, { name: step, algorithm: 'ed25519' }),
          { message: `no ${step}` },
        );
        const written = await readCustodian(path);
        assert.equal((await keyStore.list()).length, written === undefined ? 0 : 2, step);
        if (written === undefined)
          await (await Custodian.create(deps, { name: step, algorithm: 'ed25519' })).custodian[
            Symbol.asyncDispose
          ]();
        await using opened = await Custodian.open(deps);
        await opened.nextCard();
        const ids = (await keyStore.list()).map(({ id }) => id).sort();
        assert.deepEqual(ids, [...((await readCustodian(path))?.keys ?? [])].sort());
      }
    } finally {
      await party[Symbol.asyncDispose]();
    }
  });

  it('signs nothing when it cannot remember that it did', async () => {
    await using party = await Party.of('alice');
    const { keyStore, path, custodian } = party.get('alice');
    const review = proposeInception(
      { cards: party.cards('alice'), kind: 'CBOR' },
      party.verifySignature,
    );
    await custodian[Symbol.asyncDispose]();
    const signed: string[] = [];
    const watched = {
      ...keyStore,
      sign: (id: never, message: Uint8Array) => {
        signed.push(id);
        return keyStore.sign(id, message);
      },
    };
    const deps = { keyStore: watched, path, verifySignature: party.verifySignature };
    const steps = { ...atomicFileSteps, rename: () => Promise.reject(new Error('full')) };
    await using opened = await Custodian.open({ ...deps, steps });
    await assert.rejects(opened.sign(review), { message: 'full' });
    assert.deepEqual(signed, []);
    await assert.rejects(Custodian.open(deps), { code: 'KEYSTORE_LOCKED' });
  });
});

describe('thresholds in words', () => {
  it('are read and written', () => {
    assert.equal(thresholdOf('12'), 'c');
    assert.deepEqual(thresholdOf('1/2, 1/2,1/2'), ['1/2', '1/2', '1/2']);
    assert.deepEqual(thresholdOf('1/2,1/2;1'), [['1/2', '1/2'], ['1']]);
    assert.equal(thresholdWords('2', ['a', 'b', 'c']), 'any 2 of the 3');
    assert.equal(thresholdWords('3', ['a', 'b', 'c']), 'all 3 together');
    assert.equal(thresholdWords('1', ['a']), 'the one key');
    assert.equal(
      thresholdWords([['1/2', '1/2'], ['1']], ['a', 'b', 'c']),
      'weights that reach 1 of: a 1/2, b 1/2; and weights that reach 1 of: c 1',
    );
  });
});

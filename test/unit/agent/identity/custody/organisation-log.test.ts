/** The log of an organisation with custodians, at an agent that runs. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MemoryLevel } from 'memory-level';
import { after, before, describe, it } from 'mocha';
import type { UntrustedArguments } from '#agent/control/arguments';
import { askWithoutKeys } from '#agent/control/custody-at-rest';
import { custodyVerbs } from '#agent/control/custody-verbs';
import type { VerbContext } from '#agent/control/verb';
import { proposeInception, proposeInteraction } from '#agent/identity/custody/draft';
import { encodeProposal } from '#agent/identity/custody/proposal';
import type { Review } from '#agent/identity/custody/review';
import { parseConfig } from '#agent/organisation/config/config';
import type { Aid, Said } from '#kel/identifiers';
import { LevelKelStore } from '#kel/store/level-kel-store';
import type { Database } from '#src/store/durable-table';
import { logAfter, Party } from '../../../../support/kit/custodian-party.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const THING = 'EBkPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM' as Said;

describe('the log of an organisation with custodians', () => {
  let party: Party;
  let inception: Review;
  let db: Database;
  let kel: LevelKelStore;
  const watched: Aid[] = [];

  before(async () => {
    party = await Party.of('alice', 'bob');
    const draft = proposeInception(
      { cards: party.cards('alice', 'bob'), kind: 'CBOR', signingThreshold: '2' },
      party.verifySignature,
    );
    inception = await party.sign(draft, 'bob', 'alice');
    db = new MemoryLevel({ valueEncoding: 'view' }) as unknown as Database;
    kel = await LevelKelStore.open(db, {
      verifySignature: party.verifySignature,
      clock: new SimulatedClock(),
    });
  });

  after(() => party[Symbol.asyncDispose]());

  function write(name: string, review: Review): string {
    const file = join(party.directory, name);
    writeFileSync(file, encodeProposal(review.proposal));
    return file;
  }

  async function ask(verb: 'custody.log' | 'custody.submit', args: UntrustedArguments) {
    const organisation = {
      kel,
      drivers: { db },
      verifySignature: party.verifySignature,
      watch: { add: async (aid: Aid) => watched.push(aid) },
    };
    const context = { organisation, agent: undefined, name: 'x', progress: () => undefined };
    return (await custodyVerbs[verb].call(args).run(context as unknown as VerbContext)) as Record<
      string,
      unknown
    >;
  }

  it('takes a proposal with all before it, watches the AID, and gives log and cards back', async () => {
    await assert.rejects(ask('custody.log', {}), { code: 'CUSTODY_NO_LOG' });
    const { aid } = inception.event;
    const later = proposeInteraction(
      {
        log: logAfter(inception),
        cards: party.cards('bob', 'alice'),
        saids: [THING],
        enclosures: [],
      },
      party.verifySignature,
    );
    const result = await ask('custody.submit', { files: [write('icp', inception)] });
    assert.deepEqual([result['verdict'], result['aid'], watched], ['accepted', aid, [aid]]);
    let signed = later;
    for (const name of ['alice', 'bob'])
      signed = party.review(
        await party.get(name).custodian.sign(signed, { allowUnknownSeals: true }),
      );
    await ask('custody.submit', { files: [write('ixn', signed)] });
    assert.equal(kel.state(aid)?.sn, 1);
    const { cesr, cards } = await ask('custody.log', { aid });
    assert.deepEqual(Buffer.from(String(cesr), 'base64'), Buffer.from(await kel.export(aid)));
    assert.equal((cards as string[]).length, 2);
    await assert.rejects(ask('custody.log', { aid: THING }), { code: 'CUSTODY_NO_LOG' });
  });

  it('refuses what contradicts it, and remembers nothing of it', async () => {
    const other = proposeInteraction(
      {
        log: logAfter(inception),
        cards: [],
        saids: ['EAtPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM' as Said],
        enclosures: [],
      },
      party.verifySignature,
    );
    let signed = other;
    for (const name of ['alice', 'bob']) {
      const { custodian } = party.get(name);
      await assert.rejects(custodian.sign(signed, { allowUnknownSeals: true }), {
        code: 'CUSTODY_SIGNED_OTHER',
      });
      const [insteadOf] = [kel.state(other.event.aid)?.said];
      signed = party.review(await custodian.sign(signed, { allowUnknownSeals: true, insteadOf }));
    }
    await assert.rejects(ask('custody.submit', { files: [write('fork', signed)] }), {
      code: 'CUSTODY_REFUSED',
      message: /KEL_DUPLICITOUS/,
    });
  });

  it('asks for absolute paths and complete proposals, before a state directory is made', async () => {
    const stateDir = join(party.directory, 'state');
    const config = parseConfig(
      `name = "org"\nstate = "${stateDir}"`,
      join(party.directory, 'org.toml'),
    );
    const half = party.review({
      ...inception.proposal,
      signatures: inception.proposal.signatures.slice(0, 1),
    });
    for (const [files, code] of [
      [['icp'], 'CONTROL_BAD_REQUEST'],
      [[], 'CUSTODY_MALFORMED'],
      [[write('half', half)], 'CUSTODY_AWAITS_SIGNATURES'],
      [[join(party.directory, 'none')], 'FILE_NOT_FOUND'],
    ] as const)
      await assert.rejects(askWithoutKeys(config, 'custody.submit', { files }), { code });
    await assert.rejects(askWithoutKeys(config, 'custody.log', {}), { code: 'CUSTODY_NO_LOG' });
    assert.equal(existsSync(stateDir), false);
  });
});

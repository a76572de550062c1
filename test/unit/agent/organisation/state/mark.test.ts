import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { forgotten, markOf } from '#agent/organisation/state/mark';
import type { Aid, Said } from '#kel/identifiers';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { createParty, giveLog, openParty, verifySignature } from '../../../../support/kit/party.ts';

const said = (letter: string) => `E${letter.repeat(43)}` as Said;

describe('what a state directory has said to others', () => {
  it('is the own log and not those of others, and the same after a start', async () => {
    const [own, other] = [await createParty('own'), await createParty('other')];
    const look = (custodied?: Aid) =>
      markOf(own.disk.db as Database, { verifySignature, clock: own.clock, custodied });
    const before = await look();
    assert.deepEqual(before, {
      head: { aid: own.identity.aid, sn: 0, said: own.identity.state.said },
      pending: null,
      receipted: [],
    });
    await giveLog(other, own);
    await openParty(own.disk);
    assert.deepEqual(await look(), before);
    assert.deepEqual(await look(other.identity.aid), before, 'own keys come first');
    await own.identity.rotate();
    const later = await look();
    assert.equal(later.head?.sn, 1);
    assert.match(forgotten(before, later) ?? '', /event 1 of the own log/);
    assert.equal(forgotten(later, later), undefined);
  });

  it('without own keys is the log that its custodians sign', async () => {
    const [holder, organisation] = [await createParty('holder'), await createParty('custodied')];
    await giveLog(organisation, holder);
    const db = holder.disk.db as Database;
    await (await StateTable.open(db, 'identity')).put({ 'local-keys': undefined });
    const deps = { verifySignature, clock: holder.clock };
    const { aid } = organisation.identity;
    assert.equal((await markOf(db, { ...deps, custodied: aid })).head?.aid, aid);
    assert.equal((await markOf(db, { ...deps, custodied: undefined })).head, null);
  });

  it('is every receipt, as 0.1 kept them and as they are kept now', async () => {
    const { disk, clock } = await createParty('witness');
    const db = disk.db as Database;
    const look = () => markOf(db, { verifySignature, clock, custodied: undefined });
    const table = await StateTable.open(db, 'witness');
    await table.put({ 'first.x.1': { sn: 1, said: said('b') }, key: { aid: 'no receipt' } });
    const former = await look();
    assert.deepEqual(former.receipted, [said('b')]);
    await table.put({
      'first.x.1': undefined,
      'given.x.none.rotation': { sn: 1, said: said('b') },
    });
    assert.deepEqual((await look()).receipted, former.receipted);
    assert.equal(forgotten(former, await look()), undefined);
    await table.put({ 'given.x.none.2': { sn: 2, said: said('a') } });
    assert.match(forgotten(former, await look()) ?? '', new RegExp(`${said('a')} was receipted`));
    await table.put({ 'given.x.none.2': undefined, 'given.x.none.rotation': undefined });
    assert.equal(forgotten(former, await look()), undefined, 'settled ones are no loss');
  });

  it('is an own event that waits; one that was given up is no loss', () => {
    const mark = { head: null, pending: null, receipted: [] };
    assert.match(forgotten(mark, { ...mark, pending: said('c') }) ?? '', /signed since and waits/);
    assert.equal(forgotten({ ...mark, pending: said('c') }, mark), undefined);
  });
});

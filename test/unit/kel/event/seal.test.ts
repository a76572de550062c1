import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  backerSeal,
  digestSeal,
  eventSeal,
  lastEventSeal,
  rootSeal,
  sealedDigest,
  sealedEvent,
  sourceSeal,
} from '#kel/event/seal';
import { Organisation, witnessKey } from '../../../support/kit/key-log.ts';

const org = new Organisation('seals');
org.incept();
const { aid, said } = org.state;
const event = { aid, sn: 27, said };

describe('seals', () => {
  it('have exactly the fields of their kind, in order', () => {
    const { aid: backer } = witnessKey('backer');
    assert.deepEqual([...digestSeal(said)], [['d', said]]);
    assert.deepEqual([...rootSeal(said)], [['rd', said]]);
    assert.deepEqual(
      [...eventSeal(event)],
      [
        ['i', aid],
        ['s', '1b'],
        ['d', said],
      ],
    );
    assert.deepEqual([...lastEventSeal(aid)], [['i', aid]]);
    assert.deepEqual(
      [...sourceSeal(event)],
      [
        ['s', '1b'],
        ['d', said],
      ],
    );
    assert.deepEqual(
      [...backerSeal(backer, said)],
      [
        ['bi', backer],
        ['d', said],
      ],
    );
  });

  it('are read only in that form', () => {
    assert.equal(sealedDigest(digestSeal(said)), said);
    for (const other of [
      eventSeal(event),
      rootSeal(said),
      backerSeal(aid, said),
      said,
      [said],
      null,
      new Map([['d', 1]]),
    ]) {
      assert.equal(sealedDigest(other), undefined);
    }
    assert.deepEqual(sealedEvent(eventSeal(event)), { aid, sn: '1b', said });
    for (const other of [
      digestSeal(said),
      sourceSeal(event),
      new Map([...eventSeal(event)].reverse()),
    ]) {
      assert.equal(sealedEvent(other), undefined);
    }
  });
});

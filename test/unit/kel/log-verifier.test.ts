import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal, eventSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { LogVerifier } from '#kel/verify/log-verifier';
import { reportOf } from '#kel/verify/report';
import { Organisation, verifySignature } from './organisation.ts';

function verify(...streams: Uint8Array[]) {
  const verifier = new LogVerifier(verifySignature);
  for (const stream of streams) verifier.feed(stream);
  return { verifier, ...verifier.finish() };
}

describe('log verifier', () => {
  it('accepts a log of inception, interactions and rotations', () => {
    const org = new Organisation('a');
    org.incept();
    org.anchor([digestSeal(org.state.said)]);
    org.rotate();
    org.anchor();
    const { aids, refused, waiting, verifier } = verify(org.stream);
    assert.deepEqual(refused, []);
    assert.deepEqual(waiting, []);
    assert.deepEqual(aids, [org.state]);
    assert.equal(aids[0]?.sn, 3);
    assert.equal(verifier.sealOf(org.aid, org.steps[0]?.said as Said)?.event.sn, 1);
    assert.equal(verifier.establishment(org.aid, 0, org.steps[0]?.said as Said)?.sn, 0);
    assert.equal(reportOf({ aids, refused, waiting }).aids[0]?.delegator, null);
  });
});

/** What takes the place of what: KERI's rules A0 to A2, B1 to B3 and C, each by verifier and by store, in any order. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { digestSeal, eventSeal, type Seal } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import { LogVerifier } from '#kel/verify/log-verifier';
import { Organisation, type Step, verifySignature } from '../../../support/kit/key-log.ts';
import { approvesAll, openStore } from '../../../support/kit/store-kit.ts';

const delegated = { delegator: approvesAll };

interface Family {
  readonly parent: Organisation;
  readonly child: Organisation;
  readonly dip: Step;
}

/** A delegator that has approved the inception of its delegate with event 1. */
function family(name: string, above?: Aid): Family {
  const parent = new Organisation(`${name} parent`);
  parent.incept(above === undefined ? {} : { delegator: above }, delegated);
  const child = new Organisation(`${name} child`);
  const dip = child.incept({ delegator: parent.aid }, delegated);
  return { parent, child, dip };
}

const note = (said: Said): Seal => digestSeal(said);

/** Another event at the same place: the log without its last event, then a rotation with these seals. */
function rotation(child: Organisation, from: number, seals: readonly Seal[] = []): Step {
  const fork = child.fork(from);
  return fork.rotate({ anchors: seals }, delegated);
}

/** The SAID that stands at the end, by both; the same whatever the order. */
async function stands(aid: Aid, messages: readonly Uint8Array[]): Promise<Said | undefined> {
  const verifier = new LogVerifier(verifySignature);
  for (const message of messages) verifier.feed(message);
  const report = verifier.finish();
  assert.deepEqual(
    report.refused.filter(({ code }) => code === 'KEL_DUPLICITOUS'),
    [],
  );
  const { store } = await openStore();
  for (const message of messages) await store.process(message);
  await store.replay();
  assert.equal(store.state(aid)?.said, verifier.state(aid)?.said);
  assert.deepEqual(await store.duplicities(), []);
  await store.close();
  return verifier.state(aid)?.said;
}

async function standsInAnyOrder(
  aid: Aid,
  said: Said,
  first: readonly Uint8Array[],
  rest: readonly Uint8Array[],
): Promise<void> {
  for (const order of permutations(rest))
    assert.equal(await stands(aid, [...first, ...order]), said);
}

function permutations<T>(items: readonly T[]): readonly (readonly T[])[] {
  if (items.length < 2) return [items];
  return items.flatMap((item, at) =>
    permutations(items.filter((_, i) => i !== at)).map((others) => [item, ...others]),
  );
}

async function verdict(messages: readonly Uint8Array[]): Promise<string> {
  const { store } = await openStore();
  let last = '';
  for (const message of messages) {
    const [outcome] = (await store.process(message)).toReversed();
    last = outcome?.code ?? outcome?.verdict ?? '';
  }
  await store.close();
  return last;
}

describe('superseding', () => {
  it('A0: a rotation takes the place of interactions that no rotation follows', async () => {
    const org = new Organisation('a0');
    const icp = org.incept();
    const one = org.fork(1);
    const first = one.anchor();
    const second = one.anchor([note(icp.said)]);
    const rot = org.fork(1).rotate();
    for (const order of permutations([first.message, second.message, rot.message]))
      assert.equal(await stands(org.aid, [icp.message, ...order]), rot.said);
  });

  it('A0: not where a rotation follows', async () => {
    const org = new Organisation('a0 followed');
    const icp = org.incept();
    const one = org.fork(1);
    const first = one.anchor();
    const rot = one.rotate();
    const late = org.fork(1).rotate({ anchors: [note(icp.said)] });
    assert.equal(
      await verdict([icp.message, first.message, rot.message, late.message]),
      'KEL_DUPLICITOUS',
    );
  });

  it('A1: a rotation never takes the place of a rotation', async () => {
    const org = new Organisation('a1');
    const icp = org.incept();
    const one = org.fork(1).rotate();
    const two = org.fork(1).rotate({ anchors: [note(icp.said)] });
    assert.equal(await verdict([icp.message, one.message, two.message]), 'KEL_DUPLICITOUS');
  });

  it('A2: an interaction takes the place of nothing', async () => {
    const org = new Organisation('a2');
    const icp = org.incept();
    const one = org.fork(1).anchor();
    const two = org.fork(1).anchor([note(icp.said)]);
    const rot = org.fork(1).rotate();
    assert.equal(await verdict([icp.message, one.message, two.message]), 'KEL_DUPLICITOUS');
    assert.equal(await verdict([icp.message, rot.message, two.message]), 'KEL_SUPERSEDED');
  });

  it('B: a delegated rotation takes the place of interactions, once it is approved', async () => {
    const { parent, child, dip } = family('b0');
    parent.anchor([eventSeal(dip)]);
    const ixn = child.fork(1).anchor([], delegated);
    const drt = rotation(child, 1);
    assert.equal(
      await stands(child.aid, [parent.stream, dip.message, ixn.message, drt.message]),
      ixn.said,
    );
    parent.anchor([eventSeal(drt)]);
    await standsInAnyOrder(
      child.aid,
      drt.said,
      [],
      [parent.stream, dip.message, ixn.message, drt.message],
    );
  });

  it('B1: the rotation whose approval has the higher sequence number', async () => {
    const { parent, child, dip } = family('b1');
    const one = rotation(child, 1);
    const two = rotation(child, 1, [note(dip.said)]);
    parent.anchor([eventSeal(dip)]);
    parent.anchor([eventSeal(one)]);
    parent.anchor([eventSeal(two)]);
    await standsInAnyOrder(
      child.aid,
      two.said,
      [],
      [parent.stream, dip.message, one.message, two.message],
    );
  });

  it('B2: the rotation whose approval comes later in one event', async () => {
    const { parent, child, dip } = family('b2');
    const one = rotation(child, 1);
    const two = rotation(child, 1, [note(dip.said)]);
    parent.anchor([eventSeal(dip), eventSeal(one), eventSeal(two)]);
    await standsInAnyOrder(
      child.aid,
      two.said,
      [],
      [parent.stream, dip.message, one.message, two.message],
    );
  });

  it('B3: the rotation that a recovery of the delegator approves in place of an interaction', async () => {
    const { parent, child, dip } = family('b3');
    const one = rotation(child, 1);
    const two = rotation(child, 1, [note(dip.said)]);
    const approved = parent.anchor([eventSeal(dip)]);
    const stolen = parent.fork(2).anchor([eventSeal(one)]);
    const recovered = parent.fork(2).rotate({ anchors: [eventSeal(two)] });
    assert.ok(approved.sn < stolen.sn && stolen.sn === recovered.sn);
    const before = [parent.stream, dip.message, stolen.message, one.message];
    assert.equal(await stands(child.aid, before), one.said);
    assert.equal(await stands(child.aid, [...before, recovered.message, two.message]), two.said);
    assert.equal(await stands(child.aid, [...before, two.message, recovered.message]), two.said);
  });

  it('B: not over a rotation that another one follows', async () => {
    const { parent, child, dip } = family('b followed');
    const fork = child.fork(1);
    const one = fork.rotate({}, delegated);
    const next = fork.rotate({}, delegated);
    const late = rotation(child, 1, [note(dip.said)]);
    parent.anchor([eventSeal(dip), eventSeal(one), eventSeal(next)]);
    parent.anchor([eventSeal(late)]);
    const messages = [parent.stream, dip.message, one.message, next.message];
    assert.equal(await verdict([...messages, late.message]), 'KEL_DUPLICITOUS');
  });

  it('B: what was replaced and comes late is recovery, and what was never approved proves nothing', async () => {
    const { parent, child, dip } = family('b late');
    const one = rotation(child, 1);
    const fork = child.fork(1);
    const two = fork.rotate({ anchors: [note(dip.said)] }, delegated);
    const next = fork.rotate({}, delegated);
    const never = rotation(child, 1, [note(two.said)]);
    parent.anchor([eventSeal(dip), eventSeal(one), eventSeal(two), eventSeal(next)]);
    const messages = [parent.stream, dip.message, two.message, next.message];
    assert.equal(await verdict([...messages, one.message]), 'KEL_SUPERSEDED');
    assert.equal(await verdict([...messages, never.message]), 'KEL_AWAITS_DELEGATOR');
  });

  it('B: what followed the rotation that gave way is no duplicity, though the keys are the same', async () => {
    const { parent, child, dip } = family('b tail');
    const left = child.fork(1);
    const one = left.rotate({}, delegated);
    const old = left.anchor([], delegated);
    const right = child.fork(1);
    const two = right.rotate({ anchors: [note(dip.said)] }, delegated);
    const tail = right.anchor([note(dip.said)], delegated);
    parent.anchor([eventSeal(dip)]);
    parent.anchor([eventSeal(one)]);
    parent.anchor([eventSeal(two)]);
    await standsInAnyOrder(
      child.aid,
      tail.said,
      [parent.stream, dip.message],
      [one.message, old.message, two.message, tail.message],
    );
  });

  it('C: the recovery of a delegator’s own delegator reaches down the chain', async () => {
    const root = new Organisation('c root');
    root.incept();
    const { parent, child, dip } = family('c', root.aid);
    const [middle] = parent.steps as [Step];
    root.anchor([eventSeal(middle)]);
    const one = rotation(child, 1);
    const two = rotation(child, 1, [note(dip.said)]);
    parent.anchor([eventSeal(dip)], delegated);
    // Both approvals stand in rotations of the delegator at one place: its own delegator decides between these.
    const left = parent.fork(2).rotate({ anchors: [eventSeal(one)] }, delegated);
    const right = parent.fork(2).rotate({ anchors: [eventSeal(two)] }, delegated);
    root.anchor([eventSeal(left)]);
    const before = [root.stream, parent.stream, dip.message, left.message, one.message];
    assert.equal(await stands(child.aid, before), one.said);
    const last = root.anchor([eventSeal(right)]);
    const after = [last.message, right.message, two.message];
    for (const order of permutations(after))
      assert.equal(await stands(child.aid, [...before, ...order]), two.said);
  });

  it('a chain of delegators, logs in any order', async () => {
    const root = new Organisation('chain root');
    root.incept();
    const { parent, child, dip } = family('chain', root.aid);
    root.anchor([eventSeal(parent.steps[0] as Step)]);
    parent.anchor([eventSeal(dip)], delegated);
    await standsInAnyOrder(child.aid, dip.said, [], [root.stream, parent.stream, child.stream]);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Witness } from '#agent/identity/witness/witness';
import { digestSeal, type Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Aid } from '#kel/identifiers';
import { concatBytes } from '#src/bytes';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import {
  ed25519,
  Organisation,
  type Step,
  sign,
  witnessKey,
} from '../../../../support/kit/key-log.ts';
import { createParty, type Disk, openParty, type Party } from '../../../../support/kit/party.ts';
import { approve, approvesAll, receiptOf } from '../../../../support/kit/store-kit.ts';

const others = [witnessKey('second witness'), witnessKey('third witness')] as const;

/** Receipts of the two other witnesses. */
function receipts(bytes: Uint8Array) {
  return others.map(({ seed }, i) => ({ index: i + 1, raw: ed25519.sign(bytes, seed) }));
}

/** A log whose events the two other witnesses have receipted: final without the one under test. */
class Client extends Organisation {
  override step(...[event, signers, options = {}]: Parameters<Organisation['step']>): Step {
    return super.step(event, signers, { witnessSignatures: receipts(event.bytes), ...options });
  }

  override fork(keep: number): Client {
    return Object.assign(new Client(this.name), { steps: this.steps.slice(0, keep) });
  }
}

/** As the controller sends it to its witnesses: without a receipt. */
function bare(org: Organisation, step: Step, generation = 0): Uint8Array {
  return encodeSignedEvent(step.bytes, sign(step.bytes, org.keys(generation)));
}

async function witnessAt(party: Party, members: ReadonlySet<Aid> = new Set()): Promise<Witness> {
  const { disk, kel, clock } = party;
  const table = await StateTable.open(disk.db as unknown as Database, 'witness');
  const { keyStore } = disk;
  return Witness.open({
    keyStore,
    kel,
    table,
    clock,
    journal: { warn: () => undefined },
    algorithm: 'ed25519',
    isMember: (aid) => members.has(aid),
  });
}

/** A witness, and an organisation whose log names it and two more: two receipts make an event final. */
async function setting(name: string) {
  const party = await createParty(name);
  const witness = await witnessAt(party);
  const org = new Client(`${name} client`);
  const witnesses = [witness.aid, ...others.map(({ aid }) => aid)];
  const icp = org.incept({ witnesses, witnessThreshold: 2 });
  await witness.allow(icp.aid, true);
  return { party, witness, org, icp };
}

async function reopened(disk: Disk): Promise<Witness> {
  return witnessAt(await openParty(disk));
}

describe('witness', () => {
  it('has one AID of its own, non-transferable, across restarts', async () => {
    const { party, witness } = await setting('aid');
    assert.match(witness.aid, /^B[A-Za-z0-9_-]{43}$/);
    assert.equal((await reopened(party.disk)).aid, witness.aid);
  });

  it('receipts what lacks nothing but receipts, and the receipt counts', async () => {
    const { party, witness, org, icp } = await setting('receipt');
    const answer = await witness.receipt(bare(org, icp));
    assert.ok(answer.kind === 'receipted');
    assert.equal(party.kel.state(org.aid), undefined);
    const [waiting] = await party.kel.process(answer.receipt);
    assert.match(waiting?.reason ?? '', /1 of 2 witness receipts/);
    await party.kel.process(receiptOf(icp, [{ index: 1, key: others[0] }], 'couples'));
    assert.equal(party.kel.state(org.aid)?.sn, 0);
  });

  it('gives the same receipt again, once it is final too, and after a restart', async () => {
    const { party, witness, org, icp } = await setting('again');
    const first = await witness.receipt(bare(org, icp));
    assert.deepEqual(await witness.receipt(bare(org, icp)), first);
    assert.deepEqual(await witness.receipt(icp.message), first);
    assert.equal(party.kel.state(org.aid)?.sn, 0);
    assert.deepEqual(await (await reopened(party.disk)).receipt(bare(org, icp)), first);
  });

  it('refuses a second event at a sequence number and keeps both, across restarts', async () => {
    const { party, witness, org, icp } = await setting('second');
    await witness.receipt(icp.message);
    const [one, two] = twoAt(org);
    assert.equal((await witness.receipt(bare(org, one))).kind, 'receipted');
    for (const at of [witness, await reopened(party.disk)]) {
      const answer = await at.receipt(bare(org, two));
      assert.equal(answer.kind === 'refused' && answer.code, 'WITNESS_SECOND_EVENT');
      const [conflict, ...more] = at.conflicts;
      assert.deepEqual(more, []);
      assert.deepEqual(
        [conflict?.aid, conflict?.sn, conflict?.first, conflict?.second],
        [org.aid, 1, one.said, two.said],
      );
    }
  });

  it('refuses a second event when the first one is final', async () => {
    const { party, witness, org, icp } = await setting('final');
    await witness.receipt(icp.message);
    const [one, two] = twoAt(org);
    await witness.receipt(one.message);
    assert.equal(party.kel.state(org.aid)?.said, one.said);
    const answer = await witness.receipt(bare(org, two));
    assert.equal(answer.kind === 'refused' && answer.code, 'KEL_DUPLICITOUS');
  });

  it('receipts a rotation in place of an interaction, and not the other way', async () => {
    const { witness, org, icp } = await setting('recovery');
    await witness.receipt(icp.message);
    const [stolen, later] = twoAt(org);
    const rotated = org.fork(1);
    const rot = rotated.rotate();
    assert.equal((await witness.receipt(bare(org, stolen))).kind, 'receipted');
    assert.equal((await witness.receipt(bare(org, rot, 1))).kind, 'receipted');
    const again = await witness.receipt(bare(org, later));
    assert.equal(again.kind === 'refused' && again.code, 'WITNESS_SECOND_EVENT');
  });

  it('never forgets a rotation that is not final, whatever was receipted since and however long ago', async () => {
    const { party, witness, org, icp } = await setting('memory');
    await witness.receipt(icp.message);
    const one = org.anchor();
    await witness.receipt(one.message);
    await witness.receipt(org.anchor().message);
    const [rotated, forged] = [org.fork(1), org.fork(1)];
    const first = rotated.rotate();
    const second = forged.rotate({ anchors: [digestSeal(icp.said)] });
    assert.equal((await witness.receipt(bare(org, first, 1))).kind, 'receipted');
    // Nothing under the keys that it ends is receipted any more, least of all what would make room for it to go.
    const later = await witness.receipt(bare(org, org.anchor()));
    assert.equal(later.kind === 'refused' && later.code, 'WITNESS_SECOND_EVENT');
    await party.clock.advance(2 * 3_600_000);
    for (const at of [witness, await reopened(party.disk)]) {
      const answer = await at.receipt(bare(org, second, 1));
      assert.equal(answer.kind === 'refused' && answer.code, 'WITNESS_SECOND_EVENT');
      assert.equal((await at.receipt(bare(org, first, 1))).kind, 'receipted');
      assert.deepEqual(at.open(org.aid), bare(org, first, 1));
      assert.equal((await at.receipt(one.message)).kind, 'receipted');
    }
  });

  it('refuses a rotation at another number under the same establishment event', async () => {
    const { witness, org, icp } = await setting('elsewhere');
    await witness.receipt(icp.message);
    await witness.receipt(org.anchor().message);
    const [near, far] = [org.fork(1), org.fork(2)];
    assert.equal((await witness.receipt(bare(org, far.rotate(), 1))).kind, 'receipted');
    const answer = await witness.receipt(bare(org, near.rotate(), 1));
    assert.equal(answer.kind === 'refused' && answer.code, 'WITNESS_SECOND_EVENT');
  });

  it('forgets none of what earlier versions kept', async () => {
    const { party, witness, org, icp } = await setting('taken over');
    await witness.receipt(icp.message);
    const first = bare(org, org.fork(1).rotate(), 1);
    const second = bare(org, org.fork(1).rotate({ anchors: [digestSeal(icp.said)] }), 1);
    const { said, sn } = org.fork(1).rotate();
    const table = await StateTable.open(party.disk.db as unknown as Database, 'witness');
    const message = Buffer.from(first).toString('base64');
    await table.put({ [`first.${org.aid}.${sn}`]: { sn, said, type: 'rot', message } });
    for (const at of [await reopened(party.disk), await reopened(party.disk)]) {
      const answer = await at.receipt(second);
      assert.equal(answer.kind === 'refused' && answer.code, 'WITNESS_SECOND_EVENT');
      assert.equal((await at.receipt(first)).kind, 'receipted');
    }
  });

  it('refuses and never evicts when the room of an AID is full; rotations and other AIDs have theirs', async () => {
    const { party, witness, org, icp } = await setting('full');
    const other = new Client('full other');
    const inception = other.incept({
      witnesses: [witness.aid, ...others.map(({ aid }) => aid)],
      witnessThreshold: 2,
    });
    await witness.allow(other.aid, true);
    await witness.receipt(icp.message);
    const large = Array.from({ length: 800 }, () => digestSeal(icp.said));
    const first = [];
    let refusals = 0;
    // Each time another interaction than the one that was receipted becomes final by the other witnesses.
    for (let n = 0; n < 60 && refusals === 0; n++) {
      const lost = bare(org, org.fork(org.steps.length).anchor([...large, digestSeal(icp.said)]));
      const answer = await witness.receipt(lost);
      if (answer.kind === 'receipted') first.push(lost);
      else refusals += answer.kind === 'refused' && answer.code === 'WITNESS_FULL' ? 1 : 0;
      await party.kel.process(org.anchor().message);
    }
    assert.equal(refusals, 1);
    assert.ok(first.length > 5);
    assert.equal((await witness.receipt(bare(org, org.rotate(), 1))).kind, 'receipted');
    assert.equal((await witness.receipt(inception.message)).kind, 'receipted');
    assert.equal((await witness.receipt(bare(other, other.anchor()))).kind, 'receipted');
  });

  it('says from where it lacks the log, and takes it in', async () => {
    const { witness, org, icp } = await setting('behind');
    const anchored = org.anchor();
    const behind = { kind: 'behind', aid: org.aid, from: 0 };
    assert.deepEqual(await witness.receipt(bare(org, anchored)), behind);
    await witness.catchUp(icp.message);
    assert.equal((await witness.receipt(bare(org, anchored))).kind, 'receipted');
  });

  it('asks for the log of a delegator, which nobody else may fill in', async () => {
    const party = await createParty('delegated');
    const witness = await witnessAt(party);
    const parent = new Organisation('delegating parent');
    parent.incept();
    const child = new Organisation('delegated child');
    const dip = child.incept(
      { delegator: parent.aid, witnesses: [witness.aid], witnessThreshold: 1 },
      { delegator: approvesAll },
    );
    await witness.allow(dip.aid, true);
    approve(parent, dip);
    await witness.catchUp(parent.stream);
    assert.equal(party.kel.state(parent.aid), undefined);
    assert.deepEqual(await witness.receipt(dip.message), {
      kind: 'behind',
      aid: parent.aid,
      from: 0,
    });
    await witness.catchUp(parent.stream);
    assert.equal((await witness.receipt(dip.message)).kind, 'receipted');
  });

  it('refuses strangers, events that do not name it, bad signatures and noise', async () => {
    const { witness, org, icp } = await setting('refusals');
    const stranger = new Organisation('stranger');
    const unlisted = new Organisation('unlisted');
    const plain = unlisted.incept();
    await witness.allow(plain.aid, true);
    const asked: [Uint8Array, string][] = [
      [stranger.incept().message, 'WITNESS_NOT_SERVED'],
      [plain.message, 'WITNESS_NOT_LISTED'],
      [encodeSignedEvent(icp.bytes, sign(icp.bytes, org.keys(5))), 'KEL_BAD_SIGNATURE'],
      [icp.bytes, 'KEL_BAD_SIGNATURE'],
      [concatBytes(icp.message, icp.message), 'WITNESS_BAD_REQUEST'],
      [receiptOf(icp, [{ index: 1, key: others[0] }], 'couples'), 'WITNESS_BAD_REQUEST'],
      [new Uint8Array(0), 'WITNESS_BAD_REQUEST'],
      [Buffer.from('noise'), 'WITNESS_BAD_REQUEST'],
    ];
    for (const [message, code] of asked) {
      const answer = await witness.receipt(message);
      assert.equal(answer.kind === 'refused' ? answer.code : answer.kind, code);
    }
    await witness.allow(org.aid, false);
    const denied = await witness.receipt(icp.message);
    assert.equal(denied.kind === 'refused' && denied.code, 'WITNESS_NOT_SERVED');
    assert.deepEqual(witness.counters, { receipts: 0, refused: asked.length + 1 });
  });

  it('never receipts two events of one place, whichever write is the last', async () => {
    let receipted = 0;
    for (let n = 1; n <= 4; n++) {
      for (const how of ['lost', 'persisted'] as const) {
        const { party, witness, org, icp } = await setting(`crash ${n} ${how}`);
        await witness.receipt(icp.message);
        const [one, two] = twoAt(org);
        party.disk.db.failAt(n, how);
        const before = await witness.receipt(bare(org, one)).catch(() => undefined);
        party.disk.db.heal();
        const after = await (await reopened(party.disk)).receipt(bare(org, two));
        const both = [before, after].filter((answer) => answer?.kind === 'receipted');
        assert.ok(both.length <= 1, `write ${n} ${how}: both are receipted`);
        receipted += both.length;
      }
    }
    assert.ok(receipted > 0);
  });
});

/** Two different interactions behind the first event. */
function twoAt(org: Client): readonly [Step, Step] {
  const [icp] = org.steps as [Step];
  const seal: Seal = digestSeal(icp.said);
  return [org.fork(1).anchor(), org.fork(1).anchor([seal])];
}

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { StateTable } from '#agent/state-table';
import { Witness } from '#agent/witness/witness';
import { digestSeal, type Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Aid } from '#kel/identifiers';
import type { Database } from '#kel/store/durable-table';
import { concatBytes } from '#src/bytes';
import { ed25519, Organisation, type Step, sign, witnessKey } from '../../kel/organisation.ts';
import { approve, approvesAll, receiptOf } from '../../kel-store/store-kit.ts';
import { createParty, type Disk, openParty, type Party } from '../party.ts';

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

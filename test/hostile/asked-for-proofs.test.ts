/** A member that asks for proofs again and again, through the tunnel: it must not make another write leaves or key events for it. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import {
  createMachines,
  type Json,
  type Machine,
  type Machines,
  machinesUnavailable,
} from '../support/machines/federation.ts';
import { skip } from '../support/skip.ts';
import { BadMember, found, initialise, join, upTo } from './support/bad-machine.ts';

const ASKED = 200;
const AGREEMENTS = 2;
/** Leaves that an agreement may leave at each end: that it was made, and the proof of the tunnel under it. */
const LEAVES_EACH = 2;
/** What the victim writes for reasons of its own meanwhile: an anchor, an epoch. */
const OWN_LEAVES = 4;

describe('a member that asks for proofs again and again through the tunnel', function () {
  this.timeout(240_000);
  let machines: Machines | undefined;
  let victim: Machine;
  let bad: BadMember | undefined;
  let victimAid: string;
  let badAid: string;

  before(async function () {
    const reason = machinesUnavailable();
    if (reason !== undefined) skip(this, reason);
    machines = await createMachines(['one', 'two']);
    const made = [machines.get('one'), machines.get('two')] as const;
    const aids = await initialise(made);
    // The lower AID begins an exchange: so that is the one that has gone bad.
    const lower = (aids[0] ?? '') < (aids[1] ?? '') ? 0 : 1;
    victim = made[1 - lower] as Machine;
    [badAid, victimAid] = [aids[lower] ?? '', aids[1 - lower] ?? ''];
    bad = new BadMember(made[lower] as Machine);
    const started = bad;
    await join(victim, made[lower] as Machine, await found(victim), () => started.say('start', 0));
    await upTo(victim, badAid);
  });

  after(async () => {
    await bad?.[Symbol.asyncDispose]();
    await machines?.[Symbol.asyncDispose]();
  });

  const written = async (): Promise<Json> => {
    const { auditLeaves: leaves, sn } = await victim.json('status');
    return { leaves, sn };
  };

  it('makes it write nothing: neither a new offer nor a proof that was delivered before, however often', async () => {
    const before = await written();
    const ended = await bad?.say('ask', victimAid, ASKED);
    assert.equal(
      Object.values(ended as Record<string, number>).reduce((sum, n) => sum + n, 0),
      ASKED,
    );
    assert.equal(ended['offer: offer'] ?? 0, 0, JSON.stringify(ended));
    const { leaves, sn } = await written();
    assert.ok(leaves - before.leaves <= OWN_LEAVES, `${before.leaves} leaves, then ${leaves}`);
    assert.ok(sn - before.sn <= 1, `event ${before.sn}, then ${sn}`);
    assert.equal((await upTo(victim, badAid)).state, 'up');
  });

  it('gets one proof per agreement that it brings about, and no more leaves than those', async () => {
    const before = await written();
    for (let n = 0; n < AGREEMENTS; n++) {
      await bad?.say('renew', victimAid);
      await upTo(victim, badAid);
      await bad?.say('ask', victimAid, 4);
    }
    const { leaves } = await written();
    const most = AGREEMENTS * LEAVES_EACH + OWN_LEAVES;
    assert.ok(leaves - before.leaves <= most, `${before.leaves} leaves, then ${leaves}`);
  });
});

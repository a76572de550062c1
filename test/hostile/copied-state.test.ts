/** A state directory is copied, and both copies run: whoever holds the copy must not go on unnoticed, nor stop the owner. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { statusJson } from '#agent/control/status';
import { type LiveAgent, LiveAgents, until } from './support/live-agents.ts';

type Row = { readonly aid: string; readonly twoPlaces: readonly string[] | null };

async function placesSeen(at: LiveAgent, of: LiveAgent): Promise<readonly string[] | null> {
  const { peers } = (await statusJson(at.organisation, at.running)) as unknown as {
    readonly peers: readonly Row[];
  };
  return peers.find(({ aid }) => aid === of.aid)?.twoPlaces ?? null;
}

describe('two live copies of one state directory', () => {
  it('both say so, make no own event by themselves, and do what their operators ask for; members name the AID', async function () {
    this.timeout(300_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'member'] });
    const [governor, member] = mesh.agents as [LiveAgent, LiveAgent];
    await member.stop();
    const copy = await mesh.copyOf(member);
    await member.start();
    await until('the member is bound', () => governor.isBoundTo(member));
    assert.equal(member.running.twin.found, undefined);
    await copy.start();
    for (const one of [member, copy])
      await until(`${one.name} finds the other`, () => one.running.twin.found !== undefined);
    const headOf = (one: LiveAgent) => one.organisation.identity.state.said;
    // One may have made an event before it found the other, which gets it as any other.
    await until('the two hold the same log', () => headOf(member) === headOf(copy));
    for (const one of [member, copy]) {
      assert.equal(one.events('identity.twin').length, 1);
      const { sn } = one.organisation.identity.state;
      await assert.rejects(one.running.rotate(), { code: 'IDENTITY_AWAITS_OPERATOR' });
      await assert.rejects(one.organisation.identity.anchor([]), {
        code: 'IDENTITY_AWAITS_OPERATOR',
      });
      assert.equal(one.organisation.identity.state.sn, sn);
      const { twin } = (await statusJson(one.organisation, one.running)) as {
        readonly twin: unknown;
      };
      assert.ok(twin !== null);
    }
    const hosts = [member.host, copy.host];
    await until(
      'the governor names both places',
      async () => {
        const places = await placesSeen(governor, member);
        return hosts.every((host) => places?.some((place) => place.includes(host)) === true);
      },
      200_000,
    );
    assert.equal(governor.running.twin.found, undefined);
    member.running.twin.confirm();
    assert.equal(member.running.twin.found, undefined, 'the operator says that this one lives');
    await member.running.operator.run(() => member.running.rotate());
    assert.equal(member.running.twin.found, undefined, 'the copy has no keys any more');
    await until(
      'the governor has the rotation of the owner',
      () =>
        governor.organisation.kel.state(member.aid)?.said ===
        member.organisation.identity.state.said,
    );
  });

  it('is not what a restart looks like, however often', async function () {
    this.timeout(120_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'member'] });
    const [governor, member] = mesh.agents as [LiveAgent, LiveAgent];
    for (let n = 0; n < 6; n++) {
      await member.stop();
      await member.start();
      await until('the member is bound', () => governor.isBoundTo(member));
    }
    assert.equal(member.running.twin.found, undefined);
    assert.equal(governor.running.sync.placesOf(member.aid), undefined);
    await member.running.rotate();
  });
});

/** A governor that shows one log to one member and another to the next: nobody who holds proof of it is silenced by being removed. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { evidenceProtocol } from '#agent/mesh/duplicity/messages';
import { digestSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { encodeCbor } from '#src/cbor';
import { type LiveAgent, LiveAgents, until } from './support/live-agents.ts';
import { Stranger } from './support/stranger.ts';

function isSuspended(at: LiveAgent, of: LiveAgent): boolean {
  return at.organisation.membership.suspensionOf(of.aid) !== undefined;
}

type Face = (governor: LiveAgent) => Promise<unknown>;

/** An interaction: a rotation would take the place of another one as a recovery does. */
function sealing(what: string): Face {
  const said = `E${what.replaceAll(' ', '-').padEnd(43, 'A')}` as Said;
  return (governor) => governor.organisation.identity.anchor([digestSeal(said)]);
}

/** `one` sees the governor do `first`, `other` sees it do `second` in place of that; then it is gone. */
async function showTwoFaces(
  mesh: LiveAgents,
  [one, first]: readonly [LiveAgent, Face],
  [other, second]: readonly [LiveAgent, Face],
): Promise<void> {
  const { governor } = mesh;
  for (const agent of mesh.agents) await agent.stop();
  const before = await governor.copyState();
  for (const [seer, face] of [
    [one, first],
    [other, second],
  ] as const) {
    await governor.putBack(before);
    await seer.start();
    await governor.start();
    await mesh.bound([seer, governor]);
    const { sn } = governor.organisation.identity.state;
    await face(governor);
    await until(
      `${seer.name} sees it`,
      () => (seer.organisation.kel.state(governor.aid)?.sn ?? 0) > sn,
    );
    await seer.stop();
    await governor.stop();
  }
}

describe('a governor with two faces', () => {
  it('is found out by the member that one face has removed, which hands the proof to whoever refuses it', async function () {
    this.timeout(180_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'one', 'other'] });
    const [governor, one, other] = mesh.agents as [LiveAgent, LiveAgent, LiveAgent];
    await showTwoFaces(
      mesh,
      [one, (by) => by.organisation.governing.remove('other', 'it knows too much')],
      [other, sealing('something else')],
    );
    await one.start();
    await other.start();
    await until('both know', () => isSuspended(one, governor) && isSuspended(other, governor));
  });

  it('is found out by two members that both faces have kept, in one exchange of heads', async function () {
    this.timeout(180_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'one', 'other'] });
    const [governor, one, other] = mesh.agents as [LiveAgent, LiveAgent, LiveAgent];
    await showTwoFaces(mesh, [one, sealing('this')], [other, sealing('that')]);
    await one.start();
    await other.start();
    await until('both know', () => isSuspended(one, governor) && isSuspended(other, governor));
  });
});

describe('evidence of a stranger', () => {
  it('is looked at within bounds, tells it nothing, and moves nothing unless it proves itself', async function () {
    this.timeout(120_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'member'] });
    const { governor } = mesh;
    await using stranger = await Stranger.create();
    const peer = await stranger.dial(governor.address);
    const log = await governor.organisation.kel.export(governor.aid);
    let answered = 0;
    for (let n = 0; n < 40; n++) {
      const stream = await stranger.open(peer, evidenceProtocol).catch(() => undefined);
      if (stream === undefined) continue;
      await stream.send(encodeCbor(['have', []])).catch(() => undefined);
      const have = await stream.receive().catch(() => undefined);
      if (have === undefined) continue;
      answered += 1;
      assert.deepEqual(Buffer.from(have), Buffer.from(encodeCbor(['have', []])));
      await stream.send(encodeCbor(['give', log])).catch(() => undefined);
      await stream.close();
    }
    assert.ok(answered > 0 && answered <= 10, `${answered} of 40`);
    for (const agent of mesh.agents)
      assert.equal(agent.organisation.kel.duplicityCases().length, 0);
  });
});

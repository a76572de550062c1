/** Claims that nobody has proven: what a stranger says on the way in must not move anything. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { syncProtocol } from '#agent/mesh/sync/messages';
import { type LiveAgent, LiveAgents, until } from './support/live-agents.ts';
import { hear, helloOf, proofOf, say } from './support/member.ts';
import { Stranger } from './support/stranger.ts';

const HOUR_MS = 3_600_000;

describe('a stranger that says to be a member', () => {
  it('moves no state of anybody by a claim: no clock skew, no binding, no knock, no own event', async function () {
    this.timeout(120_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'member'] });
    const [governor, member] = mesh.agents as [LiveAgent, LiveAgent];
    await using stranger = await Stranger.create();
    const peer = await stranger.dial(governor.address);
    const bound = governor.running.directory.peerOf(member.aid);
    // What it has of the member's: the log, which is public, and a record that names the peer of the member and not its own.
    const stolen = await proofOf(member, member.peer, 1_000_000);
    for (const clock of [Date.now() + HOUR_MS, 0, Number.MAX_SAFE_INTEGER]) {
      for (const proves of [false, true]) {
        const stream = await stranger.open(peer, syncProtocol);
        await say(stream, helloOf(member, { clock, want: 1_000_000 }));
        assert.equal((await hear(stream))?.kind, 'hello');
        if (proves) {
          await say(stream, stolen);
          assert.equal(await hear(stream), undefined, 'the session ends without an answer');
        } else stream.abort(new Error('nothing more to say'));
      }
    }
    assert.ok(Math.abs(skewSeen(governor, member)) < HOUR_MS / 2, 'the clock of the member');
    assert.equal(governor.running.directory.peerOf(member.aid), bound);
    assert.equal(governor.running.directory.aidOf(stranger.self), undefined);
    assert.deepEqual(governor.running.sync.knocks.list(), []);
    assert.deepEqual(governor.events('identity.behind'), []);
    await governor.running.rotate();
  });
});

describe('a member gone bad', () => {
  it('holds up the own events of another by what it says to hold for no longer than it could have shown it, and moves no clock but its own', async function () {
    this.timeout(240_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'member', 'honest'] });
    const [governor, member, honest] = mesh.agents as [LiveAgent, LiveAgent, LiveAgent];
    const own = governor.organisation.identity.state.sn;
    for (let n = 0; n < 3; n++) {
      const stream = await member.running.network.open(governor.peer, syncProtocol, {
        maxMessage: 1 << 20,
        maxStreams: 4,
      });
      await say(stream, helloOf(member, { clock: Date.now() + HOUR_MS }));
      assert.equal((await hear(stream))?.kind, 'hello');
      await say(stream, await proofOf(member, member.peer, own + 1_000));
      assert.equal((await hear(stream))?.kind, 'prove');
      stream.abort(new Error('and shows nothing of it'));
    }
    assert.equal(governor.events('identity.behind').length, 1, 'said once, whatever is repeated');
    assert.ok(Math.abs(skewSeen(governor, honest)) < HOUR_MS / 2);
    await until(
      'the governor can make an own event',
      () =>
        governor.running.rotate().then(
          () => true,
          () => false,
        ),
      120_000,
    );
    assert.equal(governor.organisation.identity.state.sn > own, true);
  });
});

function skewSeen(at: LiveAgent, of: LiveAgent): number {
  return at.running.sync.skewOf(of.aid) ?? 0;
}

/** Bodies that explode where they are read, on every protocol: a stranger's bytes cost what they are, and soon nothing more comes in. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { nodeProtocol } from '#agent/identity/node/messages';
import { witnessProtocol } from '#agent/identity/witness/messages';
import { evidenceProtocol } from '#agent/mesh/duplicity/messages';
import { queryProtocol } from '#agent/mesh/query/messages';
import { eventTopic } from '#agent/mesh/sync/gossip';
import { knockProtocol } from '#agent/mesh/sync/knock-messages';
import { syncProtocol } from '#agent/mesh/sync/messages';
import type { ProtocolId } from '#agent/network/network';
import { eventShapes } from '../../bench/support/hostile-shapes.ts';
import { type LiveAgent, LiveAgents, until } from './support/live-agents.ts';
import { Stranger } from './support/stranger.ts';

/** A list of empty maps, each one byte. */
function maps(size: number): Uint8Array {
  const bytes = Buffer.alloc(size, 0xa0);
  bytes[0] = 0x9a;
  bytes.writeUInt32BE(size - 5, 1);
  return bytes;
}

describe('a stranger with bodies that explode', () => {
  const protocols: readonly ProtocolId[] = [
    nodeProtocol,
    syncProtocol,
    witnessProtocol,
    evidenceProtocol,
    queryProtocol,
    knockProtocol,
  ];

  it('costs no memory beyond its bytes, is cut off on every protocol, and keeps no member waiting', async function () {
    this.timeout(180_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'member'] });
    const [governor, member] = mesh.agents as [LiveAgent, LiveAgent];
    await using stranger = await Stranger.create();
    const peer = await stranger.dial(governor.address);
    const before = process.memoryUsage().rss;
    for (const protocol of protocols) {
      for (const size of [8 << 20, 500_000, 100_000, 60_000]) {
        const stream = await stranger.open(peer, protocol).catch(() => undefined);
        if (stream === undefined) continue;
        // What is cut off may be so while it is sent.
        const isSent = await stream.send(maps(size)).then(
          () => true,
          () => false,
        );
        const answer = isSent ? await stream.receive().catch(() => undefined) : undefined;
        assert.ok((answer?.length ?? 0) < 1_000, `${protocol}, ${size} bytes`);
        stream.abort(new Error('next'));
      }
    }
    // 1.8 GB for the first of them alone, once.
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    assert.ok(grown < 400, `the process grew by ${grown.toFixed(0)} MiB`);
    assert.ok(governor.running.directory.peerOf(member.aid), 'the member is bound');
    await governor.running.rotate();
  });

  it('is counted when it gossips events whose thresholds are all arithmetic, and holds up nothing', async function () {
    this.timeout(180_000);
    await using mesh = await LiveAgents.mesh({ names: ['governor', 'member'] });
    const [governor, member] = mesh.agents as [LiveAgent, LiveAgent];
    await using stranger = await Stranger.create();
    await stranger.dial(governor.address);
    const { mesh: said } = governor.organisation.membership;
    const shape = eventShapes['weights with coprime denominators'];
    assert.ok(said && shape);
    const counters = governor.running.gossip.counters;
    let n = 0;
    await until(
      'twenty of them have arrived, and are counted',
      async () => {
        // Each is another one: gossip gives equal messages once.
        n += 1;
        const message = shape(12_000 + 64 * (n % 200));
        await stranger.publish(eventTopic(said), message).catch(() => undefined);
        return counters.stranger + counters.refused >= 20;
      },
      60_000,
    );
    assert.ok(governor.running.directory.peerOf(member.aid), 'the member is bound');
    await governor.running.rotate();
  });
});

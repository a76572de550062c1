import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { RecordGossip, recordTopic } from '#agent/mesh/sync/record-gossip';
import type { Network, PeerKey } from '#agent/network/network';
import type { Said } from '#kel/identifiers';
import type { AnyRecord, Verified } from '#kel/record/record';
import { decodeCbor, encodeCbor } from '#src/cbor';
import { criticalRecord, newTypeRecord } from '../../../../support/kit/later-record.ts';
import { createParty, endFields, giveLog, type Party } from '../../../../support/kit/party.ts';
import { lowAid } from '../../../../support/kit/record-samples.ts';

const from = '12D3KooWFrom' as PeerKey;
const mesh = `EA${'m'.repeat(42)}` as Said;
const at = '2026-01-01T00:00:00.000000+00:00';

/** @param allows whether the issuer may say so */
function gossipOf(party: Party, allows: () => boolean = () => true) {
  const published: Uint8Array[] = [];
  const behind: PeerKey[] = [];
  const topics: string[] = [];
  const { kel, intake, records } = party;
  const network = {
    subscribe: (topic: string) => void topics.push(topic),
    publish: async (_: string, message: Uint8Array) => void published.push(message),
  } as unknown as Network;
  const gossip = new RecordGossip({
    network,
    mayIssue: allows,
    messageOf: (said) => records.get(said)?.message,
    sealingLog: async (issuer, said, maxBytes) => {
      const seal = await intake.sealedIn(issuer, said);
      return seal === undefined ? new Uint8Array(0) : kel.export(issuer, seal.sn, maxBytes);
    },
    takeLog: async (issuer, log) => {
      await kel.process(log, { accepts: (aid) => aid === issuer });
    },
    take: (message) => intake.take(message, allows),
    behind: (peer) => void behind.push(peer),
  });
  gossip.join(mesh);
  return { gossip, published, behind, topics };
}

const recordOf = ({ records }: Party, said: Said) =>
  records.get(said)?.record as Verified<AnyRecord>;

async function revocation(party: Party): Promise<Said> {
  const fields = { k: 'node', who: party.identity.aid, from: at, why: 'stolen' } as const;
  const [said] = await party.issuer.issueSealed([{ type: 'rvk', fields }]);
  return said as Said;
}

describe('gossip of records', () => {
  it('brings a revocation with the event that seals it, once', async () => {
    const alice = await createParty('records alice');
    const bob = await createParty('records bob', alice.clock);
    await giveLog(alice, bob);
    const [ours, theirs] = [gossipOf(alice), gossipOf(bob)];
    assert.deepEqual(ours.topics, [recordTopic(mesh)]);
    const said = await revocation(alice);
    await ours.gossip.publish(recordOf(alice, said));
    const [message] = ours.published as [Uint8Array];
    assert.equal(await theirs.gossip.receive(message, from), 'accept');
    assert.ok(recordOf(bob, said));
    assert.equal(bob.kel.state(alice.identity.aid)?.said, alice.identity.state.said);
    assert.equal(await theirs.gossip.receive(message, from), 'ignore');
    assert.deepEqual(
      { ...theirs.gossip.counters },
      { accepted: 1, known: 1, refused: 0, stranger: 0, unknown: 0 },
    );
  });

  it('asks for what is missing when the log does not reach to the sealing event', async () => {
    const alice = await createParty('behind alice');
    const bob = await createParty('behind bob', alice.clock);
    await giveLog(alice, bob);
    await revocation(alice);
    const said = await revocation(alice);
    const [ours, theirs] = [gossipOf(alice), gossipOf(bob)];
    await ours.gossip.publish(recordOf(alice, said));
    assert.equal(await theirs.gossip.receive(ours.published[0] as Uint8Array, from), 'ignore');
    assert.deepEqual(theirs.behind, [from]);
    assert.equal(recordOf(bob, said), undefined);
  });

  it('brings an acknowledgement, and leaves what names a mesh or an address to sync', async () => {
    const alice = await createParty('types alice');
    const bob = await createParty('types bob', alice.clock);
    await giveLog(alice, bob);
    const [ours, theirs] = [gossipOf(alice), gossipOf(bob)];
    const ack = await alice.issuer.issue({ type: 'ack', fields: { r: mesh, at } });
    const end = await alice.issuer.issue({ type: 'end', fields: endFields(alice) });
    await ours.gossip.publish(recordOf(alice, ack.said));
    await ours.gossip.publish(recordOf(alice, end.said));
    assert.equal(ours.published.length, 1);
    assert.equal(await theirs.gossip.receive(ours.published[0] as Uint8Array, from), 'accept');
    const smuggled = encodeCbor([end.message, new Uint8Array(0)]);
    assert.equal(await theirs.gossip.receive(smuggled, from), 'reject');
    assert.equal(recordOf(bob, end.said), undefined);
  });

  it('blames nobody for a record of a later version, and passes it over', async () => {
    const bob = await createParty('later bob');
    const { gossip } = gossipOf(bob);
    for (const { bytes } of [criticalRecord(lowAid), newTypeRecord(lowAid)]) {
      const message = encodeCbor([bytes, new Uint8Array(0)]);
      assert.equal(await gossip.receive(message, from), 'ignore');
    }
    assert.equal(gossip.counters.unknown, 2);
    assert.equal(gossip.counters.refused, 0);
  });

  it('believes nobody who may not say so', async () => {
    const alice = await createParty('stranger alice');
    const bob = await createParty('stranger bob', alice.clock);
    await giveLog(alice, bob);
    const head = bob.kel.state(alice.identity.aid)?.said;
    const [ours, theirs] = [gossipOf(alice), gossipOf(bob, () => false)];
    await ours.gossip.publish(recordOf(alice, await revocation(alice)));
    assert.equal(await theirs.gossip.receive(ours.published[0] as Uint8Array, from), 'ignore');
    assert.equal(theirs.gossip.counters.stranger, 1);
    assert.equal(bob.kel.state(alice.identity.aid)?.said, head, 'not even its log is read');
  });

  it('never stores a changed message, nor fails on any bytes', async () => {
    const alice = await createParty('bytes alice');
    const bob = await createParty('bytes bob', alice.clock);
    await giveLog(alice, bob);
    const ours = gossipOf(alice);
    const said = await revocation(alice);
    await ours.gossip.publish(recordOf(alice, said));
    const message = ours.published[0] as Uint8Array;
    const [record] = decodeCbor(message) as [Uint8Array];
    const { gossip } = gossipOf(bob);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        assert.equal(await gossip.receive(bytes, from), 'reject');
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), async (where, xor) => {
        const changed = record.slice();
        const place = where % changed.length;
        changed[place] = (changed[place] as number) ^ xor;
        await gossip.receive(encodeCbor([changed, new Uint8Array(0)]), from);
        assert.equal(recordOf(bob, said), undefined);
      }),
    );
  });
});

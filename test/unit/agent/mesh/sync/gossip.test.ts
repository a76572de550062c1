import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { eventTopic, Gossip } from '#agent/mesh/sync/gossip';
import type { Network, PeerKey } from '#agent/network/network';
import { buildInteraction } from '#kel/event/interaction';
import { issuerOf } from '#kel/event/issuer-of';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Said } from '#kel/identifiers';
import { createParty, giveLog } from '../../../../support/kit/party.ts';

const from = '12D3KooWFrom' as PeerKey;
const mesh = `EA${'m'.repeat(42)}` as Said;

async function world(name: string) {
  const alice = await createParty(`${name} alice`);
  const bob = await createParty(`${name} bob`, alice.clock);
  await giveLog(alice, bob);
  const behind: PeerKey[] = [];
  const refused: unknown[] = [];
  const topics: string[] = [];
  const published: string[] = [];
  const known = new Set([alice.identity.aid]);
  const network = {
    subscribe: (topic: string) => void topics.push(topic),
    publish: async (topic: string) => void published.push(topic),
  } as unknown as Network;
  const gossip = new Gossip({
    network,
    issuerOf,
    known: (aid) => known.has(aid),
    process: (message) => bob.kel.process(message),
    behind: (peer) => void behind.push(peer),
    refused: (outcome) => void refused.push(outcome.code),
  });
  const events: Uint8Array[] = [];
  alice.kel.subscribe((_state, message) => void events.push(message.slice()));
  const anchor = async (letter: string) => {
    await alice.identity.anchor([digestSeal(`EA${letter.repeat(42)}` as Said)]);
    return events.at(-1) as Uint8Array;
  };
  return { alice, bob, gossip, behind, refused, topics, published, known, anchor };
}

describe('gossip of key events', () => {
  it('accepts an event, ignores it the second time, and asks for what is missing between', async () => {
    const { alice, bob, gossip, behind, anchor } = await world('order');
    const [first, second, third] = [await anchor('a'), await anchor('b'), await anchor('c')];
    assert.equal(await gossip.receive(first, from), 'accept');
    assert.equal(await gossip.receive(first, from), 'ignore');
    assert.deepEqual(behind, []);
    assert.equal(await gossip.receive(third, from), 'ignore');
    assert.deepEqual(behind, [from]);
    assert.equal(await gossip.receive(second, from), 'accept');
    assert.equal(bob.kel.state(alice.identity.aid)?.sn, 3);
    assert.deepEqual(
      { ...gossip.counters },
      { accepted: 2, duplicate: 1, waiting: 1, refused: 0, stranger: 0 },
    );
  });

  it('drops the event of a stranger before a signature is checked', async () => {
    const { bob, gossip, known, anchor } = await world('stranger');
    known.clear();
    let processed = 0;
    const { process } = bob.kel;
    bob.kel.process = (...args) => {
      processed += 1;
      return process.apply(bob.kel, args);
    };
    assert.equal(await gossip.receive(await anchor('a'), from), 'ignore');
    assert.equal(processed, 0);
    assert.equal(gossip.counters.stranger, 1);
  });

  it('passes on what a copy of a known event brings, once', async () => {
    const { bob, gossip, anchor } = await world('late');
    const event = await anchor('a');
    const { process } = bob.kel;
    const brings = [true, false];
    bob.kel.process = async (...args) =>
      (await process.apply(bob.kel, args)).map((outcome) =>
        outcome.verdict === 'duplicate'
          ? { ...outcome, brought: brings.shift() === true }
          : outcome,
      );
    assert.equal(await gossip.receive(event, from), 'accept');
    assert.equal(await gossip.receive(event, from), 'accept');
    assert.equal(await gossip.receive(event, from), 'ignore');
    assert.equal(gossip.counters.duplicate, 2);
  });

  it('holds a fork against its author and not against whoever passed it on', async () => {
    const { alice, gossip, refused, anchor } = await world('fork');
    const { identity } = alice;
    const event = buildInteraction({ prior: identity.state, anchors: [] });
    const other = encodeSignedEvent(event.bytes, await identity.sign(event.bytes));
    assert.equal(await gossip.receive(await anchor('a'), from), 'accept');
    assert.equal(await gossip.receive(other, from), 'ignore');
    assert.deepEqual(refused, ['KEL_DUPLICITOUS']);
    assert.equal(gossip.counters.refused, 1);
  });

  it('rejects what is not exactly one event, is too large, or does not verify', async () => {
    const { alice, gossip, refused, anchor } = await world('bad');
    const event = await anchor('a');
    const log = await alice.kel.export(alice.identity.aid);
    const forged = event.slice();
    const last = forged.length - 5;
    forged[last] = forged[last] === 0x41 ? 0x42 : 0x41;
    const bad = [
      new Uint8Array(0),
      new Uint8Array(40_000),
      log,
      event.slice(0, -4),
      event.slice(1),
      new Uint8Array([...event, ...event]),
    ];
    for (const message of bad) assert.equal(await gossip.receive(message, from), 'reject');
    assert.deepEqual(refused, []);
    assert.notEqual(await gossip.receive(forged, from), 'accept');
    assert.equal(gossip.counters.accepted, 0);
    assert.ok(gossip.counters.refused >= bad.length);
    assert.equal(await gossip.receive(event, from), 'accept');
  });

  it('publishes to its mesh once it has joined, and joins once', async () => {
    const { gossip, topics, published, anchor } = await world('topic');
    const event = await anchor('a');
    await gossip.publish(event);
    assert.deepEqual(published, []);
    gossip.join(mesh);
    gossip.join(mesh);
    await gossip.publish(event);
    assert.deepEqual(topics, [eventTopic(mesh)]);
    assert.deepEqual(published, [eventTopic(mesh)]);
  });
});

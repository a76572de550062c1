/** Witnessing and delegation between two agents' parts over real sockets. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, describe, it } from 'mocha';
import { NodeDesk } from '#agent/identity/node/node-desk';
import { bringRequest, serveNodes } from '#agent/identity/node/node-service';
import { encodeRequest, witnessLimits, witnessProtocol } from '#agent/identity/witness/messages';
import { OwnWitnesses } from '#agent/identity/witness/own-witnesses';
import { Witness } from '#agent/identity/witness/witness';
import { WitnessService } from '#agent/identity/witness/witness-service';
import { createLibp2pNetwork } from '#agent/network/libp2p';
import type { Network, PeerAddress, PeerKey } from '#agent/network/network';
import { parseStream } from '#kel/cesr/stream';
import { parseKeyEvent } from '#kel/event/parse';
import { digestSeal } from '#kel/event/seal';
import type { Aid } from '#kel/identifiers';
import { Secret } from '#src/secret';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { systemClock } from '../../../../support/doubles/system-clock.ts';
import { Organisation } from '../../../../support/kit/key-log.ts';
import { createParty, type Party, verifySignature } from '../../../../support/kit/party.ts';
import { approvesAll } from '../../../../support/kit/store-kit.ts';

const LOOPBACK = '/ip4/127.0.0.1/tcp/0' as PeerAddress;
const silent = { debug() {}, info() {}, warn() {}, error() {}, failed() {} };

const running: Network[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((network) => network.close()));
});

async function network(): Promise<Network> {
  const created = await createLibp2pNetwork({
    privateKey: Secret.take(randomBytes(32)),
    listen: [LOOPBACK],
    bootstrap: [],
    mdns: false,
    clock: systemClock,
  });
  running.push(created);
  return created;
}

/** Two connected peers. */
async function pair(): Promise<{ near: Network; far: Network; peer: PeerKey }> {
  const near = await network();
  const far = await network();
  return { near, far, peer: await near.dial(far.addresses()) };
}

function table(party: Party, name: string): Promise<StateTable> {
  return StateTable.open(party.disk.db as unknown as Database, name);
}

async function serveWitness(far: Network, party: Party, client: Party): Promise<Witness> {
  const witness = await Witness.open({
    keyStore: party.disk.keyStore,
    kel: party.kel,
    table: await table(party, 'witness'),
    clock: systemClock,
    algorithm: 'ed25519',
    journal: { warn: () => undefined },
    isMember: (aid) => aid === client.identity.aid,
  });
  new WitnessService({
    network: far,
    witness,
    clock: systemClock,
    aidOf: () => client.identity.aid,
  }).start();
  return witness;
}

describe('witness over libp2p', () => {
  it('receipts own events, from the beginning of a log that it has never seen', async () => {
    const { near, far, peer } = await pair();
    const [client, other] = [await createParty('client'), await createParty('other')];
    const witness = await serveWitness(far, other, client);
    const { identity, kel } = client;
    const deps = {
      network: near,
      peerOf: (aid: Aid) => (aid === other.identity.aid ? peer : undefined),
      kel,
      table: await table(client, 'witnessed'),
      clock: systemClock,
      journal: silent,
      self: identity.aid,
      signal: new AbortController().signal,
    };
    const own = new OwnWitnesses(deps);
    identity.confirmWith(own);
    const { aid, serves } = await own.identify(other.identity.aid);
    assert.deepEqual([aid, serves], [witness.aid, true]);
    await identity.anchor([digestSeal(identity.state.said)]);
    await identity.rotate({ witnessAdds: [aid] });
    const { sn } = await identity.anchor([]);
    assert.equal(identity.state.witnessThreshold, 1);
    const [status] = own.status(identity.state);
    assert.deepEqual(status, {
      aid,
      operator: other.identity.aid,
      connected: true,
      sn,
      lagSeconds: 0,
      reason: undefined,
    });
    assert.equal(witness.counters.receipts, 2);
    // The receipt of the last event has not come back to the witness: it holds that event still, for its owner.
    const restarted = new OwnWitnesses(deps);
    const [item] = parseStream((await restarted.recall([aid]))[0] ?? new Uint8Array(0));
    assert.ok(item?.type === 'message');
    assert.equal(parseKeyEvent(item.body).said, identity.state.said);
    assert.deepEqual(await restarted.recall([aid]), []);
  });

  it('answers noise with a code, one peer only so often, and no more streams than allowed', async () => {
    const { near, far, peer } = await pair();
    const [client, other] = [await createParty('noisy'), await createParty('patient')];
    await serveWitness(far, other, client);
    const stream = await near.open(peer, witnessProtocol, witnessLimits);
    const answers = new Map<string, number>();
    for (let n = 0; n < 250; n++) {
      await stream.send(n < 10 ? Buffer.from('noise') : encodeRequest({ kind: 'who' }));
      const answer = Buffer.from((await stream.receive()) ?? []).toString('latin1');
      const word = /WITNESS_BAD_REQUEST|WITNESS_BUSY|witness/.exec(answer)?.[0] ?? 'none';
      answers.set(word, (answers.get(word) ?? 0) + 1);
    }
    await stream.close();
    const { WITNESS_BAD_REQUEST, WITNESS_BUSY = 0, witness = 0 } = Object.fromEntries(answers);
    assert.equal(WITNESS_BAD_REQUEST, 10);
    assert.equal(WITNESS_BUSY + witness, 240);
    assert.ok(WITNESS_BUSY > 0);
  });
});

describe('node over libp2p', () => {
  it('asks until it is approved, and is told why when it never will be', async () => {
    const { near, far, peer } = await pair();
    const organisation = await createParty('organisation');
    const { identity, kel, clock } = organisation;
    const desk = await NodeDesk.open({
      identity,
      kel,
      clock,
      verifySignature,
      table: await table(organisation, 'nodes'),
    });
    serveNodes(far, desk, systemClock);
    const node = new Organisation('node over libp2p');
    const dip = node.incept({ delegator: identity.aid }, { delegator: approvesAll });
    const bring = (message: Uint8Array) => bringRequest(near, systemClock, peer, 'node-1', message);
    assert.deepEqual(await bring(dip.message), { kind: 'waiting' });
    const approval = await desk.approve(desk.find('node-1'));
    const answer = await bring(dip.message);
    assert.ok(answer.kind === 'approved');
    assert.deepEqual(Buffer.from(answer.stream), Buffer.from(approval.stream));
    const refused = await bring(new Organisation('stranger').incept().message);
    assert.equal(refused.kind === 'refused' && refused.code, 'NODE_BAD_REQUEST');
  });
});

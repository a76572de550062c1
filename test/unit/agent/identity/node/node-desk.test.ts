import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { NodeDesk } from '#agent/identity/node/node-desk';
import { formatNodeRequest, nodeRequest, parseNodeRequest } from '#agent/identity/node/request';
import { buildInteraction } from '#kel/event/interaction';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import { LogVerifier } from '#kel/verify/log-verifier';
import { concatBytes } from '#src/bytes';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { Organisation, type Step, sign, verifySignature } from '../../../../support/kit/key-log.ts';
import { codeOf, createParty, openParty, type Party } from '../../../../support/kit/party.ts';
import { approvesAll } from '../../../../support/kit/store-kit.ts';

const delegated = { delegator: approvesAll };

async function deskOf(party: Party): Promise<NodeDesk> {
  const { identity, kel, clock, disk } = party;
  const table = await StateTable.open(disk.db as unknown as Database, 'nodes');
  return NodeDesk.open({ identity, kel, table, clock, verifySignature });
}

async function setting(name: string) {
  const party = await createParty(name);
  const node = new Organisation(`${name} node`);
  const dip = node.incept({ delegator: party.identity.aid }, delegated);
  return { party, desk: await deskOf(party), node, dip };
}

function rotated(node: Organisation): { stream: Uint8Array; drt: Step } {
  const { length } = node.steps;
  const drt = node.rotate({}, delegated);
  return {
    stream: concatBytes(...node.steps.slice(0, length).map((step) => step.message), drt.message),
    drt,
  };
}

describe('node desk', () => {
  it('approves a request line, and its answer is all that anybody needs', async () => {
    const { party, desk, dip } = await setting('line');
    const request = parseNodeRequest(formatNodeRequest('node-1', dip.message));
    const approval = await desk.approve(request);
    assert.deepEqual(approval.event, { sn: 0, said: dip.said });
    const verifier = new LogVerifier(verifySignature);
    verifier.feed(approval.stream);
    assert.deepEqual(verifier.finish().waiting, []);
    assert.equal(verifier.state(dip.aid)?.delegator, party.identity.aid);
    const [entry, ...others] = await desk.list();
    assert.deepEqual(others, []);
    assert.equal(entry?.name, 'node-1');
    assert.deepEqual(entry?.sealSource, approval.sealSource);
    assert.equal(entry?.sealSource?.said, party.identity.state.said);
  });

  it('seals an event once, however often it is approved', async () => {
    const { party, desk, dip } = await setting('once');
    const request = nodeRequest('node-1', dip.message);
    const first = await desk.approve(request);
    const { sn } = party.identity.state;
    assert.deepEqual(await (await deskOf(party)).approve(request), first);
    assert.equal(party.identity.state.sn, sn);
  });

  it('keeps a request that arrives until it is approved, and knows it then after a restart', async () => {
    const { party, desk, dip } = await setting('arrives');
    assert.equal(await desk.receive('node-1', dip.message, 'peer'), undefined);
    assert.equal(await desk.receive('node-1', dip.message, 'peer'), undefined);
    const [entry] = await desk.list();
    assert.equal(entry?.state, undefined);
    assert.equal(entry?.request?.said, dip.said);
    assert.equal(desk.find('node-1').event.said, dip.said);
    await desk.approve(desk.find(dip.aid));
    assert.equal(await codeOf(Promise.resolve().then(() => desk.find('node-1'))), 'NODE_UNKNOWN');
    const again = await deskOf(await openParty(party.disk));
    assert.notEqual(await again.receive('node-1', dip.message, 'peer'), undefined);
  });

  it('writes nothing for a request that nobody has approved, and takes away what earlier versions wrote', async () => {
    const { party, desk } = await setting('memory');
    const table = await StateTable.open(party.disk.db as unknown as Database, 'nodes');
    await table.put({ 'request.EAAA': { aid: 'EAAA', name: 'node-1', sn: 0, said: 'EAAA' } });
    const { writes } = party.disk.db;
    for (let n = 0; n < 80; n++) {
      const { message } = new Organisation(`memory ${n}`).incept(
        { delegator: party.identity.aid },
        delegated,
      );
      await desk.receive(`node-${n}`, message, `peer ${n}`);
    }
    assert.equal(party.disk.db.writes, writes);
    assert.deepEqual((party.kel as LevelKelStore).waiting(), []);
    const again = await deskOf(await openParty(party.disk));
    assert.deepEqual(await again.list(), []);
    assert.equal(table.get('request.EAAA'), undefined);
  });

  it('approves by a name only when one alone carries it, and shows the keys of all', async () => {
    const { party, desk, dip } = await setting('namesakes');
    const other = new Organisation('namesake');
    const forged = other.incept({ delegator: party.identity.aid }, delegated);
    await desk.receive('node-1', dip.message, 'peer');
    await desk.receive('node-1', forged.message, 'stranger');
    const found = Promise.resolve().then(() => desk.find('node-1'));
    const error = await found.catch((reason: Error & { code: string }) => reason);
    assert.ok(error instanceof Error && 'code' in error && error.code === 'NODE_AMBIGUOUS');
    for (const { state } of [dip, forged])
      for (const text of [state.aid, ...state.keys]) assert.ok(error.message.includes(text), text);
    await desk.approve(desk.find(dip.aid));
    // The one that is approved holds the name now.
    assert.equal(await codeOf(Promise.resolve().then(() => desk.find('node-1'))), 'NODE_AMBIGUOUS');
    assert.equal(desk.find(forged.aid).event.said, forged.said);
  });

  it('loses no request of a known node, and those of one peer before those of others, to a crowd', async () => {
    const { party, desk, node, dip } = await setting('crowd');
    await desk.approve(nodeRequest('node-1', dip.message));
    const { stream, drt } = rotated(node);
    await desk.receive('node-1', stream, 'node');
    const honest = new Organisation('crowd honest').incept(
      { delegator: party.identity.aid },
      delegated,
    );
    await desk.receive('honest', honest.message, 'honest');
    for (let n = 0; n < 100; n++) {
      const { message } = new Organisation(`crowd ${n}`).incept(
        { delegator: party.identity.aid },
        delegated,
      );
      await desk.receive(`crowd-${n}`, message, 'stranger');
    }
    assert.equal(desk.find(honest.aid).event.said, honest.said);
    assert.equal(desk.find(dip.aid).event.said, drt.said);
    assert.equal((await desk.list()).length, 1 + 1 + 4);
    assert.equal(desk.dropped, 96);
  });

  it('approves a rotation with what came before it, under the name that it knows', async () => {
    const { desk, node, dip } = await setting('rotation');
    await desk.approve(nodeRequest('node-1', dip.message));
    node.anchor([], delegated);
    const { stream, drt } = rotated(node);
    assert.equal(await desk.receive('another-name', stream, 'peer'), undefined);
    const approval = await desk.approve(desk.find(dip.aid));
    assert.equal(approval.name, 'node-1');
    assert.equal(approval.event.said, drt.said);
    const [entry] = await desk.list();
    assert.equal(entry?.state?.said, drt.said);
    assert.equal(entry?.name, 'node-1');
  });

  it('refuses what is not its node, not signed, or no request at all', async () => {
    const { party, desk, node, dip } = await setting('refuses');
    const other = new Organisation('other organisation');
    other.incept();
    const stranger = new Organisation('stranger node').incept({ delegator: other.aid }, delegated);
    const plain = new Organisation('plain').incept();
    const ixn = buildInteraction({ prior: node.state, anchors: [] });
    const cases: [Uint8Array, string][] = [
      [stranger.message, 'NODE_NOT_OURS'],
      [plain.message, 'NODE_BAD_REQUEST'],
      [dip.bytes, 'NODE_BAD_REQUEST'],
      [encodeSignedEvent(dip.bytes, sign(dip.bytes, node.keys(7))), 'NODE_BAD_REQUEST'],
      [encodeSignedEvent(ixn.bytes, sign(ixn.bytes, node.keys(0))), 'NODE_BAD_REQUEST'],
      [concatBytes(dip.message, dip.message), 'NODE_BAD_REQUEST'],
      [dip.message.subarray(0, -4), 'NODE_BAD_REQUEST'],
      [new Uint8Array(0), 'NODE_BAD_REQUEST'],
    ];
    for (const [stream, code] of cases) {
      assert.equal(await codeOf(desk.receive('node-1', stream, 'peer')), code);
    }
    assert.equal(await codeOf(desk.receive('Not A Name', dip.message, 'peer')), 'NODE_BAD_REQUEST');
    assert.deepEqual(await desk.list(), []);
    assert.equal(party.identity.state.sn, 0);
  });

  it('keeps 64 requests, the newest', async () => {
    const { party, desk } = await setting('bound');
    const requests = Array.from({ length: 66 }, (_, n) =>
      new Organisation(`bound ${n}`).incept({ delegator: party.identity.aid }, delegated),
    );
    for (const [n, { message }] of requests.entries())
      await desk.receive(`node-${n}`, message, `peer ${n}`);
    assert.equal((await desk.list()).length, 64);
    assert.equal(desk.dropped, 2);
    assert.equal(desk.find('node-65').name, 'node-65');
    assert.equal(await codeOf(Promise.resolve().then(() => desk.find('node-1'))), 'NODE_UNKNOWN');
  });

  it('has approved or not after a write that fails, and approves when asked again', async () => {
    for (let n = 1; n <= 4; n++) {
      for (const how of ['lost', 'persisted'] as const) {
        const { party, desk, dip } = await setting(`crash ${n} ${how}`);
        const request = nodeRequest('node-1', dip.message);
        party.disk.db.failAt(n, how);
        await codeOf(desk.approve(request));
        party.disk.db.heal();
        const again = await openParty(party.disk);
        const restarted = await deskOf(again);
        await restarted.approve(request);
        const [entry] = await restarted.list();
        assert.equal(entry?.state?.said, dip.said);
        assert.equal(entry?.name, 'node-1');
        assert.equal(again.identity.state.sn, 1, `write ${n} ${how}: sealed once`);
      }
    }
  });
});

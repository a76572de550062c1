import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { NodeDesk } from '#agent/node/node-desk';
import { formatNodeRequest, nodeRequest, parseNodeRequest } from '#agent/node/request';
import { StateTable } from '#agent/state-table';
import { buildInteraction } from '#kel/event/interaction';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Database } from '#kel/store/durable-table';
import { LogVerifier } from '#kel/verify/log-verifier';
import { concatBytes } from '#src/bytes';
import { Organisation, type Step, sign, verifySignature } from '../../kel/organisation.ts';
import { approvesAll } from '../../kel-store/store-kit.ts';
import { codeOf, createParty, openParty, type Party } from '../party.ts';

const delegated = { delegator: approvesAll };

async function deskOf(party: Party): Promise<NodeDesk> {
  const { identity, kel, clock, disk } = party;
  const table = await StateTable.open(disk.db as unknown as Database, 'nodes');
  return NodeDesk.open({ identity, kel, table, clock });
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

  it('keeps a request that arrives, across restarts, until it is approved', async () => {
    const { party, desk, dip } = await setting('arrives');
    assert.equal(await desk.receive('node-1', dip.message), undefined);
    assert.equal(await desk.receive('node-1', dip.message), undefined);
    const again = await deskOf(await openParty(party.disk));
    const [entry] = await again.list();
    assert.equal(entry?.state, undefined);
    assert.equal(entry?.request?.said, dip.said);
    assert.equal(again.find('node-1').event.said, dip.said);
    await again.approve(again.find(dip.aid));
    assert.equal(await codeOf(Promise.resolve().then(() => again.find('node-1'))), 'NODE_UNKNOWN');
    assert.notEqual(await again.receive('node-1', dip.message), undefined);
  });

  it('approves a rotation with what came before it, under the name that it knows', async () => {
    const { desk, node, dip } = await setting('rotation');
    await desk.approve(nodeRequest('node-1', dip.message));
    node.anchor([], delegated);
    const { stream, drt } = rotated(node);
    assert.equal(await desk.receive('another-name', stream), undefined);
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
      assert.equal(await codeOf(desk.receive('node-1', stream)), code);
    }
    assert.equal(await codeOf(desk.receive('Not A Name', dip.message)), 'NODE_BAD_REQUEST');
    assert.deepEqual(await desk.list(), []);
    assert.equal(party.identity.state.sn, 0);
  });

  it('keeps 64 requests, the newest', async () => {
    const { party, desk } = await setting('bound');
    const requests = Array.from({ length: 66 }, (_, n) =>
      new Organisation(`bound ${n}`).incept({ delegator: party.identity.aid }, delegated),
    );
    for (const [n, { message }] of requests.entries()) await desk.receive(`node-${n}`, message);
    assert.equal((await desk.list()).length, 64);
    assert.equal(desk.dropped, 2);
    assert.equal((await (await deskOf(party)).list()).length, 64);
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

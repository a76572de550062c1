/** Logs that others have confirmed, as agents write them: receipts of witnesses, seals of an organisation, in both kinds. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { takeApproval } from '#agent/identity/node/approval';
import { NodeDesk } from '#agent/identity/node/node-desk';
import { nodeRequest, requestStream } from '#agent/identity/node/request';
import { Identity, type IdentityDeps } from '#agent/identity/own/identity';
import { digestSeal } from '#kel/event/seal';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import {
  codeOf,
  type Disk,
  identityDeps,
  newDisk,
  verifySignature,
} from '../../support/kit/party.ts';
import { Witnesses, witnesses } from '../../support/kit/witnesses.ts';
import { keripyMissing, keripyStates } from '../../support/machines/keripy.ts';
import { skip } from '../../support/skip.ts';

const [first, second, third] = witnesses.map(({ aid }) => aid);

/** Adds witnesses, anchors, rotates, cuts one, rotates again. */
async function live(
  identity: Identity,
  confirmed: (task: () => Promise<unknown>) => Promise<void>,
) {
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  await confirmed(() => identity.rotate({ witnessAdds: [first, second], witnessThreshold: 2 }));
  await identity.anchor([digestSeal(identity.state.said)]);
  await confirmed(() => identity.rotate());
  await confirmed(() => identity.rotate({ witnessCuts: [first], witnessAdds: [third] }));
  await identity.anchor([]);
}

/** As a running agent of the node does it: what waits is approved, accepted and finished. */
async function approved(
  deps: IdentityDeps,
  desk: NodeDesk,
  identity: Identity,
  task: () => Promise<unknown>,
) {
  assert.equal(await codeOf(task()), 'IDENTITY_AWAITS_DELEGATOR');
  const { pending } = identity;
  assert.ok(pending !== undefined);
  const { stream } = await desk.approve(
    nodeRequest('node', await requestStream(deps.kel, pending)),
  );
  await takeApproval(deps.kel, pending, stream);
  assert.equal(await identity.resume(), true);
}

async function nodeOf(
  kind: 'CBOR' | 'JSON',
  above: Identity,
  desk: NodeDesk,
): Promise<IdentityDeps> {
  const disk = newDisk(`keripy node ${kind}`);
  const deps = await identityDeps(disk);
  const options = { algorithm: 'ed25519', kind, delegator: above.aid } as const;
  const pending = await Identity.request(deps, options);
  const { stream } = await desk.approve(
    nodeRequest('node', Buffer.from(pending.message, 'base64')),
  );
  await takeApproval(deps.kel, pending, stream);
  return deps;
}

function deskOf(disk: Disk, { kel, clock }: IdentityDeps, identity: Identity): Promise<NodeDesk> {
  return StateTable.open(disk.db as unknown as Database, 'nodes').then((table) =>
    NodeDesk.open({ identity, kel, clock, verifySignature, table }),
  );
}

describe('confirmed logs, read by KERIpy', () => {
  for (const kind of ['CBOR', 'JSON'] as const) {
    it(`${kind}: a witnessed organisation and its witnessed node, to the same key state`, async function () {
      this.timeout(300_000);
      const missing = await keripyMissing();
      if (missing !== undefined) skip(this, missing);
      const disk = newDisk(`keripy organisation ${kind}`);
      const deps = await identityDeps(disk);
      const organisation = await Identity.create(deps, { algorithm: 'ed25519', kind });
      organisation.confirmWith(new Witnesses());
      await live(organisation, async (task) => void (await task()));
      const desk = await deskOf(disk, deps, organisation);
      const nodeDeps = await nodeOf(kind, organisation, desk);
      const node = await Identity.open(nodeDeps);
      node.confirmWith(new Witnesses());
      await live(node, (task) => approved(nodeDeps, desk, node, task));
      const streams = [
        await deps.kel.export(organisation.aid),
        await nodeDeps.kel.export(node.aid),
      ];
      const states = await keripyStates(streams);
      for (const { state } of [organisation, node]) {
        const read = states.find(({ aid }) => aid === state.aid);
        assert.deepEqual(
          {
            sn: read?.sn,
            said: read?.said,
            keys: read?.keys,
            witnesses: read?.witnesses,
            threshold: read?.witnessThreshold,
            delegator: read?.delegator ?? undefined,
          },
          {
            sn: state.sn,
            said: state.said,
            keys: state.keys,
            witnesses: state.witnesses,
            threshold: state.witnessThreshold,
            delegator: state.delegator,
          },
        );
      }
    });
  }
});

/** Agents on virtual time whose events need receipts of each other. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'mocha';
import { parseStream } from '#kel/cesr/stream';
import { digestSeal } from '#kel/event/seal';
import { codeOf } from '../support/kit/party.ts';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';

let federation: SimulatedFederation | undefined;

afterEach(() => federation?.abandon());

/** Four members; the first three are witnesses of the last, and two receipts make its events final. */
async function witnessed(seed: string) {
  federation = await SimulatedFederation.create({ seed, size: 4 });
  await federation.found();
  await federation.admit(federation.agents.slice(1));
  const [a, b, c, client] = federation.agents as [
    SimulatedAgent,
    SimulatedAgent,
    SimulatedAgent,
    SimulatedAgent,
  ];
  const witnesses = [a, b, c] as const;
  await connected(client, witnesses);
  for (const witness of witnesses) await addWitness(federation, client, witness);
  return { federation, client, witnesses };
}

async function connected(client: SimulatedAgent, others: readonly SimulatedAgent[]): Promise<void> {
  await federation?.until(
    () =>
      others.every(({ aid }) => client.running.directory.peerOf(aid) !== undefined) &&
      !client.running.tunnels.isRotating,
    120_000,
    () => 'the witnesses are connected',
    1_000,
  );
}

async function addWitness(
  federation: SimulatedFederation,
  client: SimulatedAgent,
  witness: SimulatedAgent,
): Promise<void> {
  const { running } = client;
  const work = running.witnesses
    .identify(witness.aid)
    .then(({ aid }) => running.rotate({ witnessAdds: [aid] }));
  await federation.clock.run(work);
  await federation.until(
    () => !running.tunnels.isRotating,
    400_000,
    () => 'the tunnels have changed over',
    1_000,
  );
}

function stateAt(agent: SimulatedAgent, client: SimulatedAgent) {
  return agent.organisation.kel.state(client.aid);
}

async function receiptsOf(agent: SimulatedAgent, client: SimulatedAgent): Promise<number> {
  const { kel } = agent.organisation;
  const sn = stateAt(agent, client)?.sn ?? 0;
  const [item] = parseStream(await kel.export(client.aid, sn, 1));
  return item?.type === 'message' ? item.attachments.witnessSignatures.length : 0;
}

/** Begins to seal, and takes `witness` away when the event is signed and nobody has it yet. */
async function anchorWithout(client: SimulatedAgent, witness: SimulatedAgent): Promise<void> {
  const { identity } = client.organisation;
  const work = codeOf(identity.anchor(seal(client)));
  while (identity.pending === undefined) await new Promise((resolve) => setImmediate(resolve));
  witness.crash();
  assert.equal(await federation?.clock.run(work), 'IDENTITY_AWAITS_WITNESSES');
}

const seal = (agent: SimulatedAgent) => [digestSeal(agent.organisation.identity.state.said)];

describe('witnessed federation', function () {
  this.timeout(30_000);

  it('makes an event final with the threshold, everywhere, and carries late receipts after it', async () => {
    const { federation, client, witnesses } = await witnessed('final');
    const { identity } = client.organisation;
    assert.equal(identity.state.witnesses.length, 3);
    assert.equal(identity.state.witnessThreshold, 3);
    const { sn } = await federation.clock.run(identity.anchor(seal(client)));
    await federation.until(
      () => witnesses.every((agent) => stateAt(agent, client)?.sn === sn),
      60_000,
      () => 'the event is everywhere',
      1_000,
    );
    for (const agent of [client, ...witnesses]) assert.equal(await receiptsOf(agent, client), 3);
    assert.deepEqual(
      client.running.witnesses.status(identity.state).map(({ lagSeconds }) => lagSeconds),
      [0, 0, 0],
    );
  });

  it('signs nothing while too few can be asked, and publishes nothing that is not final', async () => {
    const { federation, client, witnesses } = await witnessed('away');
    const { identity } = client.organisation;
    const before = identity.state;
    witnesses[2].crash();
    await federation.clock.advance(30_000);
    assert.equal(
      await federation.clock.run(codeOf(identity.anchor(seal(client)))),
      'IDENTITY_AWAITS_WITNESSES',
    );
    assert.equal(identity.pending, undefined);
    assert.equal(identity.state.said, before.said);
    const status = client.running.witnesses.status(identity.state);
    assert.deepEqual(
      status.map(({ connected }) => connected),
      [true, true, false],
    );
  });

  it('finishes by itself what a witness that went away in between has delayed', async () => {
    const { federation, client, witnesses } = await witnessed('between');
    const [, , last] = witnesses;
    const { identity } = client.organisation;
    const { sn } = identity.state;
    await anchorWithout(client, last);
    const { pending } = identity;
    assert.equal(pending?.sn, sn + 1);
    for (const agent of federation.agents.slice(0, 2))
      assert.equal(stateAt(agent, client)?.sn, sn, 'not final, so not in a log');
    await last.start();
    await federation.until(
      () =>
        identity.pending === undefined &&
        witnesses.every((agent) => stateAt(agent, client)?.said === pending?.said),
      180_000,
      () => 'the event is final everywhere',
      1_000,
    );
  });

  it('survives a crash with the event on its way', async () => {
    const { federation, client, witnesses } = await witnessed('crash');
    const { sn } = client.organisation.identity.state;
    for (let write = 1; write <= 2; write++) {
      client.crashAtWrite(write);
      await federation.clock
        .run(codeOf(client.organisation.identity.anchor(seal(client))))
        .catch(() => undefined);
      client.crash();
      await federation.clock.advance(5_000);
      await client.start();
      await connected(client, witnesses);
      await federation.until(
        () => client.organisation.identity.pending === undefined,
        180_000,
        () => 'what was pending is final',
        1_000,
      );
    }
    const { identity } = client.organisation;
    await federation.clock.run(identity.anchor(seal(client)));
    assert.ok(identity.state.sn > sn);
    for (const agent of federation.agents)
      assert.deepEqual(agent.organisation.witness.conflicts, []);
  });

  it('cuts a witness that is gone, and seals with the rotation what had waited', async () => {
    const { federation, client, witnesses } = await witnessed('cut');
    const [, , last] = witnesses;
    const { identity, intake } = client.organisation;
    const sealed = identity.state.said;
    await anchorWithout(client, last);
    assert.equal(identity.pending?.type, 'ixn');
    const [, , gone] = identity.state.witnesses;
    assert.ok(gone !== undefined);
    await federation.clock.run(client.running.rotate({ witnessCuts: [gone], witnessThreshold: 2 }));
    assert.equal(identity.pending, undefined);
    assert.equal(identity.state.witnesses.length, 2);
    assert.equal(
      (await intake.sealedIn(client.aid, sealed))?.said,
      identity.state.establishment.said,
    );
    for (const agent of federation.agents.slice(0, 2))
      assert.deepEqual(agent.organisation.witness.conflicts, []);
  });
});

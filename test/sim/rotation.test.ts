/** Rotations and revocations of a small federation on virtual time: the whole agent, with crashes, loss and peers that are away. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { revokeEpoch, revokeOrganisation } from '#agent/control/revoke';
import { openedValues, parseLeaf } from '#agent/evidence/format/leaf';
import { revocationRows } from '#agent/mesh/revocation/acknowledgements';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';
import {
  differences,
  SimulatedInvariants,
  summary,
} from '../support/simulation/simulated-invariants.ts';

const SETTLE_MS = 900_000;

async function federationOf(seed: string, size: number, skew?: (n: number) => number) {
  const federation = await SimulatedFederation.create({ seed, size, ...(skew ? { skew } : {}) });
  const invariants = new SimulatedInvariants(federation);
  federation.world.setDelay(2, 20);
  await federation.found();
  await federation.admit(federation.agents.slice(1));
  await settled(federation);
  return { federation, invariants };
}

function settled(federation: SimulatedFederation, members = federation.agents): Promise<number> {
  return federation.until(
    () => differences(federation, members).length === 0,
    SETTLE_MS,
    () => summary(differences(federation, members)),
    1_000,
  );
}

const epochOf = (agent: SimulatedAgent) => agent.running.ownKeys.current.record.e;
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: { code?: string }) => error.code,
  );
const rows = (agent: SimulatedAgent) =>
  revocationRows(agent.organisation, (aid) => agent.running.sync.heardAt(aid));

describe('rotation in a federation', function () {
  this.timeout(120_000);
  let federation: SimulatedFederation;
  let invariants: SimulatedInvariants;
  let agents: readonly [SimulatedAgent, SimulatedAgent, SimulatedAgent];

  before(async () => {
    ({ federation, invariants } = await federationOf('rotation', 3));
    agents = federation.agents as unknown as typeof agents;
  });

  after(() => federation.abandon());

  it('takes tunnel keys to the next epoch under the same event, shown step by step', async () => {
    const [a, b] = agents;
    const before = a.organisation.identity.state.establishment.said;
    const done = federation.perform(a.running.rotateTunnelKeys());
    const record = await done;
    assert.deepEqual([record.e, record.es.d], [1, before]);
    const seen = new Set<string>();
    for (let i = 0; i < 200; i++) {
      for (const agent of [a, b])
        for (const row of await agent.running.rotations.status()) {
          assert.equal(row.kind, 'tunnel');
          assert.equal(row.epoch, 1);
          assert.ok(row.deadline > row.since);
          seen.add(`${row.step} ${row.detail}`);
        }
      await federation.clock.advance(5);
    }
    assert.ok(seen.has('retire draining'), [...seen].join(', '));
    await federation.clock.advance(200_000);
    await settled(federation);
    assert.deepEqual(await a.running.rotations.status(), []);
    assert.deepEqual(await b.running.rotations.status(), []);
    assert.deepEqual(await receiptsOf(a, b), ['staged', 'warmed', 'flipped', 'drained']);
    assert.deepEqual(await receiptsOf(b, a), ['staged', 'warmed', 'flipped', 'drained']);
    invariants.assertHeld();
  });

  it('makes fresh agreements whichever end asks, and proves them by a handshake', async () => {
    for (const agent of agents) {
      const others = agents.filter((other) => other !== agent);
      const before = others.map(({ aid }) => thOf(agent, aid));
      await federation.clock.advance(5_000);
      const results = await federation.perform(agent.running.rotations.psk(undefined, true));
      assert.deepEqual(
        results.map(({ agreed, proven, reason }) => ({ agreed, proven, reason })),
        others.map(() => ({ agreed: true, proven: true, reason: null })),
      );
      for (const [i, other] of others.entries()) {
        assert.notEqual(thOf(agent, other.aid), before[i]);
        assert.equal(thOf(agent, other.aid), thOf(other, agent.aid));
      }
      await settled(federation);
      await federation.until(
        () => others.every((other) => isProven(agent, other) && isProven(other, agent)),
        200_000,
        () => 'the fresh agreements are not proven',
        1_000,
      );
    }
    invariants.assertHeld();
  });

  it('asks for the agreement again when a crash came between, at any write', async () => {
    const [a, b] = [...agents].sort((x, y) => (x.aid < y.aid ? -1 : 1)) as unknown as typeof agents;
    for (const [asking, crashing] of [
      [a, a],
      [a, b],
      [b, a],
      [b, b],
    ] as const) {
      for (const write of [1, 2, 3, 5]) {
        await federation.clock.advance(5_000);
        crashing.crashAtWrite(write);
        const peer = asking === a ? b : a;
        await federation
          .perform(
            asking.running.rotations
              .psk(peer.aid, false)
              .catch(() => undefined)
              .then(() => undefined),
          )
          .catch(() => undefined);
        await federation.clock.advance(1_000);
        crashing.crash();
        await crashing.start();
        await federation.until(
          () => [a, b].every((agent) => agent.running.agreements.renewals.length === 0),
          60_000,
          () => JSON.stringify([a, b].map((agent) => agent.running.agreements.renewals)),
          1_000,
        );
        await settled(federation);
        assert.equal(thOf(a, b.aid), thOf(b, a.aid));
      }
    }
    invariants.assertHeld();
  });

  it('keeps every tunnel up when two rotations begin at one time', async () => {
    const [a, b, c] = agents;
    await federation.clock.advance(400_000);
    await federation.perform(
      Promise.allSettled([a.running.rotate(), a.running.rotateTunnelKeys(), a.running.rotate()]),
    );
    for (let i = 0; i < 50; i++) {
      await federation.clock.advance(10_000);
      for (const other of [b, c]) {
        assert.equal(federation.tunnels.passage(a.name, other.name), 'passes');
        assert.equal(federation.tunnels.passage(other.name, a.name), 'passes');
      }
    }
    await settled(federation);
    await federation.clock.advance(200_000);
    assert.deepEqual(await a.running.rotations.status(), []);
    invariants.assertHeld();
  });

  it('refuses a name that is not in the charter before anything is touched', async () => {
    const [a, b] = agents;
    const head = a.organisation.identity.state.said;
    for (const name of ['nobody', a.name, a.aid, `E${'A'.repeat(43)}`]) {
      assert.throws(() => a.running.rotations.members(name), { code: 'ROTATION_NOT_A_MEMBER' });
      assert.throws(() => a.running.rotations.plan('all', name), { code: 'ROTATION_NOT_A_MEMBER' });
      assert.equal(await codeOf(a.running.rotations.psk(name, false)), 'ROTATION_NOT_A_MEMBER');
    }
    assert.equal(a.organisation.identity.state.said, head);
    assert.deepEqual(
      a.running.rotations.plan('psk', b.name).pairs.map(({ pair, when }) => ({ pair, when })),
      [{ pair: b.name, when: 'now' }],
    );
  });

  it('is refused because of no peer that is away: its tunnel goes with the second one, is shown, and comes back with it', async () => {
    const [a, b, c] = agents;
    await federation.clock.advance(200_000);
    c.crash();
    await federation.clock.advance(30_000);
    const first = epochOf(a);
    await federation.perform(a.running.rotateTunnelKeys());
    await federation.clock.advance(250_000);
    const [waiting] = (await a.running.rotations.status()).filter(({ aid }) => aid === c.aid);
    assert.deepEqual(
      [waiting?.step, waiting?.detail, waiting?.waitsFor],
      ['prepare', 'waiting', 'the peer is not connected'],
    );
    const planned = (name: string) =>
      a.running.rotations.plan('tunnel', undefined).pairs.find(({ pair }) => pair === name);
    assert.deepEqual(
      [planned(b.name)?.leftBehind, planned(c.name)?.leftBehind],
      [false, true],
      'the plan says whose tunnel goes',
    );
    await federation.perform(a.running.rotateTunnelKeys());
    assert.equal(epochOf(a), first + 2);
    const [behind] = (await a.running.rotations.status()).filter(({ aid }) => aid === c.aid);
    assert.deepEqual([behind?.kind, behind?.detail], ['tunnel', 'left-behind']);
    assert.match(behind?.waitsFor ?? '', /not connected/);
    assert.equal(a.running.tunnels.activeView(c.aid), undefined);
    await federation.clock.advance(200_000);
    assert.equal(federation.tunnels.passage(a.name, b.name), 'passes');
    await c.start();
    await settled(federation);
    assert.equal(federation.tunnels.passage(a.name, c.name), 'passes');
    assert.equal(a.running.tunnels.leftBehind(c.aid), undefined);
    invariants.assertHeld();
  });

  it('follows one rotation after the other without a pause, and no tunnel of a peer that is there waits', async () => {
    const [a, ...others] = agents;
    await federation.clock.advance(400_000);
    const first = epochOf(a);
    const seen = new Set<string>();
    const rotated = federation.perform(
      (async () => {
        for (let i = 0; i < 4; i++) await a.running.rotateTunnelKeys();
      })(),
    );
    let isDone = false;
    void rotated.then(() => {
      isDone = true;
    });
    while (!isDone) {
      await federation.clock.advance(100);
      for (const { name } of others) {
        seen.add(federation.tunnels.passage(a.name, name));
        seen.add(federation.tunnels.passage(name, a.name));
      }
    }
    assert.equal(epochOf(a), first + 4);
    assert.deepEqual([...seen], ['passes']);
    await settled(federation);
    invariants.assertHeld();
  });
});

describe('rotation beside a pair without UDP', function () {
  this.timeout(120_000);

  it('is refused to no end of it, again and again, and the pair comes up when datagrams pass', async () => {
    const federation = await SimulatedFederation.create({ seed: 'no udp', size: 3 });
    const [a, b, c] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b && c);
    try {
      federation.world.setDelay(2, 20);
      federation.blockUdp(a, b);
      await federation.found();
      await federation.admit([b, c]);
      await federation.clock.advance(120_000);
      for (const rotating of [a, b, a, b]) {
        const { sn } = rotating.organisation.identity.state;
        await federation.perform(rotating.running.rotate());
        assert.ok(rotating.organisation.identity.state.sn > sn);
        await federation.perform(rotating.running.rotateTunnelKeys());
        await federation.clock.advance(20_000);
        const ends: readonly SimulatedAgent[] = [a, b];
        for (const end of ends) {
          assert.equal(federation.tunnels.passage(end.name, c.name), 'passes');
          assert.equal(federation.tunnels.passage(c.name, end.name), 'passes');
          assert.equal(
            end.running.tunnels.activeView(c.aid)?.own,
            end.running.ownKeys.currentRecord,
          );
        }
      }
      assert.equal(a.running.tunnels.activeView(b.aid), undefined);
      federation.heal();
      await settled(federation);
    } finally {
      federation.abandon();
    }
  });
});

describe('emergency rotation of others', function () {
  this.timeout(120_000);
  let federation: SimulatedFederation;
  let invariants: SimulatedInvariants;

  before(async () => {
    ({ federation, invariants } = await federationOf('emergency', 4));
  });

  after(() => federation.abandon());

  const events = () => federation.agents.map(({ organisation }) => organisation.identity.state.sn);
  const asks = (agent: SimulatedAgent, name?: string) =>
    federation.perform(agent.running.emergency.ask(agent.running.rotations.members(name)));

  it('is refused to whoever does not govern, and for a name that is not in the mesh', async () => {
    const [a, b, c] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b && c);
    const before = events();
    assert.throws(() => a.running.rotations.members('nobody'), { code: 'ROTATION_NOT_A_MEMBER' });
    const [result] = await asks(b, c.name);
    assert.deepEqual([result?.member, result?.rotated, result?.sn], [c.name, false, null]);
    assert.match(result?.reason ?? '', /ROTATION_NOT_ASKED/);
    assert.deepEqual(events(), before);
  });

  it('takes all to their pre-rotated keys, with fresh agreements everywhere, and no packet waits', async () => {
    const [a, ...others] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a);
    const before = federation.agents.map(({ organisation }) => organisation.identity.state);
    const agreed = new Set(
      federation.agents.flatMap((x) => federation.agents.map((y) => thOf(x, y.aid))),
    );
    const results = await asks(a);
    assert.deepEqual(
      results.map(({ rotated, reason }) => [rotated, reason]),
      others.map(() => [true, null]),
    );
    await federation.perform(a.running.rotate());
    for (const [i, { organisation }] of federation.agents.entries()) {
      const { establishment, keys } = organisation.identity.state;
      assert.notEqual(establishment.said, before[i]?.establishment.said);
      assert.notDeepEqual(keys, before[i]?.keys);
    }
    await settled(federation);
    for (const x of federation.agents)
      for (const y of federation.agents) {
        if (x === y) continue;
        assert.equal(federation.tunnels.passage(x.name, y.name), 'passes');
        assert.ok(!agreed.has(thOf(x, y.aid)));
      }
    invariants.assertHeld();
  });

  it('is done once an hour at most, whoever asks', async () => {
    const [a, , c] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && c);
    await federation.clock.advance(600_000);
    const before = events();
    const [soon] = await asks(a, c.name);
    assert.match(soon?.reason ?? '', /ROTATION_TOO_SOON/);
    assert.deepEqual(events(), before);
    await federation.clock.advance(3_000_000);
    c.crash();
    assert.match((await asks(a, c.name))[0]?.reason ?? '', /not connected/);
    c.settings = { ...c.settings, rotation: { ...c.settings.rotation, askedBy: 'nobody' } };
    await c.start();
    await federation.until(
      () => a.running.directory.peerOf(c.aid) !== undefined,
      SETTLE_MS,
      () => 'not connected',
      1_000,
    );
    assert.match((await asks(a, c.name))[0]?.reason ?? '', /ROTATION_NOT_ASKED/);
    invariants.assertHeld();
  });
});

describe('rotation on an event', function () {
  this.timeout(120_000);

  it('follows the removal of a member where the configuration says so, and nowhere else', async () => {
    const { federation, invariants } = await federationOf('on event', 4);
    const [a, b, c, d] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b && c && d);
    try {
      await federation.clock.advance(60_000);
      b.crash();
      b.settings = { ...b.settings, rotation: { ...b.settings.rotation, events: ['removal'] } };
      await b.start();
      await federation.clock.advance(60_000);
      const before = [b, c].map(epochOf);
      await federation.perform(revokeOrganisation(a.organisation, d.name, 'left'));
      await federation.clock.advance(120_000);
      assert.deepEqual([b, c].map(epochOf), [(before[0] ?? 0) + 1, before[1]]);
      await settled(federation, [a, b, c]);
      invariants.assertHeld();
    } finally {
      federation.abandon();
    }
  });
});

describe('preshared keys in a federation', function () {
  this.timeout(120_000);

  it('keep their epoch and agreement when an agent starts from a configuration that was made anew', async () => {
    const { federation } = await federationOf('regenerated', 2);
    const [a, b] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b);
    try {
      await federation.clock.advance(300_000);
      const view = a.running.tunnels.activeView(b.aid);
      assert.ok(view);
      const before = {
        epoch: await a.running.epochKeys.epochOf(b.aid, view),
        th: thOf(a, b.aid),
        psk: federation.tunnels.presharedKey(a.name, b.name),
      };
      a.crash();
      // The configuration holds nothing of it: another deadline and schedule change no key.
      a.settings = {
        changeMs: 60_000,
        rotation: {
          askedBy: 'nobody',
          everyMs: { tunnel: 0, id: 0 },
          jitter: 0.5,
          windows: [],
          events: [],
        },
      };
      await a.start();
      assert.deepEqual(
        {
          epoch: await a.running.epochKeys.epochOf(b.aid, view),
          th: thOf(a, b.aid),
          psk: federation.tunnels.presharedKey(a.name, b.name),
        },
        before,
      );
      assert.equal(a.running.agreements.runs, 0);
    } finally {
      federation.abandon();
    }
  });

  it('stay at their epoch while clocks differ too much, at both ends, and it is said', async () => {
    const { federation, invariants } = await federationOf('skewed', 2, (n) => n * 80_000);
    const [a, b] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b);
    try {
      const view = a.running.tunnels.activeView(b.aid);
      assert.ok(view);
      const epoch = await a.running.epochKeys.epochOf(b.aid, view);
      for (let i = 0; i < 60; i++) {
        await federation.clock.advance(10_000);
        assert.equal(federation.tunnels.passage(a.name, b.name), 'passes');
        assert.equal(
          federation.tunnels.presharedKey(a.name, b.name),
          federation.tunnels.presharedKey(b.name, a.name),
        );
      }
      assert.equal(await a.running.epochKeys.epochOf(b.aid, view), epoch);
      for (const [agent, other] of [
        [a, b],
        [b, a],
      ] as const)
        assert.match(agent.running.rotations.postponement(other.aid) ?? '', /differs by -?80 s/);
      assert.equal(a.running.rotations.plan('psk', undefined).pairs[0]?.epochsPostponed, true);
      const [result] = await federation.perform(b.running.rotations.psk(undefined, true));
      assert.deepEqual([result?.agreed, result?.proven], [true, true]);
      assert.equal(
        federation.tunnels.presharedKey(a.name, b.name),
        federation.tunnels.presharedKey(b.name, a.name),
      );
      invariants.assertHeld();
    } finally {
      federation.abandon();
    }
  });

  it('follow each other where the two ends see the limit differently', async () => {
    const { federation, invariants } = await federationOf('at the limit', 2, (n) => n * 55_000);
    const [a, b] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b);
    try {
      for (let i = 0; i < 80; i++) {
        await federation.clock.advance(10_000);
        assert.equal(federation.tunnels.passage(a.name, b.name), 'passes');
      }
      invariants.assertHeld();
    } finally {
      federation.abandon();
    }
  });
});

describe('twenty nodes in full mesh', function () {
  this.timeout(180_000);

  it('follow a rotation of the log, and apply a revocation, within seconds', async () => {
    const { federation, invariants } = await federationOf('twenty', 20);
    const [a, b] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b);
    try {
      const others = federation.agents.filter((agent) => agent !== b);
      const began = federation.clock.now();
      await federation.perform(b.running.rotate());
      const record = b.running.ownKeys.current.record.d;
      await federation.until(
        () => others.every((agent) => agent.running.tunnels.activeView(b.aid)?.peer === record),
        60_000,
        () => 'not all tunnels moved',
        250,
      );
      const rotatedMs = federation.clock.now() - began;
      for (const other of others) {
        assert.equal(federation.tunnels.passage(other.name, b.name), 'passes');
        assert.equal(federation.tunnels.passage(b.name, other.name), 'passes');
      }
      await federation.clock.advance(200_000);
      const sealed = federation.clock.now();
      await federation.perform(revokeOrganisation(a.organisation, b.name, 'exercise'));
      const left = federation.agents.filter((agent) => agent !== b);
      await federation.until(
        () => {
          // Who says that it has applied it has done so.
          for (const agent of left)
            if (rows(agent)[0]?.applied.some(({ node }) => node === agent.aid) === true)
              assert.match(federation.tunnels.passage(agent.name, b.name), /^lost/);
          return left.every((agent) => rows(agent)[0]?.missing.length === 0);
        },
        2_000,
        () => left.map((agent) => rows(agent)[0]?.missing.length).join(' '),
        5,
      );
      for (const agent of left)
        assert.match(federation.tunnels.passage(agent.name, b.name), /^lost/);
      console.log(
        `      19 tunnels moved in ${rotatedMs} ms, a revocation applied and acknowledged by 19 in ${federation.clock.now() - sealed} ms (simulated, 2 to 20 ms one way)`,
      );
      invariants.assertHeld();
    } finally {
      federation.abandon();
    }
  });
});

describe('revocation in a federation', function () {
  this.timeout(120_000);
  let federation: SimulatedFederation;
  let invariants: SimulatedInvariants;

  before(async () => {
    ({ federation, invariants } = await federationOf('revocation', 4));
  });

  after(() => federation.abandon());

  it('ends a key epoch everywhere within seconds, acknowledged by all, and brings the next', async () => {
    const [, b, c] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(b && c);
    const revoked = b.running.ownKeys.current.record.d;
    await federation.perform(revokeEpoch(b.organisation, b.running, 'current', 'laptop stolen'));
    assert.notEqual(b.running.ownKeys.current.record.d, revoked);
    assert.equal(b.running.ownKeys.current.record.e, 1);
    await federation.clock.advance(2_000);
    for (const agent of federation.agents) {
      const [row] = rows(agent);
      assert.deepEqual(
        [row?.kind, row?.who, row?.reason, row?.missing, row?.applied.length],
        ['epoch', revoked, 'laptop stolen', [], 4],
        agent.name,
      );
      for (const pair of agent.running.tunnels.progress())
        for (const view of [pair.active, pair.change, ...pair.draining])
          assert.ok(view?.own !== revoked && view?.peer !== revoked);
    }
    await settled(federation);
    assert.equal(
      await codeOf(revokeEpoch(c.organisation, c.running, revoked, 'not mine')),
      'REVOKE_NOT_YOURS',
    );
    assert.equal(
      await codeOf(revokeEpoch(b.organisation, b.running, revoked, 'again')),
      'REVOKE_ALREADY',
    );
    assert.equal(
      await codeOf(revokeEpoch(b.organisation, b.running, '77', 'none')),
      'REVOKE_UNKNOWN',
    );
    assert.equal(
      await codeOf(revokeEpoch(b.organisation, b.running, 'current', '')),
      'REVOKE_BAD_REASON',
    );
    assert.equal(
      await codeOf(revokeEpoch(b.organisation, b.running, 'current', 'x'.repeat(281))),
      'REVOKE_BAD_REASON',
    );
    invariants.assertHeld();
  });

  it('lists who has not applied it, and since when that one is silent', async () => {
    const [a, b, c, d] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b && c && d);
    await federation.clock.advance(30_000);
    d.crash();
    const silentAt = federation.clock.now();
    await federation.clock.advance(30_000);
    const said = await federation.perform(revokeEpoch(b.organisation, b.running, '1', 'rehearsal'));
    await federation.clock.advance(2_000);
    const row = rows(a).find((candidate) => candidate.said === said);
    assert.deepEqual(
      row?.missing.map(({ node }) => node),
      [d.aid],
    );
    const silent = Date.parse(row?.missing[0]?.silentSince ?? '');
    assert.ok(silent <= silentAt + 1 && silent > silentAt - 60_000, `${silent} ${silentAt}`);
    await d.start();
    await federation.clock.advance(60_000);
    assert.deepEqual(rows(a).find((candidate) => candidate.said === said)?.missing, []);
    await settled(federation);
  });

  it('takes an organisation out of sync, agreements, gossip and tunnels, by its governor alone', async () => {
    const [a, b, c, d] = federation.agents as readonly SimulatedAgent[] as SimulatedAgent[];
    assert.ok(a && b && c && d);
    assert.equal(
      await codeOf(revokeOrganisation(b.organisation, d.name, 'no')),
      'MESH_NOT_GOVERNOR',
    );
    await federation.perform(revokeOrganisation(a.organisation, d.name, 'left the mesh'));
    await federation.clock.advance(2_000);
    const row = rows(c).find(({ kind }) => kind === 'organisation');
    assert.deepEqual([row?.who, row?.missing, row?.applied.length], [d.aid, [], 3]);
    for (const agent of [a, b, c]) {
      assert.ok(!agent.organisation.membership.maySync(d.aid));
      assert.ok(!agent.organisation.membership.hears(d.aid));
      assert.equal(agent.running.directory.peerOf(d.aid), undefined);
      assert.match(federation.tunnels.passage(agent.name, d.name), /^lost/);
    }
    const { stranger } = a.running.gossip.counters;
    await federation.perform(d.running.rotate()).catch(() => undefined);
    await a.running.gossip.receive(
      (await d.organisation.kel.export(d.aid, d.organisation.identity.state.sn)) as Uint8Array,
      d.running.network.self,
    );
    assert.ok(a.running.gossip.counters.stranger > stranger);
    invariants.assertHeld();
  });
});

/** The steps of tunnel changes with `other` in the own audit log, in their order. */
async function receiptsOf(agent: SimulatedAgent, other: SimulatedAgent): Promise<string[]> {
  const { provenance } = agent.organisation;
  const steps: string[] = [];
  for (let index = 0; index < provenance.log.size; index++) {
    const leaf = parseLeaf(await provenance.log.leaf(index));
    const values =
      leaf.type === 'rotation' ? openedValues('rotation', provenance.openings(index)) : undefined;
    if (values?.peer === other.aid && values.kind === 'tunnel') steps.push(values.step);
  }
  return steps;
}

/** There is a proof of the tunnel under the agreement in force. */
function isProven(agent: SimulatedAgent, { aid }: SimulatedAgent): boolean {
  const { tunnels, agreements, proofs } = agent.running;
  const view = tunnels.activeView(aid);
  const agreed = view === undefined ? undefined : agreements.agreed(aid, view);
  return (
    view !== undefined &&
    agreed !== undefined &&
    proofs.proofOf(aid, view.own, view.peer, agreed.th) !== undefined
  );
}

function thOf(agent: SimulatedAgent, aid: SimulatedAgent['aid']): string | undefined {
  const view = agent.running.tunnels.activeView(aid);
  const agreed = view === undefined ? undefined : agent.running.agreements.agreed(aid, view);
  return agreed === undefined ? undefined : Buffer.from(agreed.th).toString('hex');
}

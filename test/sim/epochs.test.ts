import { strict as assert } from 'node:assert';
import { describe, it } from 'mocha';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulated-agent.ts';
import { differences, SimulatedInvariants, summary } from '../support/simulated-invariants.ts';

const EPOCH_MS = 120_000;
/** More than a session lives without being renewed. */
const LONG_MS = 4 * EPOCH_MS;

async function settled(
  federation: SimulatedFederation,
  members: readonly SimulatedAgent[] = federation.agents,
): Promise<void> {
  await federation.until(
    () => differences(federation, members).length === 0,
    900_000,
    () => summary(differences(federation, members)),
    1_000,
  );
}

async function founded(
  seed: string,
  size: number,
  skew?: (n: number) => number,
): Promise<SimulatedFederation> {
  const federation = await SimulatedFederation.create({
    seed,
    size,
    ...(skew === undefined ? {} : { skew }),
  });
  await federation.found();
  await federation.admit(federation.agents.slice(1));
  return federation;
}

function pairs(
  federation: SimulatedFederation,
): readonly (readonly [SimulatedAgent, SimulatedAgent])[] {
  return federation.agents.flatMap((a) =>
    federation.agents.filter((b) => b !== a).map((b) => [a, b] as const),
  );
}

describe('Epochs of preshared keys in a simulated federation', () => {
  it('change at every boundary, the same at both ends, and no packet is lost', async () => {
    const federation = await founded('epochs', 3);
    const invariants = new SimulatedInvariants(federation);
    await settled(federation);
    const { tunnels, clock } = federation;
    const seen = new Set<string>();
    for (let epoch = 0; epoch < 5; epoch++) {
      for (const [a, b] of pairs(federation)) {
        const key = tunnels.presharedKey(a.name, b.name);
        assert.equal(key, tunnels.presharedKey(b.name, a.name));
        seen.add(String(key));
      }
      for (let s = 0; s < EPOCH_MS / 5_000; s++) {
        await clock.advance(5_000);
        for (const [a, b] of pairs(federation))
          assert.equal(tunnels.passage(a.name, b.name), 'passes');
      }
    }
    assert.equal(seen.size, 5 * 3, 'a key per pair and epoch');
    assert.deepEqual(
      federation.agents.map(({ running }) => running.agreements.runs),
      [2, 2, 2],
    );
    invariants.assertHeld();
    federation.abandon();
  });

  it('differ only during the skew of two clocks, as far as no end waits for the other, and the tunnel stays up', async () => {
    const skews = [0, 44_000, 20_000];
    const federation = await founded('skew', 3, (n) => skews[n] ?? 0);
    const { tunnels, clock } = federation;
    await federation.until(
      () => pairs(federation).every(([a, b]) => tunnels.canPass(a.name, b.name)),
      300_000,
      () => 'not all pass',
      1_000,
    );
    // Looked at half-way between whole seconds: at a boundary itself either key is right.
    await clock.advance(EPOCH_MS - (clock.now() % 1_000) + 500);
    let differing = 0;
    for (const end = clock.now() + LONG_MS; clock.now() < end; await clock.advance(1_000)) {
      for (const [a, b] of pairs(federation)) {
        const [behind = 0, first = 0] = [a, b]
          .map((agent) => skews[federation.agents.indexOf(agent)] ?? 0)
          .sort((x, y) => x - y);
        const ahead = first - behind;
        const sinceFirst = (clock.now() + first) % EPOCH_MS;
        const isSame =
          tunnels.presharedKey(a.name, b.name) === tunnels.presharedKey(b.name, a.name);
        if (!isSame) differing += 1;
        assert.equal(
          isSame,
          sinceFirst >= ahead,
          `${a.name}–${b.name}, ${sinceFirst} ms after the first boundary of two that are ${ahead} ms apart`,
        );
        assert.equal(tunnels.passage(a.name, b.name), 'passes');
      }
    }
    assert.ok(differing > 0);
    federation.abandon();
  });
});

describe('A rotation in a simulated federation', () => {
  it('keeps every packet: it passes or waits for the handshake, at each change of a device', async () => {
    const federation = await founded('rotation', 3);
    const invariants = new SimulatedInvariants(federation);
    await settled(federation);
    const { tunnels, clock, world } = federation;
    world.setDelay(20, 80);
    const lost: string[] = [];
    let looks = 0;
    const look = (): void => {
      for (const [a, b] of pairs(federation)) {
        const passage = tunnels.passage(a.name, b.name);
        looks += 1;
        if (passage.startsWith('lost'))
          lost.push(`${clock.now()} ${a.name} to ${b.name}: ${passage}`);
      }
    };
    const watched = tunnels.onApplied;
    tunnels.onApplied = (host, desired) => {
      watched(host, desired);
      look();
    };
    const before = federation.agents.map(({ running }) => running.ownKeys.currentRecord);
    // One after the other, then two at once.
    await federation.perform(federation.governor.running.rotate());
    for (let s = 0; s < 300; s++) {
      await clock.advance(1_000);
      look();
    }
    await settled(federation);
    await Promise.all(
      federation.agents.slice(1).map((agent) => federation.perform(agent.running.rotate())),
    );
    for (let s = 0; s < 300; s++) {
      await clock.advance(1_000);
      look();
    }
    await settled(federation);
    assert.deepEqual(lost, []);
    assert.ok(looks > 100);
    for (const [n, { running }] of federation.agents.entries())
      assert.notEqual(running.ownKeys.currentRecord, before[n]);
    invariants.assertHeld();
    federation.abandon();
  });
});

describe('A restart in a simulated federation', () => {
  for (const how of ['crash', 'stop'] as const) {
    it(`after a ${how} drops no packet and makes no new agreement`, async () => {
      const federation = await founded(`restart ${how}`, 3);
      await settled(federation);
      const { tunnels, clock } = federation;
      const agent = federation.agents[1] as SimulatedAgent;
      const keys = federation.agents.map((other) => tunnels.presharedKey(agent.name, other.name));
      if (how === 'crash') agent.crash();
      else await agent.stop();
      const allPass = () => pairs(federation).map(([a, b]) => tunnels.passage(a.name, b.name));
      await clock.advance(3_000);
      assert.deepEqual(new Set(allPass()), new Set(['passes']));
      await agent.start();
      await clock.advance(10_000);
      assert.deepEqual(new Set(allPass()), new Set(['passes']));
      assert.equal(agent.running.agreements.runs, 0);
      await clock.advance(EPOCH_MS);
      await settled(federation);
      assert.equal(agent.running.agreements.runs, 0);
      assert.notDeepEqual(
        federation.agents.map((other) => tunnels.presharedKey(agent.name, other.name)),
        keys,
        'the epoch went on',
      );
      federation.abandon();
    });
  }

  it('over epochs that passed meanwhile ends at the key of the others', async () => {
    const federation = await founded('long away', 3);
    await settled(federation);
    const agent = federation.agents[2] as SimulatedAgent;
    agent.crash();
    await federation.clock.advance(3 * EPOCH_MS + 1_000);
    await agent.start();
    await settled(federation);
    assert.equal(agent.running.agreements.runs, 0);
    federation.abandon();
  });
});

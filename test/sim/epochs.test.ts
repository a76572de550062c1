import { strict as assert } from 'node:assert';
import { describe, it } from 'mocha';
import type { Secret } from '#src/secret';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';
import {
  differences,
  SimulatedInvariants,
  summary,
} from '../support/simulation/simulated-invariants.ts';

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

  it('are wiped when they are written: no device driver holds one of any epoch afterwards', async () => {
    const federation = await founded('wiped', 3);
    await settled(federation);
    const { tunnels, clock } = federation;
    const handed = new Set<Secret>();
    const texts = new Set<string>();
    tunnels.onApplied = (_, { peers }) => {
      for (const { presharedKey } of peers) {
        handed.add(presharedKey);
        texts.add(Buffer.from(presharedKey.expose()).toString('hex'));
      }
    };
    await clock.advance(3 * EPOCH_MS + 5_000);
    assert.ok(texts.size >= 3 * 3, 'a key per pair and epoch was written');
    const kept = [...handed].filter((secret) => secret.expose().some((byte) => byte !== 0));
    assert.equal(kept.length, 0, `${kept.length} of ${handed.size} are still there`);
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
        // The one that is first may tell the other, which follows then.
        assert.ok(
          isSame || sinceFirst < ahead,
          `${a.name}–${b.name}, ${sinceFirst} ms after the first boundary of two that are ${ahead} ms apart`,
        );
        assert.equal(tunnels.passage(a.name, b.name), 'passes');
      }
    }
    assert.ok(differing > 0);
    federation.abandon();
  });
});

/** Looked at every second: what becomes of packets of each pair. */
async function watched(
  federation: SimulatedFederation,
  seconds: number,
): Promise<ReadonlyMap<string, number>> {
  const seen = new Map<string, number>();
  for (let s = 0; s < seconds; s++) {
    await federation.clock.advance(1_000);
    for (const [a, b] of pairs(federation)) {
      const passage = federation.tunnels.passage(a.name, b.name);
      seen.set(passage, (seen.get(passage) ?? 0) + 1);
    }
  }
  return seen;
}

describe('A clock that is set in a simulated federation', function () {
  this.timeout(180_000);

  const HOUR_MS = 3_600_000;

  for (const byMs of [
    2 * HOUR_MS,
    -HOUR_MS,
    3 * EPOCH_MS,
    -EPOCH_MS / 2 - 7_000,
    365 * 24 * HOUR_MS,
  ])
    for (const lastsMs of [9_000, 31_000, 4 * EPOCH_MS])
      it(`by ${byMs / 1_000} s for ${lastsMs / 1_000} s moves no chain, and no packet is lost`, async () => {
        const federation = await founded(`step ${byMs} ${lastsMs}`, 3);
        await settled(federation);
        const [agent] = federation.agents.slice(1) as [SimulatedAgent];
        await federation.clock.advance(40_000);
        agent.stepClock(byMs);
        const during = await watched(federation, lastsMs / 1_000);
        const said = agent.running.time.step?.byMs ?? 0;
        assert.ok(Math.abs(said - byMs) <= 1, `it is said: ${said}`);
        agent.stepClock(-byMs);
        const later = await watched(federation, (4 * EPOCH_MS) / 1_000);
        assert.deepEqual([[...during.keys()], [...later.keys()]], [['passes'], ['passes']]);
        assert.equal(agent.running.time.step, undefined);
        await settled(federation);
        assert.deepEqual(
          federation.agents.map(({ running }) => running.agreements.runs),
          [2, 2, 2],
          'nothing had to be agreed afresh',
        );
        federation.abandon();
      });

  for (const byMs of [48 * HOUR_MS, -48 * HOUR_MS]) {
    const hours = `${byMs / HOUR_MS} h`;

    /** Every change of keys looked at again every ten seconds: an agreement that does not count as fresh is made again. */
    async function pokeFor(federation: SimulatedFederation, ms: number): Promise<void> {
      for (const end = federation.clock.now() + ms; federation.clock.now() < end; ) {
        for (const { running } of federation.agents) running.tunnels.pokeAll();
        await federation.clock.advance(10_000);
      }
    }

    /** Old enough that its keys are in force by a clock that is behind. */
    async function grown(seed: string) {
      const federation = await founded(seed, 3);
      await settled(federation);
      for (const agent of federation.agents) agent.crash();
      for (const agent of federation.agents) agent.stepClock(50 * HOUR_MS);
      for (const agent of federation.agents) await agent.start();
      await settled(federation);
      await pokeFor(federation, 120_000);
      const [first, agent, last] = federation.agents as [
        SimulatedAgent,
        SimulatedAgent,
        SimulatedAgent,
      ];
      return { federation, agent, others: [first, last] };
    }

    it(`by ${hours}: what is agreed then is agreed once, before a start and after`, async () => {
      const { federation, agent, others } = await grown(`agreed by a set clock ${byMs}`);
      const runs = () => federation.agents.map(({ running }) => running.agreements.runs);
      agent.stepClock(byMs);
      await federation.clock.advance(60_000);
      const before = runs();
      for (const { aid } of others) {
        const { tunnels, agreements } = agent.running;
        const view = tunnels.activeView(aid);
        assert.ok(view);
        await federation.perform(agreements.renew(aid, view, 0));
      }
      await pokeFor(federation, 15 * 60_000);
      assert.deepEqual(
        runs().map((count, n) => count - (before[n] ?? 0)),
        [1, 2, 1],
      );
      agent.crash();
      await agent.start();
      await pokeFor(federation, 15 * 60_000);
      assert.equal(agent.running.agreements.runs, 0, 'a start agrees nothing anew');
      agent.stepClock(-byMs);
      await pokeFor(federation, 15 * 60_000);
      assert.ok(agent.running.agreements.runs <= 2, 'put right: once more with each at most');
      await settled(federation);
      federation.abandon();
    });

    it(`by ${hours}, followed while nobody is there and put right later: once more with each at most`, async () => {
      const { federation, agent, others } = await grown(`followed alone ${byMs}`);
      federation.partition([[agent], others]);
      agent.stepClock(byMs);
      await federation.clock.advance(25 * 60_000);
      assert.equal(agent.running.time.step, undefined, 'followed');
      const before = agent.running.agreements.runs;
      federation.heal();
      await pokeFor(federation, 15 * 60_000);
      agent.stepClock(-byMs);
      await pokeFor(federation, 15 * 60_000);
      await settled(federation);
      assert.ok(agent.running.agreements.runs - before <= 2, `${agent.running.agreements.runs}`);
      federation.abandon();
    });
  }

  it('right after it was wrong is followed as soon as others confirm it', async () => {
    const federation = await founded('set right', 3, (n) => (n === 1 ? -2 * HOUR_MS : 0));
    const agent = federation.agents[1] as SimulatedAgent;
    await federation.clock.advance(2 * EPOCH_MS);
    agent.stepClock(2 * HOUR_MS);
    await settled(federation);
    assert.equal(agent.running.time.step, undefined);
    federation.abandon();
  });

  for (const byMs of [2 * HOUR_MS, 3 * EPOCH_MS])
    for (const who of [0, 1, 2])
      it(`${byMs / 1_000} s ahead while agent ${who} starts and hears nobody: the ends notice that they are apart, and agree afresh`, async () => {
        const federation = await founded(`wrong at start ${byMs} ${who}`, 3);
        await settled(federation);
        const agent = federation.agents[who] as SimulatedAgent;
        const others = federation.agents.filter((other) => other !== agent);
        agent.crash();
        federation.partition([[agent], others]);
        agent.stepClock(byMs);
        await agent.start();
        await federation.clock.advance(90_000);
        const view = agent.running.tunnels.activeView((others[0] as SimulatedAgent).aid);
        assert.ok(view);
        agent.stepClock(-byMs);
        federation.heal();
        await federation.clock.advance(60_000);
        const epochs = others.map(({ aid }) => agent.running.epochKeys.apartSince(aid));
        assert.deepEqual(epochs, [undefined, undefined]);
        await settled(federation);
        assert.ok(agent.running.agreements.runs >= 2, 'both pairs agreed afresh');
        federation.abandon();
      });

  it('at random, on one machine after the other: every tunnel is up a while after the last, whatever was set when', async () => {
    for (let seed = 0; seed < (process.env['KELMESH_SLOW'] === '1' ? 40 : 4); seed++) {
      const federation = await founded(`random steps ${seed}`, 4);
      await settled(federation);
      const rng = federation.rng.fork('steps');
      for (let n = 0; n < 8; n++) {
        const agent = federation.agents[rng.int(federation.agents.length)] as SimulatedAgent;
        const byMs = (rng.int(4 * HOUR_MS) - 2 * HOUR_MS) | 0;
        const restarts = rng.int(3) === 0;
        agent.stepClock(byMs);
        if (restarts) {
          agent.crash();
          await agent.start();
        }
        await federation.clock.advance(rng.int(3 * EPOCH_MS));
        agent.stepClock(-byMs);
        await federation.clock.advance(rng.int(EPOCH_MS));
      }
      await settled(federation);
      federation.abandon();
    }
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

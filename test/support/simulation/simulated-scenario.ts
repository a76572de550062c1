/**
 * A bad quarter of an hour in the life of a federation: 20 % loss, a partition, crashes at random writes (also within
 * rotations and agreements), rotations, one member removed, one admitted late. Every choice follows from the seed.
 */
import { type SimulatedAgent, SimulatedFederation } from './simulated-agent.ts';
import { differences, SimulatedInvariants, summary } from './simulated-invariants.ts';

const LOSS = 0.2;
const DELAY_MS = [2, 150] as const;
/** Within this after the last trouble all must see and carry the same. */
const CONVERGE_MS = 3_600_000;

export interface ScenarioResult {
  readonly federation: SimulatedFederation;
  readonly members: readonly SimulatedAgent[];
  readonly removed: SimulatedAgent;
  /** Simulated milliseconds from the last trouble. */
  readonly convergedMs: number;
  readonly checks: number;
  readonly digest: string;
}

interface Act {
  readonly atMs: number;
  readonly what: () => Promise<void>;
}

/** Throws, with seed and trace, when an invariant is broken or the members do not come to the same. */
export async function runScenario(seed: number, size: number): Promise<ScenarioResult> {
  const federation = await SimulatedFederation.create({ seed, size });
  const invariants = new SimulatedInvariants(federation);
  try {
    const result = await play(federation, invariants);
    return { ...result, checks: invariants.checks, digest: federation.digest() };
  } finally {
    federation.abandon();
  }
}

async function play(
  federation: SimulatedFederation,
  invariants: SimulatedInvariants,
): Promise<Omit<ScenarioResult, 'checks' | 'digest'>> {
  const { agents, clock, world } = federation;
  const rng = federation.rng.fork('scenario');
  const late = agents.at(-1) as SimulatedAgent;
  const first = agents.slice(1, -1);
  const shuffled = rng.shuffle(first);
  const removed = shuffled[0] as SimulatedAgent;
  const some = Math.max(1, Math.floor(agents.length / 10));
  const take = (from: number): readonly SimulatedAgent[] =>
    shuffled.slice(1 + from * some, 1 + (from + 1) * some);
  world.setLoss(LOSS);
  world.setDelay(...DELAY_MS);
  await federation.found(first);
  await federation.admit(first);

  const acts: Act[] = [];
  const at = (fromS: number, toS: number, what: () => Promise<void>): void => {
    acts.push({ atMs: clock.now() + 1_000 * (fromS + rng.int(toS - fromS)), what });
  };
  const restart = async (agent: SimulatedAgent): Promise<void> => {
    agent.crash();
    await agent.start();
  };
  // Tunnels are being set up in these first minutes: most of these fall into agreements.
  for (const agent of [...take(0), federation.governor]) {
    at(0, 60, async () => agent.crashAtWrite(1 + rng.int(60)));
    at(70, 180, () => restart(agent));
  }
  for (const agent of take(1)) {
    at(30, 500, async () => void rotate(federation, agent));
    at(520, 600, async () => void rotate(federation, agent));
  }
  for (const agent of take(2)) {
    at(120, 480, async () => {
      agent.crashAtWrite(1 + rng.int(30));
      void rotate(federation, agent);
    });
    at(500, 620, () => restart(agent));
  }
  at(200, 240, async () => {
    const sides = rng.shuffle(agents);
    const cut = 1 + rng.int(agents.length - 1);
    federation.partition([sides.slice(0, cut), sides.slice(cut)]);
  });
  at(400, 440, async () => federation.heal());
  at(100, 500, () => remove(federation, removed));
  at(100, 500, () => late.join());
  acts.sort((a, b) => a.atMs - b.atMs);
  for (const act of acts) {
    await clock.advance(Math.max(0, act.atMs - clock.now()));
    await act.what();
    invariants.assertHeld();
  }
  await federation.admit([late], CONVERGE_MS);
  const members = agents.filter((agent) => agent !== removed);
  const convergedMs = await federation.until(
    () => {
      invariants.assertHeld();
      return differences(federation, members).length === 0;
    },
    CONVERGE_MS,
    () => summary(differences(federation, members)),
    10_000,
  );
  return { federation, members, removed, convergedMs };
}

async function remove(federation: SimulatedFederation, agent: SimulatedAgent): Promise<void> {
  const { governor } = federation;
  if (!governor.isRunning) await governor.start();
  await federation.perform(governor.organisation.governing.remove(agent.name, 'left'));
}

/** As an operator does it: again while the tunnels still change over from the last time. */
async function rotate(federation: SimulatedFederation, agent: SimulatedAgent): Promise<void> {
  for (let attempt = 0; attempt < 20 && agent.isRunning; attempt++) {
    try {
      await agent.running.rotate();
      federation.trace(agent.name, 'rotated');
      return;
    } catch (error) {
      federation.trace(agent.name, 'rotation-refused', { code: (error as { code?: string }).code });
      if ((error as { code?: string }).code !== 'TUNNEL_BUSY') throw error;
      await federation.clock.sleep(15_000);
    }
  }
}

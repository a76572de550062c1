/**
 * A federation under trouble: real agents in full mesh, and every few seconds somebody rotates preshared keys, tunnel keys
 * or its log, is killed and started again, or is cut off the network for a while. Then everything is healed, and what must
 * hold is checked: no stuck pair, equal preshared keys, traffic on every way, epochs that never go back. Resident memory
 * of each agent is sampled all the time and printed, process by process.
 *
 *   node bench/soak.ts [--nodes=8] [--minutes=5] [--seed=1] [--settle=200] [--verbose] [--logs=DIR]
 *
 * The actions follow from the seed; what the machine makes of them does not. Ends with 1 when an invariant does not hold.
 * `--settle`: seconds that are waited at the end until all is well; a preshared key waits 180 s for its natural handshake.
 * `--logs` keeps the logs of the agents. Needs root, /dev/net/tun and wireguard-go.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { SeededRng } from '../test/support/doubles/seeded-rng.ts';
import { type Findings, findProblems } from './soak/invariants.ts';
import { type Action, planActions } from './soak/plan.ts';
import { EpochWatch, MemoryWatch } from './soak/watch.ts';
import { Federation } from './support/federation.ts';
import { onGround } from './support/ground.ts';
import { BusyMeter, describeMachine } from './support/machine.ts';
import { pause, type Site, until } from './support/site.ts';
import { seconds } from './support/stats.ts';

const ANSWER_MS = 120_000;
const POLL_MS = 1_000;

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '8' },
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    settle: { type: 'string', default: '200' },
    verbose: { type: 'boolean', default: false },
    logs: { type: 'string' },
  },
});
const nodes = Number(values.nodes);
const durationMs = Number(values.minutes) * 60_000;
const options = {
  tag: `ks${process.pid % 100_000}`,
  nodes,
  dir: mkdtempSync(join(tmpdir(), 'kelmesh-soak-')),
  drain: 2,
  epochSeconds: 120,
};
const busy = new BusyMeter();

const failures = await onGround(Federation.ground(options), async () => {
  console.log(`${nodes} nodes, ${values.minutes} min, seed ${values.seed}; ${describeMachine()}`);
  const federation = await Federation.build(options);
  try {
    return await soak(federation);
  } finally {
    if (values.logs !== undefined) for (const site of federation.sites) site.keepLog(values.logs);
  }
});
process.exitCode = failures === 0 ? 0 : 1;

/** @returns invariants that do not hold */
async function soak(federation: Federation): Promise<number> {
  const { sites } = federation;
  await federation.knock();
  await federation.admit();
  await settle(sites);
  console.log(`mesh of ${nodes} is up; busy ${busy.read()}`);

  const watching = new AbortController();
  const epochs = new EpochWatch();
  const memory = new MemoryWatch();
  const watches = [epochs, memory].map((watch) => watch.run(sites, watching.signal));
  const plan = planActions(new SeededRng(values.seed), nodes, durationMs);
  const { outcomes, unanswered } = await act(federation, plan);
  console.log(`${plan.length} actions; busy ${busy.read()}`);
  for (const [what, count] of [...outcomes].sort()) console.log(`  ${what}: ${count}`);

  const healed = performance.now();
  const findings = await settle(sites);
  const settled = performance.now();
  const silent = await federation.unreachable(sites);
  watching.abort();
  await Promise.all(watches);

  const pairs = (nodes * (nodes - 1)) / 2;
  console.log(`settled after ${seconds(settled - healed)}; busy ${busy.read()}`);
  console.log(
    'resident memory, MB     life   min   first third   last third   a minute   second half',
  );
  for (const life of memory.lives())
    console.log(
      `  ${life.name.padEnd(20)} ${String(life.number).padStart(5)} ${life.minutes.toFixed(1).padStart(5)} ${life.first.toFixed(1).padStart(13)} ${life.last.toFixed(1).padStart(12)} ${life.slope.toFixed(2).padStart(10)} ${life.lateSlope.toFixed(2).padStart(13)}`,
    );
  const stuck = [...findings.stuck].map(([pair, problems]) => `${pair}: ${problems.join('; ')}`);
  return (
    invariant(`stuck pairs, of ${pairs}`, stuck) +
    invariant(`ends without a proof, of ${2 * pairs}`, findings.unproven) +
    invariant('rotations past their deadline', findings.late) +
    invariant(`ways without traffic, of ${2 * pairs}`, silent) +
    invariant(
      `epochs that went back, of ${epochs.compared} looks and ${epochs.changes} changes`,
      epochs.violations,
    ) +
    invariant('commands without an answer', unanswered)
  );
}

function invariant(what: string, violations: readonly string[]): number {
  console.log(`${violations.length === 0 ? 'holds' : 'FAILS'}  ${violations.length} ${what}`);
  for (const violation of violations) console.log(`       ${violation}`);
  return violations.length === 0 ? 0 : 1;
}

/** @returns what is wrong still when patience ends; nothing, mostly */
async function settle(sites: readonly Site[]): Promise<Findings> {
  let findings: Findings = { stuck: new Map(), unproven: [], late: [] };
  const isQuiet = async () => {
    findings = await findProblems(sites);
    const { stuck, unproven, late } = findings;
    return stuck.size + unproven.length + late.length === 0;
  };
  await until(Number(values.settle) * 1_000, 'all pairs are settled', isQuiet, POLL_MS).catch(
    () => undefined,
  );
  return findings;
}

/** Resolves when everybody is back. */
async function act(
  federation: Federation,
  plan: readonly Action[],
): Promise<{
  readonly outcomes: ReadonlyMap<string, number>;
  readonly unanswered: readonly string[];
}> {
  const outcomes = new Map<string, number>();
  const open = new Map<string, Promise<void>>();
  const began = performance.now();
  for (const [i, action] of plan.entries()) {
    await pause(Math.max(0, began + action.at - performance.now()));
    const site = federation.sites[action.node] as Site;
    const what = `${seconds(action.at)} ${action.kind} ${site.name}`;
    if (values.verbose)
      console.log(`  ${what}${action.lasts === 0 ? '' : ` for ${seconds(action.lasts)}`}`);
    const task = perform(federation, site, action).then((outcome) => {
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      open.delete(`${i} ${what}`);
    });
    open.set(`${i} ${what}`, task);
  }
  const patience = sleep(ANSWER_MS, undefined, { ref: false });
  await Promise.race([Promise.all(open.values()), patience]);
  return { outcomes, unanswered: [...open.keys()] };
}

/** @returns the action, and why it was refused if it was */
async function perform(federation: Federation, site: Site, action: Action): Promise<string> {
  const { kind, lasts } = action;
  switch (kind) {
    case 'kill':
      await site.kill();
      await pause(lasts);
      await site.start();
      return kind;
    case 'partition':
      await federation.plug(site, false);
      await pause(lasts);
      await federation.plug(site, true);
      return kind;
    default:
      return site.ask(kind.replace(' ', '.')).then(
        () => kind,
        (error: { readonly code?: string }) => `${kind}, ${error.code ?? 'failed'}`,
      );
  }
}

/** Machines for the tests of one suite: made before them, taken away after them, also when something failed on the way. */
import type { Context } from 'mocha';
import { after, afterEach, before, beforeEach } from 'mocha';
import { skip } from '../skip.ts';
import { createMachines, type Machines, machinesUnavailable } from './federation.ts';

/** A wide margin: founding a mesh, starting its agents and bringing up its tunnels, on a machine that does other things. */
const SET_UP_MS = 90_000;

type SetUp = (machines: Machines) => Promise<void>;

/**
 * To be called in a suite, which it skips where there can be no machines.
 * @param setUp what the tests find done: the configurations, the agents, the tunnels
 * @param unavailable why the suite cannot run here, beside what machines need
 */
export function withMachines(
  names: readonly string[],
  setUp: SetUp,
  timeoutMs = SET_UP_MS,
  unavailable: () => string | undefined = () => undefined,
): void {
  const machines = new MachinesInUse(names, setUp, unavailable);
  before(function () {
    this.timeout(timeoutMs);
    return machines.make(this);
  });
  // Mocha runs it after a set-up that failed too.
  after(() => machines.takeAway());
}

/** As {@link withMachines}, for each test its own. */
export function withFreshMachines(names: readonly string[], setUp: SetUp): void {
  const machines = new MachinesInUse(names, setUp);
  beforeEach(function () {
    this.timeout(SET_UP_MS);
    return machines.make(this);
  });
  afterEach(() => machines.takeAway());
}

class MachinesInUse {
  readonly #names: readonly string[];
  readonly #setUp: SetUp;
  readonly #unavailable: () => string | undefined;
  #machines: Machines | undefined;

  constructor(
    names: readonly string[],
    setUp: SetUp,
    unavailable: () => string | undefined = () => undefined,
  ) {
    this.#names = names;
    this.#setUp = setUp;
    this.#unavailable = unavailable;
  }

  async make(context: Context): Promise<void> {
    const reason = machinesUnavailable() ?? this.#unavailable();
    if (reason !== undefined) skip(context, reason);
    this.#machines = await createMachines(this.#names);
    await this.#setUp(this.#machines);
  }

  async takeAway(): Promise<void> {
    const machines = this.#machines;
    this.#machines = undefined;
    await machines?.[Symbol.asyncDispose]();
  }
}

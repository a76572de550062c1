/** The three organisations on their ground, and what a step does in their names. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '#src/confinement';
import { type HeldGround, holdGround } from './ground.ts';
import { DemoOrganisation, type Status } from './organisation.ts';
import { Patience } from './patience.ts';
import { World } from './world.ts';

const probe = fileURLToPath(new URL('./probe.ts', import.meta.url));

export const NAMES = ['alpha', 'bravo', 'charlie'] as const;
export type Name = (typeof NAMES)[number];
export const PAIRS: readonly (readonly [Name, Name])[] = [
  ['alpha', 'bravo'],
  ['alpha', 'charlie'],
  ['bravo', 'charlie'],
];

export class DemoFederation {
  readonly #organisations = new Map<Name, DemoOrganisation>();
  readonly #helpers = new Set<ChildProcess>();
  readonly #fallen = new AbortController();
  readonly #interrupted: AbortSignal;
  readonly patience: Patience;
  #ground: HeldGround | undefined;

  /** @param interrupted ends every wait */
  constructor(interrupted: AbortSignal) {
    this.#interrupted = interrupted;
    this.patience = new Patience(this.ended);
  }

  /** Aborted when somebody interrupts the demonstration or one of its agents falls, with the reason. */
  get ended(): AbortSignal {
    return AbortSignal.any([this.#interrupted, this.#fallen.signal]);
  }

  /** @param work where their state goes; taken away with the rest */
  async build(work: string): Promise<void> {
    const tag = `km${process.pid % 1_000_000}`;
    const interfaces = NAMES.map((_, i) => `${tag}${'abc'[i]}`);
    const namespaces = World.namespaces(tag, NAMES);
    this.#ground = await holdGround('a demonstration', { namespaces, interfaces, dir: work });
    const { places } = await World.build(tag, NAMES);
    for (const [i, name] of NAMES.entries()) {
      const place = places.get(name);
      if (place === undefined) throw new Error(`no place for ${name}`);
      this.#organisations.set(
        name,
        new DemoOrganisation(name, place, work, {
          tier: name === 'bravo' ? 'softhsm' : 'sealed-file',
          interface: interfaces[i] ?? '',
          patience: this.patience,
          onFall: (reason) => this.#fallen.abort(reason),
        }),
      );
    }
  }

  get organisations(): readonly DemoOrganisation[] {
    return [...this.#organisations.values()];
  }

  of(name: Name): DemoOrganisation {
    const organisation = this.#organisations.get(name);
    if (organisation === undefined) throw new Error(`there is no organisation ${name}`);
    return organisation;
  }

  async each<T>(act: (organisation: DemoOrganisation) => Promise<T>): Promise<readonly T[]> {
    return Promise.all(this.organisations.map(act));
  }

  async statuses(): Promise<readonly Status[]> {
    return this.each((organisation) => organisation.status());
  }

  async allUp(): Promise<void> {
    let lacking: readonly string[] = [];
    await this.patience
      .until(40_000, 'every tunnel is up and proven', async () => {
        const statuses = await this.statuses();
        lacking = this.organisations.flatMap(({ name }, at) => lackingIn(name, statuses[at]));
        return lacking.length === 0;
      })
      .catch((error: unknown) => {
        throw new Error(`${(error as Error).message}; ${lacking.join(', ')}`, { cause: error });
      });
  }

  async overlay(name: Name): Promise<string> {
    return (await this.of(name).status()).overlay[0] ?? '';
  }

  /** Runs the probe in the namespace of `name`. @returns what it measured */
  async probe(name: Name, task: object): Promise<Readonly<Record<string, unknown>>> {
    const { stdout } = await this.of(name).run([
      process.execPath,
      ...NODE_FLAGS,
      probe,
      JSON.stringify(task),
    ]);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>;
  }

  /** Starts a helper in a namespace and waits for its first line. @returns a function that ends it */
  async serve(name: Name, task: object): Promise<() => Promise<void>> {
    const child = this.of(name).spawn(
      [process.execPath, ...NODE_FLAGS, probe, JSON.stringify(task)],
      'pipe',
    );
    this.#helpers.add(child);
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the helper of ${name} ended with ${code}`)));
    });
    return async () => {
      const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.stdin?.end();
      if (child.exitCode === null) await exited;
      this.#helpers.delete(child);
    };
  }

  async stop(): Promise<void> {
    for (const helper of this.#helpers) helper.kill('SIGKILL');
    await this.each((organisation) => organisation.stop());
  }

  /** Takes the ground away. */
  async remove(): Promise<void> {
    await this.#ground?.release();
  }
}

/** What keeps the tunnels of one organisation from being up and proven, in words. */
function lackingIn(name: string, status: Status | undefined): readonly string[] {
  if (status === undefined) return [`${name} says nothing`];
  const { peers, rotating } = status;
  return [
    ...(rotating ? [`${name} rotates`] : []),
    ...(peers.length === 2 ? [] : [`${name} has ${peers.length} peers`]),
    ...peers
      .filter(({ state, proof }) => state !== 'up' || proof === null)
      .map((peer) => `${name} to ${peer.name}: ${peer.reason ?? `${peer.state}, without a proof`}`),
  ];
}

/** The test's end of a member gone bad on a machine (`bad-member-process.ts`), and meshes of machines. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { eventually, type Json, type Machine } from '../../support/machines/federation.ts';

const PROGRAM = new URL('./bad-member-process.ts', import.meta.url);

export class BadMember implements AsyncDisposable {
  readonly machine: Machine;
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  /** @param machine on which `kelmesh init` was run, with a secret file, and whose agent does not run */
  constructor(machine: Machine) {
    this.machine = machine;
    this.#child = machine.program(PROGRAM);
    if (this.#child.stdout === null) throw new Error('expected a process with output');
    this.#lines = createInterface(this.#child.stdout);
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** @returns the result; rejects with what the program says */
  async say(word: string, ...args: readonly unknown[]): Promise<Json> {
    this.#child.stdin?.write(`${JSON.stringify([word, ...args])}\n`);
    const { done, value } = await this.#answers.next();
    if (done === true) throw new Error(`${this.machine.name}: the program has ended at ${word}`);
    const { result, error } = JSON.parse(value) as { result?: Json; error?: string };
    if (error !== undefined) throw new Error(`${this.machine.name}: ${word}: ${error}`);
    return result;
  }

  /** The agent in it stops; its devices stay until the machine goes. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await gone;
    clearTimeout(timer);
  }
}

/** Makes the identities, one after the other. @returns their AIDs */
export async function initialise(machines: readonly Machine[]): Promise<readonly string[]> {
  const aids: string[] = [];
  for (const machine of machines) {
    const args = ['--name', machine.name, '--endpoint', machine.address, '--generate-secret'];
    aids.push((await machine.json('init', ...args)).aid);
  }
  return aids;
}

/** The governor founds the mesh and starts. @returns the line with which others join */
export async function found(governor: Machine): Promise<string> {
  await governor.ok('mesh', 'create', 'attacked');
  await governor.ok('up');
  return (await governor.ok('mesh', 'invite')).trim();
}

/** Joins with the line, starts, and is admitted as soon as it knocks. @param start default: `kelmesh up` */
export async function join(
  governor: Machine,
  member: Machine,
  line: string,
  start: () => Promise<unknown> = () => member.ok('up'),
): Promise<void> {
  await member.ok('mesh', 'join', line);
  const { aid } = await member.json('id', 'show');
  await start();
  await eventually(`${member.name} knocks`, async () => {
    const { knocks } = await governor.json('status');
    return knocks.some((knock: Json) => knock.aid === aid);
  });
  await governor.ok('mesh', 'admit', aid, '--name', member.name);
}

/** The row of `peer list` about a member. */
export async function peerRow(at: Machine, aid: string): Promise<Json> {
  const { peers } = await at.json('peer', 'list');
  return peers.find((peer: Json) => peer.aid === aid);
}

/** Resolves with the row once the tunnel is up and proven. */
export function upTo(at: Machine, aid: string, withinMs?: number): Promise<Json> {
  return eventually(
    `the tunnel of ${at.name} to ${aid} is up and proven`,
    async () => {
      const row = await peerRow(at, aid);
      return row?.state === 'up' && row.proof !== null && row;
    },
    withinMs,
  );
}

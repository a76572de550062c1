/**
 * Whether what runs now was asked for by the operator of this agent, through its control socket, or follows from that: such work
 * goes on where the agent does nothing by itself.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

export class Operator {
  readonly #asked = new AsyncLocalStorage<true>();

  /** Runs `task` as asked for by the operator, with all that it starts. */
  run<T>(task: () => T): T {
    return this.#asked.run(true, task);
  }

  get isActing(): boolean {
    return this.#asked.getStore() === true;
  }
}

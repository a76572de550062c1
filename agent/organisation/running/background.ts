/** What a running agent does with nobody waiting for it: faults go to the journal. */
import { failureOf, type Journal } from '#src/journal';

export class Background {
  readonly #signal: AbortSignal;
  readonly #journal: Journal;

  /** @param signal aborted: the agent has stopped, and faults mean nothing any more */
  constructor(signal: AbortSignal, journal: Journal) {
    this.#signal = signal;
    this.#journal = journal;
  }

  run(task: Promise<unknown>): void {
    task.catch((error: unknown) => this.failed(error));
  }

  failed(error: unknown): void {
    if (!this.#signal.aborted) this.#journal.failed('agent.failed', error, {}, 'error');
  }

  /**
   * Without its witnesses, or with events in its log that it did not make, the node runs on as it is; what it wanted to seal is
   * tried again. So it does when the current key has gone from the token: a rotation needs it not.
   */
  deferIfAwaiting(error: unknown): void {
    const { code } = failureOf(error);
    if (!code.startsWith('IDENTITY_AWAITS_') && code !== 'KEYSTORE_NO_SUCH_KEY') throw error;
    this.#journal.failed('event.waits', error);
  }
}

/** Who hears of what the store has committed. */
import type { KeyState } from '#kel/key-state/key-state';
import type { DuplicityCase } from './duplicity-evidence.ts';

export type EventListener = (state: KeyState, message: Uint8Array) => void;
export type DuplicityListener = (found: DuplicityCase) => void;

export class Announcements {
  readonly #events = new Set<EventListener>();
  readonly #duplicity = new Set<DuplicityListener>();

  /** @returns unsubscribe */
  onEvent(listener: EventListener): () => void {
    this.#events.add(listener);
    return () => this.#events.delete(listener);
  }

  /** @returns unsubscribe */
  onDuplicity(listener: DuplicityListener): () => void {
    this.#duplicity.add(listener);
    return () => this.#duplicity.delete(listener);
  }

  event(state: KeyState, message: Uint8Array): void {
    for (const listener of this.#events) tell(() => listener(state, message));
  }

  duplicity(cases: readonly DuplicityCase[]): void {
    for (const found of cases) {
      for (const listener of this.#duplicity) tell(() => listener(found));
    }
  }
}

/** The log is right whatever its reader does: others are told, and the error goes where errors go. */
function tell(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

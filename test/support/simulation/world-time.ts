/** Time of a world outside any one agent: simulated, or real where sockets are real. */
import type { Clock } from '#src/clock';
import { systemClock } from '../doubles/system-clock.ts';

export interface WorldTime extends Clock {
  /** Calls `fire` after `ms`. @returns a function that takes it back */
  schedule(ms: number, fire: () => void): () => void;
}

export const realTime: WorldTime = {
  ...systemClock,
  schedule: (ms, fire) => {
    const timer = setTimeout(fire, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

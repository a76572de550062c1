/**
 * Rotations by the clock: an interval with jitter, moved into the times of day that the policy allows. And on events: then new
 * tunnel keys at once. What is due next is on disk: a restart neither forgets it nor puts it off.
 */
import type { Clock } from '#src/clock';
import { failureOf, type Journal } from '#src/journal';
import { KeyedWork } from '#src/keyed-work';
import type { Rng } from '#src/rng';
import type { StateTable } from '#src/store/state-table';
import { mistaken } from '#src/ticks';
import type { AskedBy } from './emergency.ts';

export type ScheduledKind = 'tunnel' | 'id';

/** A member was removed or revoked; a member's log has forked, and it is suspended. */
export type RotationTrigger = (typeof rotationEvents)[number];
export const rotationEvents = ['removal', 'suspension'] as const;

export interface RotationPolicy {
  /** Who may ask this organisation to rotate at once. */
  readonly askedBy: AskedBy;
  /** Milliseconds between two rotations; 0: on demand alone. */
  readonly everyMs: Readonly<Record<ScheduledKind, number>>;
  /** Share of the interval, 0 to 1, by which a rotation comes earlier: not all nodes at one time. */
  readonly jitter: number;
  /** When rotations by the clock may begin, UTC; any time when there is none. */
  readonly windows: readonly Window[];
  /** What brings new tunnel keys at once. */
  readonly events: readonly RotationTrigger[];
}

/** Minutes since midnight; `to` before `from` passes midnight. */
export interface Window {
  readonly from: number;
  readonly to: number;
}

export interface ScheduleDeps {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly table: StateTable;
  readonly journal: Journal;
}

export type RotateScheduled = (kind: ScheduledKind) => Promise<void>;

interface Due {
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  /** The interval that it was computed with. */
  readonly everyMs: number;
}

const DAY_MINUTES = 1_440;
const MINUTE_MS = 60_000;
/** A window comes once a day, and may last nearly as long. */
const WINDOW_MS = 2 * DAY_MINUTES * MINUTE_MS;
/** Where it is kept that an event has happened. */
const EVENT = 'event';
/** What stood in the way may be gone. */
const RETRY_MS = 60_000;
/** Longest pause: a timer must not outlive a clock that is set. */
const LOOK_MS = 15 * MINUTE_MS;

/** `HH:MM-HH:MM`; undefined when it is not of that form. */
export function parseWindow(text: string): Window | undefined {
  const match = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$/.exec(text);
  if (match === null) return undefined;
  const [fromHour = 0, fromMinute = 0, toHour = 0, toMinute = 0] = match.slice(1).map(Number);
  const window = { from: fromHour * 60 + fromMinute, to: toHour * 60 + toMinute };
  return window.from === window.to ? undefined : window;
}

/** The first moment from `ms` on at which a rotation may begin, and how long the window is open from then. */
export function opening(ms: number, windows: readonly Window[]): { at: number; openMs: number } {
  if (windows.length === 0) return { at: ms, openMs: 0 };
  const day = DAY_MINUTES * MINUTE_MS;
  const time = ms % day;
  const candidates = windows.map(({ from, to }) => {
    const lengthMs = ((to - from + DAY_MINUTES) % DAY_MINUTES) * MINUTE_MS;
    const sinceFrom = (time - from * MINUTE_MS + day) % day;
    return sinceFrom < lengthMs
      ? { at: ms, openMs: lengthMs - sinceFrom }
      : { at: ms + day - sinceFrom, openMs: lengthMs };
  });
  return candidates.reduce((first, other) => (other.at < first.at ? other : first));
}

export class Schedule {
  readonly #policy: RotationPolicy;
  readonly #deps: ScheduleDeps;
  /** Why the last attempt was put off. */
  #putOff: string | undefined;
  #work: KeyedWork<'due'> | undefined;

  constructor(policy: RotationPolicy, deps: ScheduleDeps) {
    this.#policy = policy;
    this.#deps = deps;
  }

  /** When what is due next; null: on demand alone. */
  next(): {
    readonly tunnel: string | null;
    readonly id: string | null;
    readonly putOff: string | null;
  } {
    const at = (kind: ScheduledKind) => {
      const due = this.#due(kind);
      return due === undefined ? null : new Date(due.at).toISOString();
    };
    return { tunnel: at('tunnel'), id: at('id'), putOff: this.#putOff ?? null };
  }

  /** Has `rotate` done what is due, until `signal` aborts. */
  run(signal: AbortSignal, rotate: RotateScheduled): void {
    this.#work = new KeyedWork<'due'>({
      clock: this.#deps.clock,
      signal,
      run: async () => ({ afterMs: await this.#look(signal, rotate) }),
      pauseMs: () => RETRY_MS,
      failed: (_, error) => mistaken(error),
    });
    this.#work.poke('due');
  }

  /** @returns milliseconds until the next look */
  async #look(signal: AbortSignal, rotate: RotateScheduled): Promise<number> {
    const { clock, table } = this.#deps;
    for (const kind of ['id', 'tunnel'] as const)
      if (this.#due(kind) === undefined) await this.#plan(kind);
    if (table.get(EVENT) !== undefined) return this.#rotate('tunnel', signal, rotate);
    const due = (['id', 'tunnel'] as const)
      .map((kind) => ({ kind, at: this.#due(kind)?.at ?? Number.POSITIVE_INFINITY }))
      .reduce((first, other) => (other.at < first.at ? other : first));
    const waitMs = Math.min(LOOK_MS, Math.max(0, due.at - clock.now()));
    return waitMs > 0 ? waitMs : this.#attempt(due.kind, signal, rotate);
  }

  /** New tunnel keys at once, if the policy says so for `event`: whatever the time of day. */
  async happened(event: RotationTrigger): Promise<void> {
    const { clock, table, journal } = this.#deps;
    if (!this.#policy.events.includes(event)) return;
    await table.put({ [EVENT]: { event, at: clock.now() } });
    journal.info('rotation.on-event', { event });
    this.#work?.hurry('due');
  }

  /** A rotation was made, by whom ever: the next one counts from now. One of the log brings new tunnel keys too. */
  async rotated(kind: ScheduledKind): Promise<void> {
    this.#putOff = undefined;
    await this.#deps.table.put({ [EVENT]: undefined });
    await this.#plan('tunnel');
    if (kind === 'id') await this.#plan('id');
  }

  /** @returns milliseconds until the next look */
  async #attempt(
    kind: ScheduledKind,
    signal: AbortSignal,
    rotate: RotateScheduled,
  ): Promise<number> {
    const { clock, table } = this.#deps;
    const now = clock.now();
    const { at } = opening(now, this.#policy.windows);
    if (at > now) {
      // It was missed while the agent was down.
      await table.put({ [kind]: { at, everyMs: this.#policy.everyMs[kind] } });
      return 0;
    }
    return this.#rotate(kind, signal, rotate);
  }

  /** @returns milliseconds until the next look */
  async #rotate(
    kind: ScheduledKind,
    signal: AbortSignal,
    rotate: RotateScheduled,
  ): Promise<number> {
    const { journal } = this.#deps;
    try {
      await rotate(kind);
      journal.info('rotation.scheduled', { kind });
      return 0;
    } catch (error) {
      if (signal.aborted) return 0;
      this.#putOff = `${kind}: ${failureOf(error).message}`;
      journal.failed('rotation.put-off', error, { kind });
      return RETRY_MS;
    }
  }

  /** Undefined when there is none, or another interval is in force, or it is so far off that the clock was ahead when it was planned. */
  #due(kind: ScheduledKind): Due | undefined {
    const everyMs = this.#policy.everyMs[kind];
    const due = everyMs === 0 ? undefined : this.#deps.table.get<Due>(kind);
    if (due?.everyMs !== everyMs) return undefined;
    return due.at - this.#deps.clock.now() > everyMs + WINDOW_MS ? undefined : due;
  }

  async #plan(kind: ScheduledKind): Promise<void> {
    const { clock, rng, table } = this.#deps;
    const everyMs = this.#policy.everyMs[kind];
    if (everyMs === 0) return;
    const share = () => Buffer.from(rng.bytes(4)).readUInt32BE() / 2 ** 32;
    const wanted = clock.now() + everyMs * (1 - this.#policy.jitter * share());
    const { at, openMs } = opening(Math.round(wanted), this.#policy.windows);
    // Not all at the moment in which the window opens.
    const due: Due = { at: at > wanted + 1 ? Math.round(at + openMs * share()) : at, everyMs };
    await table.put({ [kind]: due });
  }
}

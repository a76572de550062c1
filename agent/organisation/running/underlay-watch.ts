/**
 * Notices that the way out of this machine has changed: another address, another default route, another network. The system tells
 * that something did; what is not the tunnels' own counts. Where nobody tells, it is looked at now and then.
 */
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import { KeyedWork } from '#src/keyed-work';
import type { ReadUnderlay } from '#src/net/underlay';
import { mistaken, ticks } from '#src/ticks';
import type { Ways } from '#src/wireguard/ways';

/** What changes together is told one after the other: an address goes before the next one comes. */
const SETTLE_MS = 250;
const LOOK_MS = 15_000;

export interface UnderlayWatchDeps {
  readonly ways: Pick<Ways, 'watch'> | undefined;
  readonly read: ReadUnderlay;
  /** Devices of the tunnels. */
  readonly isOwn: (device: string) => boolean;
  readonly clock: Clock;
  readonly journal: Pick<Journal, 'failed' | 'info'>;
  readonly changed: () => void;
}

export class UnderlayWatch {
  readonly #deps: UnderlayWatchDeps;
  #before: string | undefined;

  constructor(deps: UnderlayWatchDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { ways, clock, journal } = this.#deps;
    const look = new KeyedWork<'underlay'>({
      clock,
      signal,
      run: async () => {
        await clock.sleep(SETTLE_MS, signal);
        await this.#look();
        return 'done';
      },
      pauseMs: () => LOOK_MS,
      failed: (_key, error) => journal.failed('underlay.unknown', error),
    });
    using watch = ways?.watch(() => look.poke('underlay'));
    look.poke('underlay');
    const pauseMs = () => (watch?.isTelling === true ? 4 * LOOK_MS : LOOK_MS);
    await ticks({ clock, signal, pauseMs, failed: mistaken }, () => look.poke('underlay'));
  }

  async #look(): Promise<void> {
    const { read, isOwn, journal, changed } = this.#deps;
    const before = this.#before;
    this.#before = await read(isOwn);
    if (before === undefined || before === this.#before) return;
    journal.info('underlay.changed', { now: this.#before });
    changed();
  }
}

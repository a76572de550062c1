/**
 * Waiting for a handshake: the device tells when there is news of a peer (`TunnelDriver.watch`), so that nobody has to ask; where
 * nothing can tell it, or what told it has ended, it is asked again and again. Either way the device is what is believed: an event
 * says only that it is worth a look. All who wait at one device share one watch, which ends with the last of them.
 */
import type { Clock } from '#src/clock';
import type {
  DeviceEvent,
  InterfaceName,
  TunnelDriver,
  WireGuardKey,
} from '#src/wireguard/tunnel-driver';

/** How often a device that tells nothing is asked. */
const POLL_MS = 50;

export interface HandshakesDeps {
  readonly driver: Pick<TunnelDriver, 'watch'>;
  readonly clock: Clock;
}

/** Where a peer stands. */
export interface PeerPlace {
  readonly device: InterfaceName;
  readonly key: WireGuardKey;
}

export class Handshakes {
  readonly #deps: HandshakesDeps;
  readonly #watches = new Map<InterfaceName, Watch>();

  constructor(deps: HandshakesDeps) {
    this.#deps = deps;
  }

  /** From now on nothing about the peer is missed, until it is disposed. @param place undefined: on no device */
  wait(place: PeerPlace | undefined): HandshakeWait {
    const watch = place && this.#watchOf(place.device);
    const wait = new HandshakeWait(this.#deps.clock, watch, place?.key, () => {
      if (place === undefined || watch === undefined) return;
      watch.waiting.delete(wait);
      if (watch.waiting.size > 0) return;
      if (this.#watches.get(place.device) === watch) this.#watches.delete(place.device);
      watch.end();
    });
    watch?.waiting.add(wait);
    return wait;
  }

  #watchOf(device: InterfaceName): Watch {
    const known = this.#watches.get(device);
    if (known?.isOver === false) return known;
    const watch = new Watch();
    this.#watches.set(device, watch);
    void watch.begin(this.#deps.driver, device);
    return watch;
  }
}

/** One device, for all who wait at it. */
class Watch {
  readonly waiting = new Set<HandshakeWait>();
  /** What comes is told. */
  isTelling = false;
  isOver = false;
  #handle: Disposable | undefined;

  async begin(driver: HandshakesDeps['driver'], device: InterfaceName): Promise<void> {
    const handle = await driver.watch(device, (event) => this.#take(event)).catch(() => undefined);
    if (handle === undefined) return this.#lose();
    if (this.isOver) return handle[Symbol.dispose]();
    this.#handle = handle;
    this.isTelling = true;
    // It may have come before anything was told.
    for (const wait of this.waiting) wait.news();
  }

  end(): void {
    this.isOver = true;
    this.isTelling = false;
    this.#handle?.[Symbol.dispose]();
    this.#handle = undefined;
  }

  #take(event: DeviceEvent): void {
    if (event.kind === 'lost') this.#lose();
    else if (event.kind === 'peer')
      for (const wait of this.waiting) if (wait.key === event.publicKey) wait.news();
  }

  /** Whoever waits asks for itself from now on. */
  #lose(): void {
    this.end();
    for (const wait of this.waiting) wait.news();
  }
}

export class HandshakeWait implements Disposable {
  readonly key: WireGuardKey | undefined;
  readonly #clock: Clock;
  readonly #watch: Watch | undefined;
  readonly #ended: () => void;
  #hasNews = false;
  #awake: AbortController | undefined;

  constructor(
    clock: Clock,
    watch: Watch | undefined,
    key: WireGuardKey | undefined,
    ended: () => void,
  ) {
    this.#clock = clock;
    this.#watch = watch;
    this.key = key;
    this.#ended = ended;
  }

  /**
   * Resolves when the device is worth a look: at once where something has come since the last time, when it comes, or, where
   * nothing tells it, after {@link POLL_MS}.
   * @param ms at the longest  @returns whether to look; false when nothing has come within `ms`
   */
  async next(ms: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (!this.#hasNews) {
      const isTold = this.#watch?.isTelling === true;
      await this.#sleep(isTold ? ms : Math.min(ms, POLL_MS), signal);
      if (!isTold) return true;
    }
    const hasNews = this.#hasNews;
    this.#hasNews = false;
    return hasNews;
  }

  /** There may have been a handshake. */
  news(): void {
    this.#hasNews = true;
    this.#awake?.abort();
  }

  [Symbol.dispose](): void {
    this.#ended();
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const awake = new AbortController();
    this.#awake = awake;
    await this.#clock
      .sleep(ms, AbortSignal.any([signal, awake.signal]))
      .catch((error: unknown) => {
        if (!awake.signal.aborted || signal.aborted) throw error;
      })
      .finally(() => {
        this.#awake = undefined;
      });
  }
}

/** Probes of one device for one purpose: what is expected, what is sent, what came. */
import type { Clock } from '#src/clock';
import type { Rng } from '#src/rng';
import { probeToken } from '#src/wireguard/device-probes';
import type {
  DeviceProbes,
  InterfaceName,
  ProbeToken,
  TunnelDriver,
  UdpEndpoint,
} from '#src/wireguard/tunnel-driver';

/** When a probe is sent again: the first may meet a mapping that the other end has not opened yet. */
const ROUNDS_MS = [0, 40, 120, 300, 700, 1_200];

export interface ProbingDeps {
  readonly driver: Pick<TunnelDriver, 'probes'>;
  readonly clock: Clock;
  readonly rng: Rng;
}

export interface Target {
  readonly token: ProbeToken;
  readonly endpoint: UdpEndpoint;
}

/** A probe that came. */
export interface Arrival {
  readonly token: ProbeToken;
  readonly from: UdpEndpoint;
}

export class Probing implements Disposable {
  readonly #deps: ProbingDeps;
  readonly #probes: DeviceProbes;
  readonly #arrivals: readonly Arrival[];
  readonly #came: AbortSignal;
  readonly #stop = new AbortController();

  private constructor(
    deps: ProbingDeps,
    probes: DeviceProbes,
    arrivals: readonly Arrival[],
    came: AbortSignal,
  ) {
    this.#deps = deps;
    this.#probes = probes;
    this.#arrivals = arrivals;
    this.#came = came;
  }

  /** @returns undefined where the device has no probes */
  static async of(deps: ProbingDeps, device: InterfaceName): Promise<Probing | undefined> {
    const arrivals: Arrival[] = [];
    const came = new AbortController();
    const probes = await deps.driver.probes?.(device, (token, from) => {
      if (arrivals.some((other) => other.token === token && other.from === from)) return;
      arrivals.push({ token, from });
      came.abort();
    });
    return probes && new Probing(deps, probes, arrivals, came.signal);
  }

  /** A fresh token, which is expected from now on. */
  token(): ProbeToken {
    const token = probeToken(this.#deps.rng.bytes(16));
    this.#probes.expect(token);
    return token;
  }

  expect(token: ProbeToken): void {
    this.#probes.expect(token);
  }

  /** Sends to all of them, some times, until it is disposed. */
  send(targets: readonly Target[]): void {
    void this.#send(targets).catch(() => undefined);
  }

  /** What came until now, in order. */
  get arrivals(): readonly Arrival[] {
    return this.#arrivals;
  }

  /** Resolves `afterMs` after the first arrival: nearer ways answer sooner, and get the time to. At the latest after `ms`. */
  async settled(ms: number, afterMs: number): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stop;
    await clock.sleep(ms, AbortSignal.any([this.#came, signal])).catch(() => undefined);
    if (this.#arrivals.length > 0) await clock.sleep(afterMs, signal).catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#probes[Symbol.dispose]();
  }

  async #send(targets: readonly Target[]): Promise<void> {
    let at = 0;
    for (const due of ROUNDS_MS) {
      if (due > at) await this.#deps.clock.sleep(due - at, this.#stop.signal);
      at = due;
      if (this.#stop.signal.aborted) return;
      for (const { token, endpoint } of targets) this.#probes.send(token, endpoint);
    }
  }
}

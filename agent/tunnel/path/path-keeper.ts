/**
 * Whether packets to the members could go now: the system is asked where it would send them when something has changed, and every
 * half minute anyway; what somebody took from the own devices is put back.
 */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import { SerialQueue } from '#src/serial-queue';
import { ticks } from '#src/ticks';
import type { Ways, WaysLook, WaysWatch } from '#src/wireguard/ways';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import { overlayAddress } from '../../mesh/membership/overlay-address.ts';
import type { Tunnels } from '../pairs/tunnels.ts';
import { type PathFault, pathFault } from './path-fault.ts';

/** How often it is looked where changes are told, and where they are not. */
const LOOK_MS = 30_000;
const BLIND_LOOK_MS = 2_000;
/** Changes come in groups: a moment after the first of them, and no more often than costs a twentieth of the time. */
const GATHER_MS = 150;
const COST_FACTOR = 20;

export interface PathKeeperDeps {
  /** Absent: nobody can say, and no path is called wrong. */
  readonly ways: Ways | undefined;
  readonly tunnels: Pick<Tunnels, 'status' | 'repair' | 'devices'>;
  readonly membership: Membership;
  readonly identity: Pick<Identity, 'aid'>;
  readonly clock: Clock;
  readonly journal: Journal;
}

export class PathKeeper {
  readonly #deps: PathKeeperDeps;
  readonly #rounds = new SerialQueue();
  #look: WaysLook | undefined;
  #watch: WaysWatch | undefined;
  #isDue = false;
  #costMs = 0;
  #signal: AbortSignal = AbortSignal.abort();

  constructor(deps: PathKeeperDeps) {
    this.#deps = deps;
  }

  start(signal: AbortSignal): void {
    const { ways, clock } = this.#deps;
    this.#signal = signal;
    if (ways === undefined) return;
    const watch = ways.watch(() => this.#soon());
    this.#watch = watch;
    signal.addEventListener('abort', () => watch[Symbol.dispose](), { once: true });
    this.#soon();
    const pauseMs = () =>
      Math.max(this.#watch?.isTelling === true ? LOOK_MS : BLIND_LOOK_MS, this.#restMs());
    const failed = (error: unknown) => this.#failed(error);
    void ticks({ clock, signal, pauseMs, failed }, () => this.look());
  }

  /** Asks the system now. */
  look(): Promise<void> {
    return this.#rounds.run(() => this.#round());
  }

  /** Why packets to `aid` would not go into its tunnel; undefined: they would, as far as is known. @param device of the tunnel */
  faultOf(aid: Aid, device: string): PathFault | undefined {
    const { membership, identity, tunnels } = this.#deps;
    const { mesh } = membership;
    if (this.#look === undefined || mesh === undefined) return undefined;
    return pathFault({
      look: this.#look,
      device,
      devices: new Set([...tunnels.devices.values()].map(({ name }) => String(name))),
      own: overlayAddress(mesh, identity.aid),
      peer: overlayAddress(mesh, aid),
    });
  }

  #soon(): void {
    if (this.#isDue || this.#signal.aborted) return;
    this.#isDue = true;
    this.#deps.clock
      .sleep(Math.max(GATHER_MS, this.#restMs()), this.#signal)
      .then(() => {
        this.#isDue = false;
        return this.look();
      })
      .catch((error: unknown) => this.#failed(error));
  }

  #restMs(): number {
    return COST_FACTOR * this.#costMs;
  }

  async #round(): Promise<void> {
    const { tunnels, clock, membership } = this.#deps;
    if (!membership.isIn || this.#signal.aborted) return;
    const begun = clock.monotonic();
    await tunnels.repair();
    await this.#ask();
    // A route that is gone though the device was left with it: what was left there is not believed any more.
    const suspects = await this.#suspects();
    if (suspects.size > 0 && (await tunnels.repair(suspects))) await this.#ask();
    this.#costMs = clock.monotonic() - begun;
  }

  async #ask(): Promise<void> {
    const { ways, membership, identity } = this.#deps;
    const { mesh } = membership;
    if (ways === undefined || mesh === undefined) return;
    const members = membership.others().map(({ aid }) => aid);
    this.#look = await ways.look(
      [identity.aid, ...members].map((aid) => overlayAddress(mesh, aid)),
    );
  }

  async #suspects(): Promise<ReadonlySet<string>> {
    const { tunnels } = this.#deps;
    const suspects = new Set<string>();
    for (const { aid, device } of await tunnels.status()) {
      if (device === undefined) continue;
      const fault = this.faultOf(aid, device.name);
      // A rule of somebody else's is not for this agent to change.
      if (fault !== undefined && !('table' in fault && fault.table !== undefined))
        suspects.add(device.name);
    }
    return suspects;
  }

  #failed(error: unknown): void {
    if (!this.#signal.aborted) this.#deps.journal.failed('path.look-failed', error);
  }
}

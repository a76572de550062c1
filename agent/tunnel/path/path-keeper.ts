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
import type { Echoes } from './echoes.ts';
import { type PathFault, pathFault } from './path-fault.ts';
import type { PathLimit } from './path-mtu.ts';
import { addressOf, type OpenPath, PathMtus, type RouteMtus } from './path-mtus.ts';

/** How often it is looked where changes are told, and where they are not. */
const LOOK_MS = 30_000;
const BLIND_LOOK_MS = 2_000;
/** Changes come in groups: a moment after the first of them, and no more often than costs a twentieth of the time. */
const GATHER_MS = 150;
const COST_FACTOR = 20;

export interface PathKeeperDeps {
  /** Absent: nobody can say, and no path is called wrong. */
  readonly ways: Ways | undefined;
  readonly tunnels: Pick<Tunnels, 'status' | 'repair' | 'deviceNames' | 'reconcile' | 'listen'>;
  readonly echoes: Echoes;
  readonly routeMtus: RouteMtus;
  readonly membership: Membership;
  readonly identity: Pick<Identity, 'aid'>;
  readonly clock: Clock;
  readonly journal: Journal;
}

export class PathKeeper {
  readonly #deps: PathKeeperDeps;
  readonly #rounds = new SerialQueue();
  readonly #mtus: PathMtus;
  #look: WaysLook | undefined;
  /** When the question of the last look was asked, monotonic. */
  #askedAt = 0;
  /** Members whose route this agent has set since, and when, monotonic: what was seen before says nothing of it. */
  readonly #routed = new Map<Aid, number>();
  /** Tunnels that have shaken hands. */
  #open: readonly OpenPath[] = [];
  #watch: WaysWatch | undefined;
  #isDue = false;
  #costMs = 0;
  #signal: AbortSignal = AbortSignal.abort();

  constructor(deps: PathKeeperDeps) {
    this.#deps = deps;
    const { echoes, clock, journal, tunnels, routeMtus } = deps;
    this.#mtus = new PathMtus(
      {
        echoes,
        clock,
        journal,
        look: async () => {
          await this.#rounds.run(() => this.#ask());
          return this.#look;
        },
        apply: () => tunnels.reconcile(),
      },
      routeMtus,
    );
  }

  start(signal: AbortSignal): void {
    const { ways, clock, echoes, tunnels } = this.#deps;
    this.#signal = signal;
    echoes.start(signal);
    tunnels.listen({
      established: (aid) => {
        this.#routed.set(aid, clock.monotonic());
        this.#soon();
      },
      removed: () => undefined,
      receipt: () => undefined,
    });
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

  /** The longest packet to `aid`; undefined: not known yet. */
  limitOf(aid: Aid): PathLimit | undefined {
    return this.#deps.routeMtus.of(aid);
  }

  /** Why packets to `aid` would not go into its tunnel; undefined: they would, as far as is known. @param device of the tunnel */
  faultOf(aid: Aid, device: string): PathFault | undefined {
    const { membership, identity, tunnels } = this.#deps;
    const { mesh } = membership;
    if (this.#look === undefined || mesh === undefined) return undefined;
    if (this.#isNewer(aid)) return undefined;
    return pathFault({
      look: this.#look,
      device,
      devices: tunnels.deviceNames,
      own: overlayAddress(mesh, identity.aid),
      peer: overlayAddress(mesh, aid),
    });
  }

  /** The route of the member was set after the last look. */
  #isNewer(aid: Aid): boolean {
    return (this.#routed.get(aid) ?? Number.NEGATIVE_INFINITY) >= this.#askedAt;
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
    const { tunnels, clock, membership, echoes } = this.#deps;
    if (!membership.isIn || this.#signal.aborted) return;
    const begun = clock.monotonic();
    await tunnels.repair();
    await echoes.listen().catch(() => undefined);
    const suspects = await this.#ask();
    // A route that is gone though the device was left with it: what was left there is not believed any more.
    if (suspects.size > 0 && (await tunnels.repair(suspects))) await this.#ask();
    this.#costMs = clock.monotonic() - begun;
    if (this.#look === undefined) return;
    // It waits for echoes: the next look does not wait for it.
    void this.#mtus.check(this.#open, this.#look).catch((error: unknown) => this.#failed(error));
  }

  /** @returns devices on which something is wrong that is for this agent to put right */
  async #ask(): Promise<ReadonlySet<string>> {
    const { ways, membership, identity, tunnels } = this.#deps;
    const { mesh } = membership;
    if (ways === undefined || mesh === undefined) return new Set();
    const statuses = await tunnels.status();
    this.#open = statuses.flatMap(({ aid, device, peer, handshakeAge }) =>
      device === undefined || peer?.endpoint === undefined || handshakeAge === undefined
        ? []
        : [{ aid, device: device.name, endpoint: peer.endpoint }],
    );
    const members = membership.others().map(({ aid }) => aid);
    const askedAt = this.#deps.clock.monotonic();
    this.#look = await ways.look([
      ...[identity.aid, ...members].map((aid) => overlayAddress(mesh, aid)),
      ...new Set(this.#open.map(({ endpoint }) => addressOf(endpoint))),
    ]);
    this.#askedAt = askedAt;
    for (const aid of [...this.#routed.keys()]) if (!this.#isNewer(aid)) this.#routed.delete(aid);
    const suspects = new Set<string>();
    for (const { aid, device } of statuses) {
      const fault = device && this.faultOf(aid, device.name);
      // A rule of somebody else's is not for this agent to change.
      if (fault !== undefined && !('table' in fault && fault.table !== undefined))
        suspects.add(device?.name ?? '');
    }
    return suspects;
  }

  #failed(error: unknown): void {
    if (!this.#signal.aborted) this.#deps.journal.failed('path.look-failed', error);
  }
}

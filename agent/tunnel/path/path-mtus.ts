/**
 * The path MTU of each tunnel, found and kept: what the system knows of the way of the datagrams, then an echo of full length through
 * the tunnel, and where that does not arrive though a short one does, echoes of many lengths at once. What is found becomes the MTU of the
 * member's route, so that neither end sends what would be lost.
 */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { WaysLook } from '#src/wireguard/ways';
import type { Echoes } from './echoes.ts';
import { lengthsBelow, limited, type PathLimit, packetWithin } from './path-mtu.ts';

/** Bytes of a short packet: where it is lost too, nothing is said of lengths. */
const SHORT = 80;
const TRIES = 3;
const WAIT_MS = 500;
/** A path that was found is tried again after this, and one that did not answer. */
const RECHECK_MS = 300_000;
const RETRY_MS = 30_000;
/** Tunnels that are looked at beside each other. */
const AT_ONCE = 8;

/** A tunnel that is up. */
export interface OpenPath {
  readonly aid: Aid;
  /** The own device. */
  readonly device: string;
  /** `192.0.2.1:51820` or `[2001:db8::1]:51820`. */
  readonly endpoint: string;
}

export interface PathMtusDeps {
  readonly echoes: Pick<Echoes, 'ask'>;
  readonly clock: Clock;
  readonly journal: Journal;
  /** What the system says of the ways of datagrams now. */
  readonly look: () => Promise<WaysLook | undefined>;
  /** Brings the routes to what {@link RouteMtus} holds. */
  readonly apply: () => Promise<void>;
}

/** What was found, for whoever makes the routes. */
export class RouteMtus {
  readonly #limits = new Map<Aid, PathLimit>();

  of(aid: Aid): PathLimit | undefined {
    return this.#limits.get(aid);
  }

  set(aid: Aid, limit: PathLimit): void {
    this.#limits.set(aid, limit);
  }

  keep(aids: ReadonlySet<Aid>): void {
    for (const aid of this.#limits.keys()) if (!aids.has(aid)) this.#limits.delete(aid);
  }
}

export class PathMtus {
  readonly #deps: PathMtusDeps;
  readonly #found: RouteMtus;
  /** When each path is due again, monotonic. */
  readonly #due = new Map<Aid, { readonly path: string; readonly at: number }>();
  readonly #busy = new Set<Aid>();

  constructor(deps: PathMtusDeps, found: RouteMtus) {
    this.#deps = deps;
    this.#found = found;
  }

  /** Looks at those that are new, have another way than before, or were looked at long ago. */
  async check(open: readonly OpenPath[], look: WaysLook): Promise<void> {
    const { clock } = this.#deps;
    const aids = new Set(open.map(({ aid }) => aid));
    this.#found.keep(aids);
    for (const aid of this.#due.keys()) if (!aids.has(aid)) this.#due.delete(aid);
    const due = open.filter(({ aid, endpoint }) => {
      const last = this.#due.get(aid);
      const isDue = last?.path !== pathOf(endpoint, look) || last.at <= clock.monotonic();
      return isDue && !this.#busy.has(aid);
    });
    const waiting = due.values();
    const work = async (): Promise<void> => {
      for (const path of waiting) await this.#checkOne(path, look);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  async #checkOne(path: OpenPath, look: WaysLook): Promise<void> {
    const { clock, journal } = this.#deps;
    const { aid, endpoint } = path;
    this.#busy.add(aid);
    try {
      const isTold = await this.#measure(path, look);
      const at = clock.monotonic() + (isTold ? RECHECK_MS : RETRY_MS);
      this.#due.set(aid, { path: pathOf(endpoint, look), at });
    } catch (error) {
      journal.failed('path.mtu-failed', error, { aid }, 'debug');
    } finally {
      this.#busy.delete(aid);
    }
  }

  /** @returns whether the other end has answered, so that more than its way is known */
  async #measure(path: OpenPath, look: WaysLook): Promise<boolean> {
    const limit = await this.#limit(path, look, undefined);
    if (limit === undefined) return false;
    if (!(await this.#arrives(path.aid, SHORT))) return false;
    if (await this.#arrives(path.aid, limit.bytes)) {
      // A router may have said meanwhile that it takes less: the system cuts what follows into fragments.
      const again = await this.#deps.look();
      const less = again && (await this.#limit(path, again, undefined));
      return less === undefined || less.bytes >= limit.bytes || this.#arrives(path.aid, less.bytes);
    }
    const longest = await this.#longest(path.aid, limit.bytes);
    await this.#limit(path, look, longest);
    return true;
  }

  /**
   * Takes what is known of the way, and `measured`, for the route of the member.
   * @returns the limit from now on; undefined where the system knows no way
   */
  async #limit(
    { aid, device, endpoint }: OpenPath,
    look: WaysLook,
    measured: number | undefined,
  ): Promise<PathLimit | undefined> {
    const { journal, apply } = this.#deps;
    const own = look.links.get(device)?.mtu;
    const underlay = underlayOf(endpoint, look);
    if (own === undefined || underlay === undefined) return undefined;
    const family = endpoint.startsWith('[') ? 'ipv6' : 'ipv4';
    const within = packetWithin(underlay, family, own);
    const isMeasured = measured !== undefined && measured < within;
    const before = this.#found.of(aid);
    const limit = limited(before, {
      path: pathOf(endpoint, look),
      bytes: isMeasured ? measured : within,
      underlay: isMeasured || within >= own ? undefined : underlay,
      isMeasured,
    });
    if (limit === before) return limit;
    this.#found.set(aid, limit);
    if (limit.bytes !== (before?.bytes ?? own)) {
      journal.info('path.mtu', { aid, bytes: limit.bytes, underlay: limit.underlay ?? 0 });
      await apply();
    }
    return limit;
  }

  async #arrives(aid: Aid, length: number): Promise<boolean> {
    for (let n = 0; n < TRIES; n++)
      if ((await this.#deps.echoes.ask(aid, length, WAIT_MS)) !== undefined) return true;
    return false;
  }

  /** The longest that arrives: all lengths at once, then again those above the best, for what was lost by chance. */
  async #longest(aid: Aid, below: number): Promise<number | undefined> {
    const { echoes, clock } = this.#deps;
    let best: number | undefined;
    for (let n = 0; n < TRIES; n++) {
      const lengths = lengthsBelow(below).filter((length) => length > (best ?? 0));
      const answers: Promise<number | undefined>[] = [];
      for (const length of lengths) {
        answers.push(
          echoes.ask(aid, length, WAIT_MS).then((ms) => (ms === undefined ? undefined : length)),
        );
        await clock.sleep(1);
      }
      for (const length of await Promise.all(answers))
        if (length !== undefined) best = Math.max(best ?? 0, length);
    }
    return best ?? lengthsBelow(below)[0];
  }
}

/** Address, device and its MTU: with another one, what was found says nothing. */
function pathOf(endpoint: string, look: WaysLook): string {
  const address = addressOf(endpoint);
  const way = look.ways.get(address);
  const device = way?.kind === 'device' ? way.device : way?.kind === 'local' ? 'lo' : '';
  return `${address} ${device} ${look.links.get(device)?.mtu ?? 0}`;
}

/** Bytes of the largest datagram, with its headers, on the way to `endpoint`. */
function underlayOf(endpoint: string, look: WaysLook): number | undefined {
  const way = look.ways.get(addressOf(endpoint));
  if (way === undefined || way.kind === 'none') return undefined;
  const device = way.kind === 'local' ? 'lo' : way.device;
  const link = look.links.get(device)?.mtu;
  const limit = way.kind === 'device' ? way.mtu : undefined;
  return link === undefined ? limit : Math.min(link, limit ?? link);
}

/** Without the port, and without brackets; of one with a zone nothing is known. */
export function addressOf(endpoint: string): string {
  return endpoint.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

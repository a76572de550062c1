/**
 * The addresses under which this node is reached, where the configuration gives names: asked again every minute, since an
 * address behind a name changes without a word. What others are told are addresses: nobody else asks for a name of ours.
 */
import { isIP } from 'node:net';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';

/** @returns IP addresses; rejects when the name has none */
export type ResolveHost = (name: string) => Promise<readonly string[]>;

export interface HostNamesDeps {
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  readonly journal: Pick<Journal, 'failed' | 'info'>;
  readonly resolve: ResolveHost;
}

const AGAIN_MS = 60_000;
/** A resolver that does not answer holds nobody up for longer. */
const PATIENCE_MS = 5_000;
/** Addresses of one name. */
const MAX_ADDRESSES = 8;

export class HostNames {
  readonly #deps: HostNamesDeps;
  readonly #hosts: readonly string[];
  /** Of each name, the last that were found. */
  readonly #found = new Map<string, readonly string[]>();
  #askedAt: number | undefined;
  #asking: Promise<void> | undefined;

  /** @param hosts IP addresses and names, as the configuration has them */
  constructor(hosts: readonly string[], deps: HostNamesDeps) {
    this.#hosts = hosts;
    this.#deps = deps;
  }

  /** Addresses in the order of the configuration; a name that is not found keeps what it had, at first nothing. */
  async addresses(): Promise<readonly string[]> {
    const { clock } = this.#deps;
    const names = this.#hosts.filter((host) => isIP(host) === 0);
    if (
      names.length > 0 &&
      (this.#askedAt ?? Number.NEGATIVE_INFINITY) + AGAIN_MS <= clock.monotonic()
    ) {
      this.#askedAt = clock.monotonic();
      this.#asking ??= this.#ask(names).finally(() => {
        this.#asking = undefined;
      });
    }
    if (this.#asking !== undefined) await Promise.race([this.#asking, clock.sleep(PATIENCE_MS)]);
    return this.#hosts.flatMap((host) =>
      isIP(host) !== 0 ? [host] : (this.#found.get(host) ?? []),
    );
  }

  async #ask(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#askFor(name)));
  }

  async #askFor(name: string): Promise<void> {
    const { resolve, journal } = this.#deps;
    const former = this.#found.get(name);
    try {
      const addresses = (await resolve(name)).filter((address) => isIP(address) !== 0);
      const found = [...new Set(addresses)].toSorted().slice(0, MAX_ADDRESSES);
      if (found.length === 0) throw new Error('it has no address');
      this.#found.set(name, found);
      if (former?.join() !== found.join())
        journal.info('endpoint.resolved', { name, addresses: found.join(' ') });
    } catch (error) {
      journal.failed('endpoint.unresolved', error, { name, kept: former?.join(' ') ?? 'none' });
    }
  }
}

/** A device, and what stands before it: a model of address translation (RFC 4787), with the strictest filter. */
import type { UdpEndpoint } from '#src/wireguard/tunnel-driver';
import { parseUdpEndpoint } from '#src/wireguard/values';

/** `same-for-all`: another port than the own one, but one for all destinations. */
export type Translation = 'none' | 'keeps-ports' | 'same-for-all' | 'per-destination';

export class SimulatedSite {
  readonly inner: UdpEndpoint;
  readonly #outerHost: string;
  readonly #kind: Translation;
  readonly #mappings = new Map<string, UdpEndpoint>();
  /** To whom something was sent, by mapping: that comes back in, and nothing else. */
  readonly #open = new Set<string>();
  #nextPort = 40_000;

  /** @param inner endpoint of the device  @param outerHost under which it is seen; of no use for `none` */
  constructor(kind: Translation, inner: string, outerHost: string) {
    this.#kind = kind;
    this.inner = parseUdpEndpoint(inner);
    this.#outerHost = outerHost;
  }

  get innerHost(): string {
    return this.inner.split(':')[0] ?? '';
  }

  get port(): number {
    return Number(this.inner.split(':').at(-1));
  }

  /** @returns from where it is seen to come */
  send(to: UdpEndpoint): UdpEndpoint {
    if (this.#kind === 'none') return this.inner;
    const key = this.#kind === 'per-destination' ? to : 'all';
    const port = this.#kind === 'keeps-ports' ? this.port : this.#nextPort++;
    const mapping = this.#mappings.get(key) ?? parseUdpEndpoint(`${this.#outerHost}:${port}`);
    this.#mappings.set(key, mapping);
    this.#open.add(`${mapping} ${to}`);
    return mapping;
  }

  /** Whether what comes from `from` to `at` reaches the device. */
  takes(at: UdpEndpoint, from: UdpEndpoint): boolean {
    return this.#kind === 'none' ? at === this.inner : this.#open.has(`${at} ${from}`);
  }
}

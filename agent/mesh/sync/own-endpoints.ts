/** The own `end` record: where this node is reached now. Issued again when that changes, and twice a day. */
import type { Said } from '#kel/identifiers';
import type { EndpointFields } from '#kel/record/record';
import type { RecordVersion } from '#kel/record/schemas';
import type { Clock } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import type { Identity } from '../../identity/own/identity.ts';
import type { RecordIssuer } from '../../identity/records/record-issuer.ts';
import { canonicalHost, hostOf } from '../../network/host-of.ts';
import type { Network, PeerAddress } from '../../network/network.ts';
import { reachableAddresses } from '../membership/reachable.ts';

const RENEW_MS = 12 * 3_600_000;
/** A record dated further ahead than this was made while the clock was: others may refuse it. */
const AHEAD_MS = 60_000;
const MAX_ADDRESSES = 16;
const MAX_HOSTS = 8;
/** Own records remembered as issued in this run. */
const MAX_ISSUED = 256;

export interface OwnEndpointsDeps {
  readonly identity: Identity;
  readonly network: Network;
  readonly issuer: RecordIssuer;
  readonly clock: Clock;
  /** Where it differs from the clock, one of the two was set. */
  readonly time: Pick<Clock, 'now'>;
  readonly mesh: () => Said | undefined;
  /** In which the mesh writes. */
  readonly recordVersion: () => RecordVersion;
  /** UDP port per own `tun` record. */
  readonly ports: () => ReadonlyMap<Said, { readonly port: number }>;
  /** Configured addresses under which UDP reaches this node; none: those of the network. */
  readonly hosts: () => Promise<readonly string[]>;
}

export class OwnEndpoints {
  readonly #deps: OwnEndpointsDeps;
  readonly #queue = new SerialQueue();
  /** Oldest first. */
  readonly #saids = new Set<Said>();
  #issued:
    | { readonly content: string; readonly at: number; readonly message: Uint8Array }
    | undefined;

  constructor(deps: OwnEndpointsDeps) {
    this.#deps = deps;
  }

  /** Whether this run has issued `said`; waits for one that is being issued. */
  hasIssued(said: Said): Promise<boolean> {
    return this.#queue.run(async () => this.#saids.has(said));
  }

  /** The next one asked for is a new one. */
  renew(): void {
    this.#issued = undefined;
  }

  /** The signed record as it is now. */
  current(): Promise<Uint8Array> {
    return this.#queue.run(async () => {
      const fields = this.#fields(await this.#deps.hosts());
      const { clock, issuer, recordVersion } = this.#deps;
      const grown = recordVersion() === 1 ? {} : { extensions: { x: {}, cr: [] } };
      const content = JSON.stringify([fields, grown]);
      if (this.#issued?.content === content && this.#isDatedWell(this.#issued.at))
        return this.#issued.message;
      // The latest wins by its time: of two in one millisecond the other might.
      while (clock.now() === this.#issued?.at) await clock.sleep(1);
      const { message, said } = await issuer.issue({ type: 'end', fields, ...grown });
      this.#saids.add(said);
      for (const oldest of this.#saids) {
        if (this.#saids.size <= MAX_ISSUED) break;
        this.#saids.delete(oldest);
      }
      this.#issued = { content, at: clock.now(), message };
      return message;
    });
  }

  /** A clock that was set ahead makes no new one, which others would refuse; one that was set back again replaces what it had made. */
  #isDatedWell(at: number): boolean {
    const { clock, time } = this.#deps;
    const age = Math.min(clock.now() - at, time.now() - at);
    return age < RENEW_MS && age > -AHEAD_MS;
  }

  #fields(configuredHosts: readonly string[]): EndpointFields {
    const { identity, network, ports } = this.#deps;
    const { sn, said } = identity.state.establishment;
    const addresses = reachableAddresses(network.addresses(), this.#deps.mesh());
    const hosts = hostsOf(configuredHosts, addresses);
    return {
      es: { s: sn, d: said },
      p: network.self,
      la: addresses.slice(0, MAX_ADDRESSES),
      ue: [...ports()].map(([t, { port }]) => ({
        t,
        a: hosts.map((host) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)),
      })),
    };
  }
}

function hostsOf(
  configured: readonly string[],
  addresses: readonly PeerAddress[],
): readonly string[] {
  const hosts =
    configured.length > 0
      ? configured.map(canonicalHost)
      : addresses.map(hostOf).filter((host) => host !== undefined);
  return [...new Set(hosts)].slice(0, MAX_HOSTS);
}

/** Whom the network keeps places for: peers that are bound or that a member's record names, and the addresses of those records. */
import type { RecordStore } from '#kel/record/record-store';
import type { Clock } from '#src/clock';
import { hostOf } from '../../network/host-of.ts';
import { type Favour, type PeerKey, parsePeerAddress } from '../../network/network.ts';
import type { Membership } from '../membership/membership.ts';
import type { PeerDirectory } from './peer-directory.ts';

/** A stranger's connection costs no look at all records: they are read so often at most. */
const LOOK_MS = 2_000;

export interface MemberFavourDeps {
  readonly membership: Pick<Membership, 'others'>;
  readonly directory: Pick<PeerDirectory, 'aidOf'>;
  readonly records: Pick<RecordStore, 'latest'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}

export class MemberFavour implements Favour {
  readonly #deps: MemberFavourDeps;
  #peers: ReadonlySet<string> = new Set();
  #hosts: ReadonlySet<string> = new Set();
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: MemberFavourDeps) {
    this.#deps = deps;
  }

  peer(peer: PeerKey): boolean {
    this.#look();
    return this.#deps.directory.aidOf(peer) !== undefined || this.#peers.has(peer);
  }

  host(ip: string): boolean {
    this.#look();
    return this.#hosts.has(ip);
  }

  #look(): void {
    const { membership, records, clock } = this.#deps;
    const now = clock.monotonic();
    if (now - this.#lookedAt < LOOK_MS) return;
    this.#lookedAt = now;
    const ends = membership
      .others()
      .map(({ aid }) => records.latest('end', aid)?.record)
      .filter((record) => record !== undefined);
    this.#peers = new Set(ends.map(({ p }) => p));
    this.#hosts = new Set(
      ends
        .flatMap(({ la }) => la.map(parsePeerAddress))
        .map((address) => (address === undefined ? undefined : hostOf(address)))
        .filter((host) => host !== undefined),
    );
  }
}

/**
 * Keeps connections to the members: dials those that are not bound, at the addresses of their `end` records
 * and of the invite, each with a growing pause; and those that are bound through a relay, at the addresses that lead there directly.
 */
import type { Aid } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { Rng } from '#src/rng';
import { ticks } from '#src/ticks';
import { isRelayed } from '../../network/host-of.ts';
import { type Network, type PeerAddress, parsePeerAddress } from '../../network/network.ts';
import type { Membership } from '../membership/membership.ts';
import type { PeerDirectory } from './peer-directory.ts';

const ROUND_MS = 1_000;
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
/** Between attempts to do without a relay: what stands in the way of that seldom changes by itself. */
const MAX_DIRECT_PAUSE_MS = 10 * 60_000;

export interface DiallerDeps {
  readonly network: Network;
  readonly membership: Membership;
  readonly directory: PeerDirectory;
  readonly records: RecordStore;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly journal: Pick<Journal, 'failed'>;
  readonly self: Aid;
}

/** The last dial of somebody that led to nothing. */
export interface FailedDial {
  readonly addresses: readonly PeerAddress[];
  readonly reason: string;
}

interface Attempt {
  failed?: FailedDial;
  pauseMs: number;
  next: number;
  dialling: boolean;
  /** It is connected through a relay. */
  isRelayed: boolean;
}

export class Dialler {
  readonly #deps: DiallerDeps;
  readonly #attempts = new Map<Aid, Attempt>();

  constructor(deps: DiallerDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, journal } = this.#deps;
    const failed = (error: unknown) => journal.failed('agent.failed', error, {}, 'error');
    let pauseMs = 0;
    await ticks({ clock, signal, pauseMs: () => pauseMs, failed }, () => {
      pauseMs = ROUND_MS;
      this.#round(signal);
    });
  }

  /** The member has new addresses: no pause any more. */
  reset(aid: Aid): void {
    this.#attempts.delete(aid);
  }

  /** What could not be reached may be reached now: no pause any more. */
  resetAll(): void {
    this.#attempts.clear();
  }

  /** Undefined: it was not dialled lately, or is connected. */
  failedDial(aid: Aid): FailedDial | undefined {
    const attempt = this.#attempts.get(aid);
    return attempt?.isRelayed === true ? undefined : attempt?.failed;
  }

  /** One member whose address swallows packets does not hold up the others: a dial under way is not waited for. */
  #round(signal: AbortSignal): void {
    const { clock, directory, rng, network } = this.#deps;
    const now = clock.monotonic();
    const wanted = new Set(this.#wanted());
    for (const aid of this.#attempts.keys()) if (!wanted.has(aid)) this.#attempts.delete(aid);
    for (const aid of wanted) {
      const peer = directory.peerOf(aid);
      const isThroughRelay = peer !== undefined && network.relayOf(peer) !== undefined;
      if (peer !== undefined && !isThroughRelay) {
        this.#attempts.delete(aid);
        continue;
      }
      const former = this.#attempts.get(aid);
      const attempt: Attempt =
        former?.isRelayed === isThroughRelay
          ? former
          : { pauseMs: FIRST_PAUSE_MS, next: now, dialling: false, isRelayed: isThroughRelay };
      this.#attempts.set(aid, attempt);
      const all = this.#addressesOf(aid);
      const addresses = isThroughRelay ? all.filter((address) => !isRelayed(address)) : all;
      if (attempt.dialling || attempt.next > now || addresses.length === 0) continue;
      const [jitter = 0] = rng.bytes(1);
      attempt.next = now + attempt.pauseMs * (1 + jitter / 512);
      const maxPauseMs = isThroughRelay ? MAX_DIRECT_PAUSE_MS : MAX_PAUSE_MS;
      attempt.pauseMs = Math.min(attempt.pauseMs * 2, maxPauseMs);
      attempt.dialling = true;
      network.dial(addresses, signal).then(
        () => {
          attempt.dialling = false;
        },
        (error: Error) => {
          attempt.dialling = false;
          attempt.failed = { addresses, reason: error.message };
        },
      );
    }
  }

  #wanted(): readonly Aid[] {
    const { membership, self } = this.#deps;
    const aids = membership.others().map(({ aid }) => aid);
    // Who is not in yet, or not any more, keeps asking the governor.
    const { governor, door } = membership;
    if (aids.length > 0 || governor === undefined || governor === self) return aids;
    return door === undefined ? [governor] : [governor, door.aid];
  }

  #addressesOf(aid: Aid): readonly PeerAddress[] {
    const { records, membership } = this.#deps;
    const record = records.latest('end', aid)?.record;
    const recorded =
      record?.la.map(parsePeerAddress).filter((address) => address !== undefined) ?? [];
    if (aid === membership.door?.aid)
      return [...new Set([...recorded, ...membership.door.addresses])];
    if (aid !== membership.governor) return recorded;
    // A governor that has recovered from the loss of its keys is another peer than the one of the invite.
    const invited = membership.inviteAddresses.filter(
      (address) =>
        !address.includes('/p2p/') || record === undefined || address.endsWith(`/p2p/${record.p}`),
    );
    return [...new Set([...recorded, ...invited])];
  }
}

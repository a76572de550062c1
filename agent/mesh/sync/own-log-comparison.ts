/**
 * Whether a member holds later events of the own log than this store does, as after a restored backup: an own event that is
 * made then is the second one at its place, and proof of duplicity.
 *
 * A member's word that it does stops own events until those events are here, or until it has had the time to show them: nobody
 * holds up another's events by a claim. Who has claimed and not shown is not believed again for a while. Before the first exchange
 * with a member since the start no own event is made: that nobody can be reached is no proof of anything. Where no other member was
 * ever heard nobody can hold an own event, and nothing waits; else the operator may say that this store is the newest.
 */
import type { Aid } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import { IdentityError } from '../../identity/own/errors.ts';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../membership/membership.ts';

/** How long after the start an own event waits for a member before whoever wants it is told. */
const PATIENCE_MS = 10_000;
/** How long a member's word that it holds later own events counts without them: longer than any session takes. */
const CLAIM_MS = 60_000;
/** How long the word of a member that has shown nothing does not count. */
const DISTRUST_MS = 3_600_000;

interface Claim {
  /** First sequence number of the own log that the member lacks, as it says. */
  readonly from: number;
  /** When it first said so without showing it; monotonic. */
  readonly since: number;
}

export interface OwnLogComparisonDeps {
  readonly identity: Pick<Identity, 'aid' | 'state'>;
  readonly membership: Pick<Membership, 'others'>;
  readonly records: Pick<RecordStore, 'list'>;
  readonly clock: Clock;
  readonly journal: Journal;
}

export class OwnLogComparison {
  readonly #deps: OwnLogComparisonDeps;
  /** What each member says and has not shown yet. */
  readonly #claims = new Map<Aid, Claim>();
  readonly #decided = Promise.withResolvers<void>();
  /** Settles when the first wait is over, whatever came of it. */
  readonly #waited = Promise.withResolvers<void>();
  #hasExchanged = false;
  /** Undefined: nobody can be asked yet. */
  #signal: AbortSignal | undefined;
  #isDecided = false;
  /** Of the own log, ever: a recovery makes it shorter. */
  #highest = 0;

  constructor(deps: OwnLogComparisonDeps) {
    this.#deps = deps;
  }

  /** Members can be asked from now on. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    if (!this.#mayBeHeld()) {
      this.confirm();
      return;
    }
    this.#deps.clock.sleep(PATIENCE_MS, signal).then(
      () => {
        if (!this.#isDecided) this.#deps.journal.warn('identity.not-compared');
        this.#waited.resolve();
      },
      () => this.#waited.resolve(),
    );
  }

  /** The operator's word that no member holds a later own event; or there is nobody who could. */
  confirm(): void {
    this.#isDecided = true;
    this.#decided.resolve();
    this.#waited.resolve();
  }

  /** A member whose record is here was bound once, and was given the own log. */
  #mayBeHeld(): boolean {
    const { membership, records, identity } = this.#deps;
    return (
      membership.others().length > 0 &&
      records.list('end').some(({ record }) => record.i !== identity.aid)
    );
  }

  /** Called once: own events need not wait any more. */
  onDecided(listener: () => void): void {
    void this.#decided.promise.then(listener);
  }

  /** `aid`, a member that has shown to be it, lacks the own log from `from` on. */
  lacks(aid: Aid, from: number): void {
    const { identity, journal, clock } = this.#deps;
    const now = clock.monotonic();
    const former = this.#claims.get(aid);
    if (from <= this.#seen() + 1) return;
    // Said again it counts no longer than the first time.
    const isFresh = former === undefined || now - former.since >= DISTRUST_MS;
    this.#claims.set(aid, { from, since: isFresh ? now : former.since });
    if (isFresh)
      journal.error('identity.behind', { member: aid, theirs: from - 1, own: identity.state.sn });
  }

  /** An exchange with `aid` has ended: what it held of the own log is here, and what it has not shown it does not hold. */
  exchanged(aid: Aid): void {
    const { journal, clock } = this.#deps;
    const claim = this.#claims.get(aid);
    if (claim !== undefined && claim.from <= this.#seen() + 1) this.#claims.delete(aid);
    else if (claim !== undefined && clock.monotonic() - claim.since < CLAIM_MS) {
      journal.warn('identity.claim-not-shown', { member: aid, theirs: claim.from - 1 });
      this.#claims.set(aid, { ...claim, since: clock.monotonic() - CLAIM_MS });
    }
    this.#hasExchanged = true;
    this.confirm();
  }

  /** @returns whether a member was asked since the start. Throws IDENTITY_AWAITS_PEERS, IDENTITY_AWAITS_RECOVERY */
  async expectNewest(): Promise<boolean> {
    if (this.#signal === undefined) {
      if (!this.#mayBeHeld()) return false;
      throw awaitsPeers();
    }
    await this.#waited.promise;
    if (!this.#isDecided) throw awaitsPeers();
    const sn = this.#seen();
    const members = new Set(this.#deps.membership.others().map(({ aid }) => aid));
    const since = this.#deps.clock.monotonic() - CLAIM_MS;
    for (const [aid, { from, since: said }] of this.#claims) {
      if (from <= sn + 1 || said <= since || !members.has(aid)) continue;
      throw new IdentityError(
        'IDENTITY_AWAITS_RECOVERY',
        `${aid} holds events of the own log up to ${from - 1}, this store up to ${sn}`,
        {
          hint: 'This state directory is older than the own log. There: `kelmesh id export AID --out FILE`; here: `kelmesh id import FILE`, then `kelmesh id rotate --adopt`. If no other member says so: stop the agent, and remove the one that does (`kelmesh revoke organisation`)',
        },
      );
    }
    return this.#hasExchanged;
  }

  #seen(): number {
    this.#highest = Math.max(this.#highest, this.#deps.identity.state.sn);
    return this.#highest;
  }
}

function awaitsPeers(): IdentityError {
  return new IdentityError(
    'IDENTITY_AWAITS_PEERS',
    'no member has been asked yet whether it holds later events of the own log',
  );
}

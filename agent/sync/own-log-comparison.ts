/**
 * Whether a member holds later events of the own log than this store does, as after a restored backup: an own event that is
 * made then is the second one at its place, and proof of duplicity.
 *
 * A member's word that it does stops own events until those events are here. Before the first exchange with a member
 * since the start an own event waits, though not for ever: who reaches nobody now tells nobody either.
 */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import { IdentityError } from '../identity/errors.ts';
import type { Identity } from '../identity/identity.ts';
import type { Journal } from '../journal.ts';
import type { Membership } from '../membership/membership.ts';

/** How long after the start an own event waits for a member that could hold a later one. */
const PATIENCE_MS = 10_000;

export interface OwnLogComparisonDeps {
  readonly identity: Pick<Identity, 'aid' | 'state'>;
  readonly membership: Pick<Membership, 'others'>;
  readonly clock: Clock;
  readonly journal: Journal;
}

export class OwnLogComparison {
  readonly #deps: OwnLogComparisonDeps;
  /** First sequence number of the own log that each member lacks, as it last said and has not shown yet. */
  readonly #lacked = new Map<Aid, number>();
  readonly #decided = Promise.withResolvers<void>();
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
    if (this.#deps.membership.others().length === 0) {
      this.#decide();
      return;
    }
    this.#deps.clock.sleep(PATIENCE_MS, signal).then(
      () => {
        if (!this.#isDecided) this.#deps.journal.warn('identity.not-compared');
        this.#decide();
      },
      () => this.#decided.resolve(),
    );
  }

  /** Called once: own events need not wait any more. */
  onDecided(listener: () => void): void {
    void this.#decided.promise.then(listener);
  }

  /** `aid`, a member that has shown to be it, lacks the own log from `from` on. */
  lacks(aid: Aid, from: number): void {
    this.#lacked.set(aid, from);
    const { state } = this.#deps.identity;
    const sn = this.#seen();
    if (from > sn + 1)
      this.#deps.journal.error('identity.behind', { member: aid, theirs: from - 1, own: state.sn });
  }

  /** An exchange with `aid` has ended: what it held of the own log is here, and what it has not shown it does not hold. */
  exchanged(aid: Aid): void {
    const from = this.#lacked.get(aid);
    if (from !== undefined && from > this.#seen() + 1)
      this.#deps.journal.warn('identity.claim-not-shown', { member: aid, theirs: from - 1 });
    this.#lacked.delete(aid);
    this.#decide();
  }

  /** Throws IDENTITY_AWAITS_PEERS, IDENTITY_AWAITS_RECOVERY. */
  async expectNewest(): Promise<void> {
    if (this.#signal === undefined) {
      if (this.#deps.membership.others().length === 0) return;
      throw awaitsPeers();
    }
    await this.#decided.promise;
    if (!this.#isDecided) throw awaitsPeers();
    const sn = this.#seen();
    const members = new Set(this.#deps.membership.others().map(({ aid }) => aid));
    for (const [aid, from] of this.#lacked) {
      if (from <= sn + 1 || !members.has(aid)) continue;
      throw new IdentityError(
        'IDENTITY_AWAITS_RECOVERY',
        `${aid} holds events of the own log up to ${from - 1}, this store up to ${sn}`,
        {
          hint: 'This state directory is older than the own log. There: `kelmesh id export AID --out FILE`; here: `kelmesh id import FILE`, then `kelmesh id rotate --adopt`. If no other member says so: stop the agent, and remove the one that does (`kelmesh revoke organisation`)',
        },
      );
    }
  }

  #seen(): number {
    this.#highest = Math.max(this.#highest, this.#deps.identity.state.sn);
    return this.#highest;
  }

  #decide(): void {
    this.#isDecided = true;
    this.#decided.resolve();
  }
}

function awaitsPeers(): IdentityError {
  return new IdentityError(
    'IDENTITY_AWAITS_PEERS',
    'no member has been asked yet whether it holds later events of the own log',
  );
}

/**
 * Whether a second agent runs with the keys of this one: a copy of its state directory that lives, as a machine that was cloned or a
 * backup that was started beside the original.
 *
 * The proof needs nobody's word: an `end` record of the own AID, signed with the own keys and dated after the start of this run, that
 * this run has not issued. Members pass it on as any other. Whoever finds one issues its own anew, so that the other finds that.
 */

import type { Aid, Said } from '#kel/identifiers';
import { Allowance } from '#src/allowance';
import { type Clock, parseDateTime } from '#src/clock';
import type { Journal } from '#src/journal';
import { IdentityError } from '../../identity/own/errors.ts';

/** The own record is issued anew because of another one at most so often. */
const REISSUES = { burst: 1, perSecond: 1 / 600 };

/** Of an `end` record that was verified. */
export interface SignedEnd {
  readonly d: Said;
  readonly i: Aid;
  readonly dt: string;
  /** Establishment event under which it was signed. */
  readonly es: { readonly s: number };
  /** Addresses at which its agent listens. */
  readonly la: readonly string[];
}

export interface OwnTwinDeps {
  readonly identity: { readonly aid: Aid; readonly state: EstablishedAt };
  readonly clock: Clock;
  readonly journal: Journal;
  /** Whether this run has issued the record; waits for one that is being issued. */
  readonly hasIssued: (said: Said) => Promise<boolean>;
  /** Issues the own record anew and lets members have it. */
  readonly reissue: () => void;
}

interface EstablishedAt {
  readonly establishment: { readonly sn: number };
}

export interface Twin {
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
  readonly addresses: readonly string[];
}

export class OwnTwin {
  readonly #deps: OwnTwinDeps;
  /** Records that are older say nothing of now. */
  #started: number;
  #found: (Twin & { readonly sn: number }) | undefined;
  readonly #reissues: Allowance<'all'>;

  constructor(deps: OwnTwinDeps) {
    this.#deps = deps;
    this.#reissues = new Allowance<'all'>(deps.clock, REISSUES);
    this.#started = deps.clock.now();
  }

  /** Undefined: none was found, or what was found signs with keys that were rotated away since. */
  get found(): Twin | undefined {
    const { establishment } = this.#deps.identity.state;
    return this.#found !== undefined && this.#found.sn >= establishment.sn
      ? this.#found
      : undefined;
  }

  /** @param record verified, of any AID */
  async seen(record: SignedEnd): Promise<void> {
    const { identity, clock, journal, hasIssued, reissue } = this.#deps;
    if (record.i !== identity.aid) return;
    const at = parseDateTime(record.dt) ?? 0;
    if (at <= this.#started || (await hasIssued(record.d))) return;
    const former = this.found;
    this.#found = {
      since: former?.since ?? clock.now(),
      addresses: record.la,
      sn: record.es.s,
    };
    if (former === undefined)
      journal.error('identity.twin', { aid: identity.aid, addresses: record.la.join(' ') });
    if (this.#reissues.take('all')) reissue();
  }

  /** The operator says that this one lives: what the other has signed until now counts no more; what it signs from now on does. */
  confirm(): void {
    this.#found = undefined;
    this.#started = this.#deps.clock.now();
  }

  /** Throws IDENTITY_AWAITS_OPERATOR. */
  expectAlone(): void {
    const { found } = this;
    if (found === undefined) return;
    throw new IdentityError(
      'IDENTITY_AWAITS_OPERATOR',
      `another agent runs with the keys of this one, at ${found.addresses.join(', ') || 'an unknown address'}`,
    );
  }
}

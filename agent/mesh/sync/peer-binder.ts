/** Who is at the other end of a session: a member's AID is bound to the peer, anybody else knocks. */
import type { Aid } from '#kel/identifiers';
import { parseRecord } from '#kel/record/parse';
import type { EndRecord, Verified } from '#kel/record/record';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import { companyOf } from '../../identity/node/delegators.ts';
import type { Identity } from '../../identity/own/identity.ts';
import type { RecordIntake } from '../../identity/records/record-intake.ts';
import type { PeerKey } from '../../network/network.ts';
import type { Membership } from '../membership/membership.ts';
import { type BindingDeps, verifyEndpoints, verifyStranger } from './binding.ts';
import { SyncError } from './errors.ts';
import { type Knock, Knocks, MAX_STRANGER_LOG } from './knocks.ts';
import type { LogHead } from './messages.ts';
import type { PeerDirectory } from './peer-directory.ts';
import { TwoPlaces } from './two-places.ts';

export interface PeerBinderDeps extends BindingDeps {
  readonly identity: Identity;
  readonly clock: Clock;
  readonly kel: LevelKelStore;
  readonly intake: RecordIntake;
  readonly membership: Membership;
  readonly directory: PeerDirectory;
  readonly journal: Journal;
}

export class PeerBinder {
  readonly knocks = new Knocks();
  readonly #deps: PeerBinderDeps;
  readonly #heard = new Map<Aid, number>();
  /** Which member's log each connected peer has sent: a long one takes several sessions. */
  readonly #gave = new Map<PeerKey, Aid>();
  /** Peers that did not bind as the member that they say to be: what is held of its log may be another than its own. */
  readonly #doubted = new Map<PeerKey, Aid>();
  readonly #listeners = new Set<(aid: Aid) => void>();
  readonly #twoPlaces: TwoPlaces;

  constructor(deps: PeerBinderDeps) {
    this.#deps = deps;
    this.#twoPlaces = new TwoPlaces(deps.clock);
  }

  /** Addresses of a member that two agents speak for; undefined: one does, as far as is known. */
  placesOf(aid: Aid): readonly string[] | undefined {
    return this.#twoPlaces.placesOf(aid);
  }

  /** When `aid` last proved who it is, or its connection ended; milliseconds since the Unix epoch. */
  heardAt(aid: Aid): number | undefined {
    return this.#heard.get(aid);
  }

  onBound(listener: (aid: Aid) => void): void {
    this.#listeners.add(listener);
  }

  /** Whether `peer` is bound to `aid`, or has sent of its log. */
  hasShown(peer: PeerKey, aid: Aid): boolean {
    return this.#deps.directory.aidOf(peer) === aid || this.#gave.get(peer) === aid;
  }

  /** Whether the log that is held of `aid` may be another one than that of `peer`: it did not bind when it came last. */
  isDoubted(peer: PeerKey, aid: Aid): boolean {
    return this.#doubted.get(peer) === aid;
  }

  disconnected(peer: PeerKey): void {
    const { directory, clock } = this.#deps;
    const aid = directory.aidOf(peer);
    if (aid !== undefined) this.#heard.set(aid, clock.now());
    this.#gave.delete(peer);
    this.#doubted.delete(peer);
    directory.unbind(peer);
  }

  /**
   * Takes the log, and the `end` record that names the peer; log and record are attacker-controlled.
   * @returns whether the AID is a member in good standing; throws SYNC_NOT_BOUND, SYNC_NOT_A_MEMBER
   */
  async bind(
    peer: PeerKey,
    head: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ): Promise<boolean> {
    const { membership, kel, directory, intake, identity, clock, journal } = this.#deps;
    if (head.aid === identity.aid)
      throw new SyncError('SYNC_NOT_BOUND', 'the peer claims the own AID');
    const company = companyOf(head.aid, log, kel);
    if (membership.suspensionOf(head.aid) !== undefined) {
      // Its log is still taken: a recovery of it must be able to arrive.
      await kel.process(log, { accepts: (aid) => aid === head.aid || company.has(aid) });
      return false;
    }
    if (!membership.maySync(head.aid)) {
      await this.#knock(peer, head, log, endpoints);
      return false;
    }
    await kel.process(log, { accepts: (aid) => aid === head.aid || company.has(aid) });
    if (log.length > 0) this.#gave.set(peer, head.aid);
    this.#doubted.set(peer, head.aid);
    const record = await verifyEndpoints(this.#deps, head.aid, peer, endpoints, (aid, sn, said) =>
      kel.establishment(aid, sn, said),
    );
    this.#doubted.delete(peer);
    if (this.#twoPlaces.show(record))
      journal.warn('aid.two-places', {
        aid: head.aid,
        addresses: this.#twoPlaces.placesOf(head.aid)?.join(' '),
      });
    this.#twoPlaces.forget((aid) => membership.maySync(aid));
    await intake.take(endpoints, (type, issuer) => type === 'end' && issuer === head.aid);
    const isNew = directory.aidOf(peer) !== head.aid;
    directory.bind(peer, head.aid);
    this.#heard.set(head.aid, clock.now());
    this.knocks.delete(head.aid);
    if (isNew) {
      journal.info('peer.bound', { aid: head.aid, peer, sn: record.es.s, at: clock.now() });
      for (const listener of this.#listeners) listener(head.aid);
    }
    return true;
  }

  /**
   * A stranger that a member passes on; what it sent is attacker-controlled, and verified as if it had come itself: its own
   * signature names the peer. Who is here itself, or is a member by now, stays as it is.
   * @param via proven member  @returns the stranger; throws SYNC_NOT_BOUND, SYNC_NOT_A_MEMBER
   */
  async takePassedOn(
    via: Aid,
    log: Uint8Array,
    endpoints: Uint8Array,
    name: string | undefined,
  ): Promise<Aid> {
    const { clock, journal, membership, identity } = this.#deps;
    if (log.length > MAX_STRANGER_LOG)
      throw new SyncError(
        'SYNC_NOT_A_MEMBER',
        `a stranger's log of ${log.length} bytes, at most ${MAX_STRANGER_LOG} are read`,
      );
    const { record } = parseRecord(endpoints);
    if (record.t !== 'end' || record.i === identity.aid)
      throw new SyncError('SYNC_NOT_BOUND', 'what was passed on is not of a stranger');
    const aid = record.i;
    const former = this.knocks.get(aid);
    if (membership.maySync(aid)) return aid;
    if (former === undefined || former.via !== undefined) {
      const peer = record.p as PeerKey;
      const { la } = await this.#verifyOutsider(
        peer,
        { aid, sn: 0, said: record.d },
        log,
        endpoints,
      );
      this.knocks.add({ aid, peer, addresses: la, log, endpoints, at: clock.now(), via });
      if (former === undefined) journal.info('peer.knocks', { aid, peer, via });
    }
    if (name !== undefined) this.knocks.note(aid, { name });
    return aid;
  }

  /** A former member's log is kept, so it sent only what is new; a stranger's is checked in memory. */
  async #verifyOutsider(
    peer: PeerKey,
    head: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ): Promise<Verified<EndRecord>> {
    const { kel, membership } = this.#deps;
    if (!membership.known().has(head.aid))
      return verifyStranger(this.#deps, head, peer, log, endpoints);
    const company = companyOf(head.aid, log, kel);
    await kel.process(log, { accepts: (aid) => aid === head.aid || company.has(aid) });
    return verifyEndpoints(this.#deps, head.aid, peer, endpoints, (aid, sn, said) =>
      kel.establishment(aid, sn, said),
    );
  }

  async #knock(
    peer: PeerKey,
    head: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ): Promise<void> {
    const { clock, journal } = this.#deps;
    if (log.length > MAX_STRANGER_LOG)
      throw new SyncError(
        'SYNC_NOT_A_MEMBER',
        `a stranger's log of ${log.length} bytes, at most ${MAX_STRANGER_LOG} are read`,
      );
    const former = this.knocks.get(head.aid);
    if (log.length === 0 && former?.peer === peer) return;
    const record = await this.#verifyOutsider(peer, head, log, endpoints);
    const knock: Knock = {
      aid: head.aid,
      peer,
      addresses: record.la,
      log,
      endpoints,
      at: clock.now(),
      ...(former?.name === undefined ? {} : { name: former.name }),
    };
    this.knocks.add(knock);
    if (former === undefined) journal.info('peer.knocks', { aid: head.aid, peer });
  }
}

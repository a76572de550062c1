/**
 * Which mesh this organisation is in and who else is: the {@link Standing} as of now, computed again whenever something arrives
 * that changes it. What a governor or a member does about it stands in `governing.ts`.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { RecordType, RvkRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import type { RecordVersion } from '#kel/record/schemas';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import type { RecordIntake } from '../../identity/records/record-intake.ts';
import type { Charter, Member, SealedCharter } from './charter.ts';
import type { Contact, Invite } from './invite.ts';
import type { Revocations } from './revocations.ts';
import { type SealedRemoval, Standing } from './standing.ts';
import type { Suspension, Suspensions } from './suspensions.ts';

const MESH = 'mesh';

export interface MembershipDeps {
  readonly self: Aid;
  readonly records: Pick<RecordStore, 'list'>;
  readonly intake: Pick<RecordIntake, 'sealedIn'>;
  readonly table: StateTable;
  readonly suspensions: Pick<Suspensions, 'all' | 'subscribe'>;
  readonly revocations: Pick<Revocations, 'ofNodes' | 'subscribe'>;
}

export class Membership {
  readonly #deps: MembershipDeps;
  readonly #refreshes = new SerialQueue();
  readonly #listeners = new Set<() => void>();
  #chosen: Invite | undefined;
  #charters: readonly SealedCharter[] = [];
  #revocations: readonly SealedRemoval[] = [];
  #standing: Standing;

  private constructor(deps: MembershipDeps) {
    this.#deps = deps;
    this.#chosen = deps.table.get<Invite>(MESH);
    this.#standing = this.#computed();
  }

  static async open(deps: MembershipDeps): Promise<Membership> {
    const membership = new Membership(deps);
    const look = () => {
      membership.#standing = membership.#computed();
      membership.#tell();
    };
    deps.suspensions.subscribe(look);
    deps.revocations.subscribe(look);
    await membership.refresh();
    return membership;
  }

  /** As of now; it does not change any more. Whoever asks two questions that belong together takes it once. */
  get standing(): Standing {
    return this.#standing;
  }

  get charter(): Charter | undefined {
    return this.#standing.charter;
  }

  get charters(): readonly Charter[] {
    return this.#standing.charters;
  }

  get recordVersion(): RecordVersion {
    return this.#standing.recordVersion;
  }

  get mesh(): Said | undefined {
    return this.#standing.mesh;
  }

  get inviteAddresses(): Invite['addresses'] {
    return this.#standing.inviteAddresses;
  }

  get door(): Contact | undefined {
    return this.#standing.door;
  }

  get governor(): Aid | undefined {
    return this.#standing.governor;
  }

  get isIn(): boolean {
    return this.#standing.isIn;
  }

  get ownRevocation(): Verified<RvkRecord> | undefined {
    return this.#standing.ownRevocation;
  }

  others(): readonly Member[] {
    return this.#standing.others;
  }

  suspensionOf(aid: Aid): Suspension | undefined {
    return this.#standing.suspensionOf(aid);
  }

  names(aid: Aid): boolean {
    return this.#standing.names(aid);
  }

  maySync(aid: Aid): boolean {
    return this.#standing.maySync(aid);
  }

  mayIssue(type: RecordType, issuer: Aid): boolean {
    return this.#standing.mayIssue(type, issuer);
  }

  known(): ReadonlySet<Aid> {
    return this.#standing.known;
  }

  hears(aid: Aid): boolean {
    return this.#standing.hears(aid);
  }

  revocationOf(aid: Aid): Verified<RvkRecord> | undefined {
    return this.#standing.revocationOf(aid);
  }

  /** Called after the charter in force, the own standing or a suspension has changed. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Remembers the mesh that this organisation has created or joined. */
  async choose({ mesh, governor, addresses, through }: Invite): Promise<void> {
    const chosen = { mesh, governor, addresses, ...(through === undefined ? {} : { through }) };
    await this.#deps.table.put({ [MESH]: chosen });
    this.#become({ chosen });
    await this.refresh();
  }

  /** Forgets it; nobody is told. */
  async forget(): Promise<void> {
    await this.#deps.table.put({ [MESH]: undefined });
    this.#become({ chosen: undefined });
    await this.refresh();
  }

  /** Reads charters and revocations again, after records or logs have arrived. */
  refresh(): Promise<void> {
    return this.#refreshes.run(async () => {
      const charters = await this.#sealedCharters();
      const revocations = await this.#sealedRevocations();
      this.#become({ charters, revocations });
    });
  }

  /** All at once: nobody sees the new charter with the old revocations, or a moment without any. */
  #become(change: {
    readonly chosen?: Invite | undefined;
    readonly charters?: readonly SealedCharter[];
    readonly revocations?: readonly SealedRemoval[];
  }): void {
    if ('chosen' in change) this.#chosen = change.chosen;
    this.#charters = change.charters ?? this.#charters;
    this.#revocations = change.revocations ?? this.#revocations;
    const before = this.#standing.version;
    this.#standing = this.#computed();
    if (before !== this.#standing.version) this.#tell();
  }

  #computed(): Standing {
    const { self, suspensions, revocations } = this.#deps;
    return new Standing({
      self,
      chosen: this.#chosen,
      charters: this.#charters,
      revocations: this.#revocations,
      revokedNodes: revocations.ofNodes(),
      suspended: new Map(suspensions.all().map((suspension) => [suspension.aid, suspension])),
    });
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #sealedCharters(): Promise<readonly SealedCharter[]> {
    const { records, intake } = this.#deps;
    const sealed: SealedCharter[] = [];
    for (const { record } of records.list('chr')) {
      const sealedIn = await intake.sealedIn(record.i, record.d);
      if (sealedIn !== undefined) sealed.push({ record, sealedIn });
    }
    return sealed;
  }

  async #sealedRevocations(): Promise<readonly SealedRemoval[]> {
    const { records, intake } = this.#deps;
    const sealed: SealedRemoval[] = [];
    for (const { record } of records.list('rvk')) {
      if (record.k !== 'organisation') continue;
      sealed.push({ record, sealedIn: await intake.sealedIn(record.i, record.d) });
    }
    return sealed;
  }
}

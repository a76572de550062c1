/**
 * Which mesh this organisation is in, who else is, and the changes that a governor makes to it.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { CharterFields, RecordType, RvkRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import { type Clock, formatDateTime } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import type { Identity } from '../../identity/own/identity.ts';
import type { RecordIntake } from '../../identity/records/record-intake.ts';
import type { Draft, RecordIssuer } from '../../identity/records/record-issuer.ts';
import { type PeerAddress, parsePeerAddress } from '../../network/network.ts';
import { type Charter, charterChain, type Member, type SealedCharter } from './charter.ts';
import { MembershipError } from './errors.ts';
import { type Door, formatInvite, type Invite } from './invite.ts';
import type { Revocations } from './revocations.ts';
import type { Suspension, Suspensions } from './suspensions.ts';

const MESH = 'mesh';
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** What is remembered of the mesh that was created or joined. */
interface MeshChoice {
  readonly mesh: Said;
  readonly governor: Aid;
  readonly addresses: readonly PeerAddress[];
  /** The member that made the invite, where that does not govern. */
  readonly through?: Door;
}

export interface MembershipDeps {
  readonly identity: Identity;
  readonly records: RecordStore;
  readonly intake: RecordIntake;
  readonly issuer: RecordIssuer;
  readonly table: StateTable;
  readonly clock: Clock;
  readonly suspensions: Pick<Suspensions, 'of' | 'subscribe'>;
  readonly revocations: Pick<Revocations, 'ofNode' | 'subscribe'>;
}

export interface CreateOptions {
  readonly name: string;
  /** The governing organisation's own name in the charter. */
  readonly memberName: string;
  readonly epochSeconds: number;
  readonly region?: string;
}

export class Membership {
  readonly #deps: MembershipDeps;
  readonly #queue = new SerialQueue();
  /** Not `#queue`: a change that a governor makes refreshes before it ends. */
  readonly #refreshes = new SerialQueue();
  readonly #listeners = new Set<() => void>();
  #choice: MeshChoice | undefined;
  #chain: readonly Charter[] = [];
  #known: ReadonlySet<Aid>;
  #revocations: ReadonlyMap<Aid, Verified<RvkRecord>> = new Map();
  /** Those sealed after the charter in force: they count at once, whatever the charter still says, until a later one takes them back. */
  #newerRevocations: ReadonlyMap<Aid, Verified<RvkRecord>> = new Map();

  private constructor(deps: MembershipDeps) {
    this.#deps = deps;
    this.#known = new Set([deps.identity.aid]);
  }

  static async open(deps: MembershipDeps): Promise<Membership> {
    const membership = new Membership(deps);
    membership.#choice = deps.table.get<MeshChoice>(MESH);
    deps.suspensions.subscribe(() => membership.#tell());
    deps.revocations.subscribe(() => membership.#tell());
    await membership.refresh();
    return membership;
  }

  /** The charter in force, undefined before one was received. */
  get charter(): Charter | undefined {
    return this.#chain.at(-1);
  }

  /** All versions up to the one in force, oldest first. */
  get charters(): readonly Charter[] {
    return this.#chain;
  }

  get mesh(): Said | undefined {
    return this.#choice?.mesh;
  }

  /** Where the invite said that the governor is reached. */
  get inviteAddresses(): readonly PeerAddress[] {
    return this.#choice?.addresses ?? [];
  }

  /** The member that made the invite and passes the knock on; undefined once a charter is held. */
  get door(): Door | undefined {
    return this.charter === undefined ? this.#choice?.through : undefined;
  }

  get governor(): Aid | undefined {
    return this.charter?.governors[0] ?? this.#choice?.governor;
  }

  /** Whether this organisation itself is in the charter in force and was not revoked. */
  get isIn(): boolean {
    return (
      this.ownRevocation === undefined &&
      this.charter?.members.has(this.#deps.identity.aid) === true
    );
  }

  get ownRevocation(): Verified<RvkRecord> | undefined {
    const { identity, revocations } = this.#deps;
    return this.#newerRevocations.get(identity.aid) ?? revocations.ofNode(identity.aid);
  }

  /** Other members in good standing, in AID order; none while this organisation is out. */
  others(): readonly Member[] {
    if (!this.isIn) return [];
    const { aid } = this.#deps.identity;
    return [...(this.charter?.members.values() ?? [])]
      .filter((member) => member.aid !== aid && this.#isInGoodStanding(member.aid))
      .sort((a, b) => (a.aid < b.aid ? -1 : 1));
  }

  /** Why `aid` gets no sync, agreement or tunnel although the charter names it. The own AID never is suspended here. */
  suspensionOf(aid: Aid): Suspension | undefined {
    const { identity, suspensions } = this.#deps;
    return aid === identity.aid ? undefined : suspensions.of(aid);
  }

  #isInGoodStanding(aid: Aid): boolean {
    return (
      this.suspensionOf(aid) === undefined &&
      this.#deps.revocations.ofNode(aid) === undefined &&
      !this.#newerRevocations.has(aid)
    );
  }

  /** Whether the charter in force names `aid`, suspended or not: its recovery must find its witnesses. */
  names(aid: Aid): boolean {
    const { charter } = this;
    return charter?.members.has(aid) === true || charter?.governors.includes(aid) === true;
  }

  /** Whether `aid` may sync: a member in good standing, or who stands in the invite while no charter is held. */
  maySync(aid: Aid): boolean {
    const { charter } = this;
    if (!this.#isInGoodStanding(aid)) return false;
    // What the member of the invite brings is the governor's, signed by it.
    if (charter === undefined) return aid === this.#choice?.governor || aid === this.door?.aid;
    return charter.members.has(aid) || charter.governors.includes(aid);
  }

  mayIssue(type: RecordType, issuer: Aid): boolean {
    // A log that has forked seals one charter for some and another for others.
    if (!this.#isInGoodStanding(issuer)) return false;
    if (type === 'chr')
      return (
        issuer === this.#choice?.governor ||
        this.#chain.some((charter) => charter.governors.includes(issuer))
      );
    if (type === 'tup') return false;
    return this.maySync(issuer);
  }

  /** Every AID that a version of the charter has named: whose logs are kept. */
  known(): ReadonlySet<Aid> {
    return this.#known;
  }

  #named(): ReadonlySet<Aid> {
    const aids = new Set<Aid>([this.#deps.identity.aid]);
    if (this.#choice !== undefined) aids.add(this.#choice.governor);
    if (this.door !== undefined) aids.add(this.door.aid);
    for (const charter of this.#chain) {
      for (const aid of charter.members.keys()) aids.add(aid);
      for (const aid of charter.governors) aids.add(aid);
    }
    return aids;
  }

  /** Whose events are taken from gossip: not those of a party that was revoked and not admitted again. */
  hears(aid: Aid): boolean {
    return this.#known.has(aid) && this.revocationOf(aid) === undefined;
  }

  revocationOf(aid: Aid): Verified<RvkRecord> | undefined {
    const node = this.#deps.revocations.ofNode(aid);
    if (node !== undefined) return node;
    const isNamed = this.charter?.members.has(aid) === true;
    return (isNamed ? this.#newerRevocations : this.#revocations).get(aid);
  }

  /** Called after the charter in force, the own standing or a suspension has changed. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  create(options: CreateOptions): Promise<Charter> {
    return this.#queue.run(async () => {
      if (this.#choice !== undefined)
        throw new MembershipError('MESH_EXISTS', `already in mesh ${this.#choice.mesh}`);
      checkName(options.memberName);
      const { identity } = this.#deps;
      const fields: CharterFields = {
        m: '',
        p: '',
        n: 0,
        name: options.name,
        gov: [identity.aid],
        mem: [
          { i: identity.aid, n: options.memberName, role: 'server', region: options.region ?? '' },
        ],
        edge: { min: 'A' },
        // Epochs count from the Unix epoch, so that nobody's founding time shows in a key.
        ep: { len: options.epochSeconds, base: 0 },
      };
      const [said] = await this.#deps.issuer.issueSealed([{ type: 'chr', fields }]);
      if (said === undefined) throw new MembershipError('MESH_NONE', 'the charter was not issued');
      await this.#choose({ mesh: said, governor: identity.aid, addresses: [] });
      return this.#inForce();
    });
  }

  join(invite: Invite): Promise<void> {
    return this.#queue.run(async () => {
      if (this.#choice !== undefined && this.#choice.mesh !== invite.mesh) {
        throw new MembershipError(
          'MESH_EXISTS',
          `already in mesh ${this.#choice.mesh}, the line is for ${invite.mesh}`,
        );
      }
      await this.#choose(invite);
    });
  }

  /** Throws MESH_NONE, MESH_NOT_A_MEMBER. @param addresses under which this organisation is reached */
  invite(addresses: readonly PeerAddress[]): string {
    const { mesh, governor } = this;
    const { identity, records } = this.#deps;
    if (mesh === undefined || governor === undefined)
      throw new MembershipError('MESH_NONE', 'there is no mesh to invite to');
    if (governor === identity.aid) return formatInvite({ mesh, governor, addresses });
    if (!this.isIn)
      throw new MembershipError('MESH_NOT_A_MEMBER', 'this organisation is no member itself', {
        hint: 'A member invites: wait until the governor has admitted this organisation, or ask the governor for a line',
      });
    const recorded = records.latest('end', governor)?.record.la.map(parsePeerAddress) ?? [];
    return formatInvite({
      mesh,
      governor,
      addresses: recorded.filter((address) => address !== undefined),
      through: { aid: identity.aid, addresses },
    });
  }

  /** @param again also one that a governor has removed. Throws MESH_REVOKED, MESH_REMOVED, MESH_NAME_TAKEN and others */
  admit(
    aid: Aid,
    name: string,
    { region = '', again = false }: { readonly region?: string; readonly again?: boolean } = {},
  ): Promise<Charter> {
    return this.#queue.run(async () => {
      checkName(name);
      const charter = this.#governed();
      if (charter.members.has(aid))
        throw new MembershipError(
          'MESH_ALREADY_MEMBER',
          `${aid} is ${charter.members.get(aid)?.name}`,
        );
      this.#checkNameIsFree(charter, name);
      const forEver = this.#deps.revocations.ofNode(aid);
      if (forEver !== undefined)
        throw new MembershipError(
          'MESH_REVOKED',
          `${aid} was revoked on ${forEver.from} by ${forEver.i}, which it is a node of: ${forEver.why || 'no reason given'}`,
        );
      const removal = this.#revocations.get(aid);
      if (removal !== undefined && !again)
        throw new MembershipError(
          'MESH_REMOVED',
          `${aid} was removed on ${removal.from}: ${removal.why || 'no reason given'}`,
        );
      return this.#nextVersion(charter, {
        members: [...charter.members.values(), { aid, name, role: 'server', region }],
      });
    });
  }

  rename(who: string, name: string): Promise<Charter> {
    return this.#queue.run(async () => {
      checkName(name);
      const charter = this.#governed();
      const { aid } = this.find(who);
      this.#checkNameIsFree(charter, name);
      const members = [...charter.members.values()].map((member) =>
        member.aid === aid ? { ...member, name } : member,
      );
      return this.#nextVersion(charter, { members });
    });
  }

  /** The member is out as of now: a charter without it, and a revocation that it may see itself. */
  remove(who: string, reason: string): Promise<Charter> {
    return this.#queue.run(async () => {
      const charter = this.#governed();
      const member = this.find(who);
      if (charter.governors.includes(member.aid))
        throw new MembershipError(
          'MESH_GOVERNOR_STAYS',
          member.aid === charter.governors[0]
            ? `${member.name} governs the mesh`
            : `${member.name} is named as the next governor`,
        );
      const from = formatDateTime(this.#deps.clock.now());
      const staying = [...charter.members.values()].filter(({ aid }) => aid !== member.aid);
      // One event seals both: there is no moment at which one holds without the other.
      return this.#nextVersion(charter, { members: staying }, [
        { type: 'rvk', fields: { k: 'organisation', who: member.aid, from, why: reason } },
      ]);
    });
  }

  /**
   * Names a member as the next governor, or nobody any more. It governs when it has accepted; until then this one does.
   * Throws MESH_NOT_GOVERNOR, MESH_NOT_A_MEMBER, MESH_GOVERNOR_STAYS.
   */
  handOver(who: string | undefined): Promise<Charter> {
    return this.#queue.run(async () => {
      const charter = this.#governed();
      const [self] = charter.governors as readonly [Aid];
      const next = who === undefined ? undefined : this.find(who);
      if (next !== undefined && charter.governors.length > 1)
        throw new MembershipError(
          'MESH_GOVERNOR_STAYS',
          `${charter.governors[1]} is named as the next governor already`,
        );
      if (next?.aid === self)
        throw new MembershipError('MESH_GOVERNOR_STAYS', `${next.name} governs the mesh already`);
      if (next !== undefined && !this.#isInGoodStanding(next.aid))
        throw new MembershipError(
          'MESH_NOT_A_MEMBER',
          `${next.name} is revoked, or suspended because its log has forked`,
        );
      return this.#nextVersion(charter, {
        governors: next === undefined ? [self] : [self, next.aid],
      });
    });
  }

  /** As the one that the governor has named. Throws MESH_NOT_OFFERED. */
  acceptGoverning(): Promise<Charter> {
    return this.#queue.run(async () => {
      const { charter } = this;
      const { aid } = this.#deps.identity;
      if (charter?.governors[1] !== aid || !this.isIn)
        throw new MembershipError(
          'MESH_NOT_OFFERED',
          `the charter in force does not name ${aid} as the next governor`,
        );
      // What the former governor has revoked since its last charter stays out.
      const members = [...charter.members.values()].filter(
        (member) => !this.#newerRevocations.has(member.aid),
      );
      return this.#nextVersion(charter, { governors: [aid], members });
    });
  }

  /**
   * Forgets the mesh; identity, log and audit log stay. Others are told nothing: where the charter names this organisation,
   * it does until the governor removes it.
   * @param sure also where the charter names it. Throws MESH_NONE, MESH_GOVERNOR_STAYS, MESH_LEAVE_UNSURE
   */
  leave(sure: boolean): Promise<void> {
    return this.#queue.run(async () => {
      const { charter } = this;
      const { aid } = this.#deps.identity;
      if (this.#choice === undefined)
        throw new MembershipError('MESH_NONE', 'there is no mesh to leave');
      if (charter?.governors[0] === aid && charter.members.size > 1)
        throw new MembershipError(
          'MESH_GOVERNOR_STAYS',
          `this organisation governs the mesh, and ${charter.members.size - 1} others are in it`,
        );
      if (this.isIn && !sure)
        throw new MembershipError('MESH_LEAVE_UNSURE', 'this organisation is a member of the mesh');
      await this.#deps.table.put({ [MESH]: undefined });
      this.#choice = undefined;
      await this.refresh();
    });
  }

  /** By AID or by name. Throws MESH_NOT_A_MEMBER. */
  find(who: string): Member {
    for (const member of this.charter?.members.values() ?? [])
      if (member.aid === who || member.name === who) return member;
    throw new MembershipError('MESH_NOT_A_MEMBER', `${who} is not in the charter`);
  }

  /** Computes the charter in force again, after records or logs have arrived. */
  refresh(): Promise<void> {
    return this.#refreshes.run(async () => {
      const before = this.#standing();
      const choice = this.#choice;
      const chain =
        choice === undefined ? [] : charterChain(choice.mesh, await this.#sealedCharters());
      const { all, newer } = await this.#sealedRevocations(chain);
      // All at once: nobody sees the new charter with the old revocations, or a moment without any.
      this.#chain = chain;
      this.#known = this.#named();
      this.#revocations = all;
      this.#newerRevocations = newer;
      if (before !== this.#standing()) this.#tell();
    });
  }

  /** Equal as long as nothing changes for anybody. */
  #standing(): string {
    return [this.charter?.said, ...[...this.#newerRevocations.keys()].sort()].join(' ');
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

  /**
   * By who governs, and by who did until it had sealed its last charter: a former governor puts nobody out. `newer`: sealed
   * after the charter in force, by the one that sealed that.
   */
  async #sealedRevocations(chain: readonly Charter[]): Promise<{
    all: ReadonlyMap<Aid, Verified<RvkRecord>>;
    newer: ReadonlyMap<Aid, Verified<RvkRecord>>;
  }> {
    const { records, intake } = this.#deps;
    const charter = chain.at(-1);
    const all = new Map<Aid, Verified<RvkRecord>>();
    const newer = new Map<Aid, Verified<RvkRecord>>();
    for (const { record } of records.list('rvk')) {
      const last = chain.findLast(({ sealedBy }) => sealedBy === record.i);
      if (record.k !== 'organisation' || charter === undefined || last === undefined) continue;
      const who = record.who as Aid;
      const sealedIn = await intake.sealedIn(record.i, record.d);
      const isAfter = (sealedIn?.sn ?? 0) > last.sealedIn.sn;
      if (record.i !== charter.governors[0] && isAfter) continue;
      all.set(who, record);
      if (isAfter && !charter.governors.includes(who)) newer.set(who, record);
    }
    return { all, newer };
  }

  #governed(): Charter {
    const { charter } = this;
    if (charter === undefined) throw new MembershipError('MESH_NONE', 'there is no charter yet');
    if (charter.governors[0] !== this.#deps.identity.aid)
      throw new MembershipError(
        'MESH_NOT_GOVERNOR',
        `the charter is governed by ${charter.governors[0]}`,
      );
    return charter;
  }

  #checkNameIsFree(charter: Charter, name: string): void {
    if ([...charter.members.values()].some((member) => member.name === name))
      throw new MembershipError('MESH_NAME_TAKEN', `a member is called ${name}`);
  }

  /** What `change` does not name stays as it is in force. */
  async #nextVersion(
    charter: Charter,
    change: { readonly members?: readonly Member[]; readonly governors?: readonly Aid[] },
    beside: readonly Draft[] = [],
  ): Promise<Charter> {
    const members = change.members ?? [...charter.members.values()];
    const fields: CharterFields = {
      m: charter.mesh,
      p: charter.said,
      n: charter.version + 1,
      name: charter.name,
      gov: [...(change.governors ?? charter.governors)],
      mem: members.map(({ aid, name, role, region }) => ({ i: aid, n: name, role, region })),
      edge: { min: charter.minimumLevel },
      ep: { len: charter.epochs.lengthSeconds, base: charter.epochs.baseSeconds },
    };
    await this.#deps.issuer.issueSealed([...beside, { type: 'chr', fields }]);
    await this.refresh();
    return this.#inForce();
  }

  async #choose(choice: MeshChoice): Promise<void> {
    const { mesh, governor, addresses, through } = choice;
    const kept = { mesh, governor, addresses, ...(through === undefined ? {} : { through }) };
    await this.#deps.table.put({ [MESH]: kept });
    this.#choice = choice;
    this.#known = this.#named();
    await this.refresh();
  }

  #inForce(): Charter {
    const { charter } = this;
    if (charter === undefined)
      throw new MembershipError('MESH_NONE', 'the charter is not in force');
    return charter;
  }
}

function checkName(name: string): void {
  if (!NAME.test(name))
    throw new MembershipError('MESH_BAD_NAME', `${name.slice(0, 80)} is not a name`);
}

/**
 * What an organisation does about its mesh, one thing at a time: it creates or joins one, invites, leaves; and, while it governs,
 * admits, renames, removes and hands over. Each of these is a new version of the charter, sealed in the own log.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { Selector } from '#kel/record/edge-rule';
import type { CharterExtensions } from '#kel/record/extension';
import type { NodeRole } from '#kel/record/node-role';
import type { CharterFields } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import { type Clock, formatDateTime } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import type { Draft } from '../../identity/records/record-issuer.ts';
import { type PeerAddress, parsePeerAddress } from '../../network/network.ts';
import type { Charter, Member } from './charter.ts';
import { MembershipError } from './errors.ts';
import { formatFirstInvite, formatInvite, type Invite } from './invite.ts';
import type { Membership } from './membership.ts';
import { type MeshPolicy, policyFaultsOf } from './policy/mesh-policy.ts';
import type { Standing } from './standing.ts';

/** Of a member in the charter: 1 to 63 characters. */
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Extensions of a charter that no member may pass over: it would peer where it must not, or write what nobody reads. */
const CRITICAL: readonly (keyof CharterExtensions)[] = ['pol', 'rv', 'top'];

export interface GoverningDeps {
  readonly membership: Pick<Membership, 'standing' | 'refresh' | 'choose' | 'forget'>;
  readonly records: Pick<RecordStore, 'latest'>;
  readonly issuer: { issueSealed(drafts: readonly Draft[]): Promise<readonly Said[]> };
  readonly clock: Pick<Clock, 'now'>;
}

export interface CreateOptions {
  readonly name: string;
  /** The governing organisation's own name in the charter. */
  readonly memberName: string;
  readonly epochSeconds: number;
  readonly region?: string;
}

export class Governing {
  readonly #deps: GoverningDeps;
  readonly #queue = new SerialQueue();

  constructor(deps: GoverningDeps) {
    this.#deps = deps;
  }

  /** Throws MESH_EXISTS, MESH_BAD_NAME. */
  create(options: CreateOptions): Promise<Charter> {
    return this.#queue.run(async () => {
      const { self, mesh } = this.#standing;
      if (mesh !== undefined) throw new MembershipError('MESH_EXISTS', `already in mesh ${mesh}`);
      checkName(options.memberName);
      const fields: CharterFields = {
        m: '',
        p: '',
        n: 0,
        name: options.name,
        gov: [self],
        mem: [{ i: self, n: options.memberName, role: 'server', region: options.region ?? '' }],
        edge: { min: 'A' },
        // Epochs count from the Unix epoch, so that nobody's founding time shows in a key.
        ep: { len: options.epochSeconds, base: 0 },
      };
      const [said] = await this.#deps.issuer.issueSealed([{ type: 'chr', fields }]);
      if (said === undefined) throw new MembershipError('MESH_NONE', 'the charter was not issued');
      await this.#deps.membership.choose({ mesh: said, governor: self, addresses: [] });
      return this.#inForce();
    });
  }

  /** Throws MESH_EXISTS. */
  join(invite: Invite): Promise<void> {
    return this.#queue.run(async () => {
      const { mesh } = this.#standing;
      if (mesh !== undefined && mesh !== invite.mesh)
        throw new MembershipError(
          'MESH_EXISTS',
          `already in mesh ${mesh}, the line is for ${invite.mesh}`,
        );
      await this.#deps.membership.choose(invite);
    });
  }

  /**
   * Throws MESH_NONE, MESH_NOT_A_MEMBER. @param addresses under which this organisation is reached
   * @param isFirst a line that release 0.1 reads: with the governor alone
   */
  invite(addresses: readonly PeerAddress[], isFirst = false): string {
    const { mesh, governor, self, isIn } = this.#standing;
    if (mesh === undefined || governor === undefined)
      throw new MembershipError('MESH_NONE', 'there is no mesh to invite to');
    const format = isFirst ? formatFirstInvite : formatInvite;
    if (governor === self) return format({ mesh, governor, addresses });
    if (!isIn)
      throw new MembershipError('MESH_NOT_A_MEMBER', 'this organisation is no member itself', {
        hint: 'A member invites: wait until the governor has admitted this organisation, or ask the governor for a line',
      });
    const { records } = this.#deps;
    const recorded = records.latest('end', governor)?.record.la.map(parsePeerAddress) ?? [];
    return format({
      mesh,
      governor,
      addresses: recorded.filter((address) => address !== undefined),
      through: { aid: self, addresses },
    });
  }

  /** @param again also one that a governor has removed. Throws MESH_REVOKED, MESH_REMOVED, MESH_NAME_TAKEN and others */
  admit(
    aid: Aid,
    name: string,
    {
      role = 'server',
      region = '',
      again = false,
    }: { readonly role?: NodeRole; readonly region?: string; readonly again?: boolean } = {},
  ): Promise<Charter> {
    return this.#queue.run(async () => {
      checkName(name);
      const standing = this.#standing;
      const charter = this.#governed();
      const already = charter.members.get(aid);
      if (already !== undefined)
        throw new MembershipError('MESH_ALREADY_MEMBER', `${aid} is ${already.name}`);
      this.#checkNameIsFree(name);
      const forEver = standing.nodeRevocationOf(aid);
      if (forEver !== undefined)
        throw new MembershipError(
          'MESH_REVOKED',
          `${aid} was revoked on ${forEver.from} by ${forEver.i}, which it is a node of: ${forEver.why || 'no reason given'}`,
        );
      const removal = standing.removalOf(aid);
      if (removal !== undefined && !again)
        throw new MembershipError(
          'MESH_REMOVED',
          `${aid} was removed on ${removal.from}: ${removal.why || 'no reason given'}`,
        );
      return this.#nextVersion(charter, {
        members: [...charter.members.values(), { aid, name, role, region }],
      });
    });
  }

  /** Throws MESH_BAD_NAME, MESH_NOT_GOVERNOR, MESH_NOT_A_MEMBER, MESH_NAME_TAKEN. */
  rename(who: string, name: string): Promise<Charter> {
    return this.#queue.run(async () => {
      checkName(name);
      const charter = this.#governed();
      const { aid } = this.find(who);
      this.#checkNameIsFree(name);
      const members = [...charter.members.values()].map((member) =>
        member.aid === aid ? { ...member, name } : member,
      );
      const former = charter.members.get(aid)?.name ?? '';
      const extensions = renamedIn(charter.extensions, former, name);
      return this.#nextVersion(charter, {
        members,
        ...(extensions === undefined ? {} : { extensions }),
      });
    });
  }

  /** Of a member, what policy goes by. Throws MESH_NOT_GOVERNOR, MESH_NOT_A_MEMBER. */
  assign(
    who: string,
    what: { readonly role?: NodeRole; readonly region?: string },
  ): Promise<Charter> {
    return this.#queue.run(async () => {
      const charter = this.#governed();
      const { aid } = this.find(who);
      const members = [...charter.members.values()].map((member) =>
        member.aid === aid ? { ...member, ...what } : member,
      );
      return this.#nextVersion(charter, { members });
    });
  }

  /**
   * Another policy for the mesh. @param seen the charter that it was compared with
   * Throws MESH_NOT_GOVERNOR, MESH_RECORDS_OLD, MESH_POLICY_MOVED, MESH_BAD_POLICY.
   */
  setPolicy(policy: Pick<MeshPolicy, 'topology' | 'rules'>, seen: Said): Promise<Charter> {
    return this.#queue.run(async () => {
      const charter = this.#governed();
      if (charter.recordVersion < 2)
        throw new MembershipError(
          'MESH_RECORDS_OLD',
          `the mesh writes records of version ${charter.recordVersion}`,
        );
      if (charter.said !== seen)
        throw new MembershipError(
          'MESH_POLICY_MOVED',
          `the policy was compared with charter ${seen}, in force is ${charter.said}`,
        );
      const { topology: top, rules: pol } = policy;
      const members = [...charter.members.values()];
      const [fault] = policyFaultsOf(
        { ...charter.policy, ...policy },
        { members, brokers: charter.policy.brokers },
      );
      if (fault !== undefined)
        throw new MembershipError(
          'MESH_BAD_POLICY',
          `${fault.rule === null ? 'topology' : `rule ${fault.rule + 1}, ${fault.key}`}: ${fault.why}`,
        );
      return this.#nextVersion(charter, { extensions: { ...charter.extensions, pol, top } });
    });
  }

  /**
   * The member is out as of now: a charter without it, and a revocation that it may see itself.
   * Throws MESH_NOT_GOVERNOR, MESH_NOT_A_MEMBER, MESH_GOVERNOR_STAYS.
   */
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
      if (next !== undefined && !this.#standing.isInGoodStanding(next.aid))
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
      const standing = this.#standing;
      const { charter, self } = standing;
      if (charter?.governors[1] !== self || !standing.isIn)
        throw new MembershipError(
          'MESH_NOT_OFFERED',
          `the charter in force does not name ${self} as the next governor`,
        );
      // What the former governor has revoked since its last charter stays out.
      const members = [...charter.members.values()].filter(
        (member) => !standing.isRemovedSince(member.aid),
      );
      return this.#nextVersion(charter, { governors: [self], members });
    });
  }

  /**
   * From here on the mesh writes records of version 2, and there is no way back. Who cannot read them stays where it is: whoever
   * calls this has looked. Throws MESH_NOT_GOVERNOR, MESH_UPGRADED.
   */
  upgrade(): Promise<Charter> {
    return this.#queue.run(async () => {
      const charter = this.#governed();
      if (charter.recordVersion === 2)
        throw new MembershipError('MESH_UPGRADED', 'the mesh writes records of version 2 already');
      return this.#nextVersion(charter, { extensions: { ...charter.extensions, rv: 2 } });
    });
  }

  /**
   * Forgets the mesh; identity, log and audit log stay. Others are told nothing: where the charter names this organisation,
   * it does until the governor removes it.
   * @param sure also where the charter names it. Throws MESH_NONE, MESH_GOVERNOR_STAYS, MESH_LEAVE_UNSURE
   */
  leave(sure: boolean): Promise<void> {
    return this.#queue.run(async () => {
      const { mesh, charter, self, isIn } = this.#standing;
      if (mesh === undefined) throw new MembershipError('MESH_NONE', 'there is no mesh to leave');
      if (charter?.governors[0] === self && charter.members.size > 1)
        throw new MembershipError(
          'MESH_GOVERNOR_STAYS',
          `this organisation governs the mesh, and ${charter.members.size - 1} others are in it`,
        );
      if (isIn && !sure)
        throw new MembershipError('MESH_LEAVE_UNSURE', 'this organisation is a member of the mesh');
      await this.#deps.membership.forget();
    });
  }

  /** By AID or by name. Throws MESH_NOT_A_MEMBER. */
  find(who: string): Member {
    const member = this.#standing.member(who);
    if (member === undefined)
      throw new MembershipError('MESH_NOT_A_MEMBER', `${who} is not in the charter`);
    return member;
  }

  get #standing(): Standing {
    return this.#deps.membership.standing;
  }

  #governed(): Charter {
    const { charter, self } = this.#standing;
    if (charter === undefined) throw new MembershipError('MESH_NONE', 'there is no charter yet');
    if (charter.governors[0] !== self)
      throw new MembershipError(
        'MESH_NOT_GOVERNOR',
        `the charter is governed by ${charter.governors[0]}`,
      );
    return charter;
  }

  #checkNameIsFree(name: string): void {
    if (this.#standing.isNameTaken(name))
      throw new MembershipError('MESH_NAME_TAKEN', `a member is called ${name}`);
  }

  /** What `change` does not name stays as it is in force. */
  async #nextVersion(
    charter: Charter,
    change: {
      readonly members?: readonly Member[];
      readonly governors?: readonly Aid[];
      /** All of them. */
      readonly extensions?: CharterExtensions;
    },
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
    const x = change.extensions ?? charter.extensions;
    const isGrown = change.extensions !== undefined || charter.recordVersion > 1;
    const cr = [...new Set([...charter.critical, ...CRITICAL.filter((name) => name in x)])].sort();
    const grown = isGrown ? { extensions: { x, cr } } : {};
    await this.#deps.issuer.issueSealed([...beside, { type: 'chr', fields, ...grown }]);
    await this.#deps.membership.refresh();
    return this.#inForce();
  }

  #inForce(): Charter {
    const { charter } = this.#standing;
    if (charter === undefined)
      throw new MembershipError('MESH_NONE', 'the charter is not in force');
    return charter;
  }
}

/** Rules and topology speak of a member by its name; undefined where they do not speak of this one. */
function renamedIn(
  extensions: CharterExtensions,
  former: string,
  name: string,
): CharterExtensions | undefined {
  const { pol = [], top } = extensions;
  const isHub = top === `hub:${former}`;
  const isNamed = pol.some(({ between }) => between.includes(`name:${former}`));
  if (!isHub && !isNamed) return undefined;
  const renamed = (selector: Selector): Selector =>
    selector === `name:${former}` ? `name:${name}` : selector;
  return {
    ...extensions,
    ...(isHub ? { top: `hub:${name}` } : {}),
    ...(isNamed
      ? {
          pol: pol.map(({ between: [a, b], ...rule }) => ({
            between: [renamed(a), renamed(b)],
            ...rule,
          })),
        }
      : {}),
  };
}

function checkName(name: string): void {
  if (!NAME.test(name))
    throw new MembershipError('MESH_BAD_NAME', `${name.slice(0, 80)} is not a name`);
}

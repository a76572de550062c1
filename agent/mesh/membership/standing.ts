/**
 * How this organisation and everybody else stand in the mesh at one moment: who is a member, who may sync, who may issue what.
 * Computed from what has been verified and sealed, and from nothing else; immutable, so whoever holds one sees the charter and
 * the revocations that belong together.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';

import type { ChrRecord, RecordType, RvkRecord, Verified } from '#kel/record/record';
import type { RecordVersion } from '#kel/record/schemas';

import {
  type Charter,
  charterChain,
  type Member,
  type SealedCharter,
  setBackOf,
  termsBetween,
} from './charter.ts';

import type { Contact, Invite } from './invite.ts';
import { overlayAddress } from './overlay-address.ts';
import type { PairPolicyTerms } from './policy/mesh-policy.ts';
import type { Suspension } from './suspensions.ts';

type Revocation = Verified<RvkRecord>;

/** A verified revocation and the event that seals it; undefined: the log that is held seals it no more. */
export interface SealedRemoval {
  readonly record: Revocation;
  readonly sealedIn: Pick<EventReference, 'sn'> | undefined;
}

/** What is held when a standing is computed. */
export interface StandingFacts {
  readonly self: Aid;
  /** The mesh that was created or joined, as the invite has it. */
  readonly chosen: Invite | undefined;
  readonly charters: readonly SealedCharter[];
  /** Of organisations; whoever signed them. */
  readonly revocations: readonly SealedRemoval[];
  /** By those that delegated them. */
  readonly revokedNodes: ReadonlyMap<Aid, Revocation>;
  readonly suspended: ReadonlyMap<Aid, Suspension>;
}

export class Standing {
  readonly self: Aid;
  /** All versions of the charter up to the one in force, oldest first. */
  readonly charters: readonly Charter[];
  /** A charter on top of the one in force that is refused: it would take the mesh back to an earlier version of records. */
  readonly setBack: Verified<ChrRecord> | undefined;
  /** Every AID that a version of the charter has named, the own one, and those of the invite: whose logs are kept. */
  readonly known: ReadonlySet<Aid>;
  /** Other members in good standing, in AID order; none while this organisation is out. */
  readonly others: readonly Member[];
  readonly #chosen: Invite | undefined;
  readonly #revocations: ReadonlyMap<Aid, Revocation>;
  /** Those sealed after the charter in force: they count at once, whatever the charter still says, until a later one takes them back. */
  readonly #newerRevocations: ReadonlyMap<Aid, Revocation>;
  readonly #revokedNodes: ReadonlyMap<Aid, Revocation>;
  readonly #suspended: ReadonlyMap<Aid, Suspension>;
  readonly #othersByAid: ReadonlyMap<Aid, Member>;
  readonly #membersByName: ReadonlyMap<string, Member>;
  readonly #everMembers: ReadonlyMap<Aid, Member>;
  readonly #terms = new Map<Aid, PairPolicyTerms>();
  #othersByAddress: ReadonlyMap<string, Member> | undefined;

  constructor({ self, chosen, charters, revocations, revokedNodes, suspended }: StandingFacts) {
    this.self = self;
    this.#chosen = chosen;
    this.#revokedNodes = revokedNodes;
    this.#suspended = suspended;
    this.charters = chosen === undefined ? [] : charterChain(chosen.mesh, charters);
    this.setBack = this.charter && setBackOf(this.charter, charters);
    const { all, newer } = believed(this.charters, revocations);
    this.#revocations = all;
    this.#newerRevocations = newer;
    this.known = this.#named();
    const members = [...(this.charter?.members.values() ?? [])];
    // A charter that gives one name to two means the first.
    this.#membersByName = new Map(members.toReversed().map((member) => [member.name, member]));
    this.others = this.isIn
      ? members
          .filter(({ aid }) => aid !== self && this.isInGoodStanding(aid))
          .sort((a, b) => (a.aid < b.aid ? -1 : 1))
      : [];
    this.#everMembers = new Map(this.charters.flatMap((version) => [...version.members]));
    this.#othersByAid = new Map(this.others.map((member) => [member.aid, member]));
  }

  /** The charter in force, undefined before one was received. */
  get charter(): Charter | undefined {
    return this.charters.at(-1);
  }

  /** In which the members write their records. */
  get recordVersion(): RecordVersion {
    return this.charter?.recordVersion ?? 1;
  }

  get mesh(): Said | undefined {
    return this.#chosen?.mesh;
  }

  /** Where the invite said that the governor is reached. */
  get inviteAddresses(): Invite['addresses'] {
    return this.#chosen?.addresses ?? [];
  }

  /** The member that made the invite and passes the knock on; undefined once a charter is held. */
  get door(): Contact | undefined {
    return this.charter === undefined ? this.#chosen?.through : undefined;
  }

  get governor(): Aid | undefined {
    return this.charter?.governors[0] ?? this.#chosen?.governor;
  }

  /** Whether this organisation itself is in the charter in force and was not revoked. */
  get isIn(): boolean {
    return this.isMember(this.self);
  }

  get ownRevocation(): Revocation | undefined {
    return this.#newerRevocations.get(this.self) ?? this.#revokedNodes.get(this.self);
  }

  /** Equal for two standings between which no charter came into force and nobody was put out or taken back. */
  get version(): string {
    return [this.charter?.said, ...[...this.#newerRevocations.keys()].sort()].join(' ');
  }

  /** By AID or by name, whatever its standing. */
  member(who: string): Member | undefined {
    return this.charter?.members.get(who as Aid) ?? this.#membersByName.get(who);
  }

  /** As the last version had it that named it: also one that has left. */
  everMember(aid: Aid): Member | undefined {
    return this.#everMembers.get(aid);
  }

  isNameTaken(name: string): boolean {
    return this.#membersByName.has(name);
  }

  /** Another member in good standing; none while this organisation is out. */
  other(aid: Aid): Member | undefined {
    return this.#othersByAid.get(aid);
  }

  /**
   * What the charter in force says of the tunnel with another member; the same at both ends. Undefined unless both are members.
   */
  termsWith(aid: Aid): PairPolicyTerms | undefined {
    const { charter, self } = this;
    const terms = this.#terms.get(aid) ?? (charter && termsBetween(charter, self, aid));
    if (terms !== undefined) this.#terms.set(aid, terms);
    return terms;
  }

  /** @param address canonical overlay address, without prefix length */
  otherAt(address: string): Member | undefined {
    const { mesh } = this;
    if (mesh === undefined) return undefined;
    this.#othersByAddress ??= new Map(
      this.others.map((member) => [overlayAddress(mesh, member.aid), member]),
    );
    return this.#othersByAddress.get(address);
  }

  /** Whether the charter in force has it as a member and nobody has revoked it since; it may be suspended. */
  isMember(aid: Aid): boolean {
    return this.charter?.members.has(aid) === true && this.revocationOf(aid) === undefined;
  }

  /** Why `aid` gets no sync, agreement or tunnel although the charter names it. The own AID never is suspended here. */
  suspensionOf(aid: Aid): Suspension | undefined {
    return aid === this.self ? undefined : this.#suspended.get(aid);
  }

  /** Neither suspended nor revoked since the charter in force; says nothing about whether that names it. */
  isInGoodStanding(aid: Aid): boolean {
    return this.suspensionOf(aid) === undefined && !this.#isOutSince(aid);
  }

  /** Whether the charter in force names `aid`, suspended or not: its recovery must find its witnesses. */
  names(aid: Aid): boolean {
    const { charter } = this;
    return charter?.members.has(aid) === true || charter?.governors.includes(aid) === true;
  }

  /** Whether `aid` may sync: a member in good standing, or who stands in the invite while no charter is held. */
  maySync(aid: Aid): boolean {
    if (!this.isInGoodStanding(aid)) return false;
    // What the member of the invite brings is the governor's, signed by it.
    if (this.charter === undefined) return aid === this.#chosen?.governor || aid === this.door?.aid;
    return this.names(aid);
  }

  mayIssue(type: RecordType, issuer: Aid): boolean {
    // A log that has forked seals one charter for some and another for others.
    if (!this.isInGoodStanding(issuer)) return false;
    if (type === 'chr')
      return (
        issuer === this.#chosen?.governor ||
        this.charters.some((charter) => charter.governors.includes(issuer))
      );
    if (type === 'tup') return false;
    return this.maySync(issuer);
  }

  /** Whose events are taken from gossip: not those of a party that was revoked and not admitted again. */
  hears(aid: Aid): boolean {
    return this.known.has(aid) && this.revocationOf(aid) === undefined;
  }

  /** Of a node, or of an organisation that was not admitted again. */
  revocationOf(aid: Aid): Revocation | undefined {
    const node = this.#revokedNodes.get(aid);
    if (node !== undefined) return node;
    const isNamed = this.charter?.members.has(aid) === true;
    return (isNamed ? this.#newerRevocations : this.#revocations).get(aid);
  }

  /** The last removal of an organisation, whether or not it was admitted again. */
  removalOf(aid: Aid): Revocation | undefined {
    return this.#revocations.get(aid);
  }

  /** For ever, by whoever delegated it. */
  nodeRevocationOf(aid: Aid): Revocation | undefined {
    return this.#revokedNodes.get(aid);
  }

  /** By a governor, after the charter in force; it may still name it. */
  isRemovedSince(aid: Aid): boolean {
    return this.#newerRevocations.has(aid);
  }

  #isOutSince(aid: Aid): boolean {
    return this.#revokedNodes.has(aid) || this.#newerRevocations.has(aid);
  }

  #named(): ReadonlySet<Aid> {
    const aids = new Set<Aid>([this.self]);
    if (this.#chosen !== undefined) aids.add(this.#chosen.governor);
    if (this.door !== undefined) aids.add(this.door.aid);
    for (const charter of this.charters) {
      for (const aid of charter.members.keys()) aids.add(aid);
      for (const aid of charter.governors) aids.add(aid);
    }
    return aids;
  }
}

/**
 * Revocations by who governs, and by who did until it had sealed its last charter: a former governor puts nobody out. `newer`:
 * sealed after the charter in force, by the one that sealed that.
 */
function believed(
  chain: readonly Charter[],
  revocations: readonly SealedRemoval[],
): { all: ReadonlyMap<Aid, Revocation>; newer: ReadonlyMap<Aid, Revocation> } {
  const charter = chain.at(-1);
  const all = new Map<Aid, Revocation>();
  const newer = new Map<Aid, Revocation>();
  for (const { record, sealedIn } of revocations) {
    const last = chain.findLast(({ sealedBy }) => sealedBy === record.i);
    if (record.k !== 'organisation' || charter === undefined || last === undefined) continue;
    const who = record.who as Aid;
    const isAfter = (sealedIn?.sn ?? 0) > last.sealedIn.sn;
    if (record.i !== charter.governors[0] && isAfter) continue;
    all.set(who, record);
    if (isAfter && !charter.governors.includes(who)) newer.set(who, record);
  }
  return { all, newer };
}

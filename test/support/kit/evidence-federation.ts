/**
 * A small federation on paper: organisations with real key event logs, records and audit logs, and tunnels
 * between them, as far as an auditor sees them.
 */
import { MemoryLevel } from 'memory-level';
import type { AuditReport } from '#agent/evidence/auditor/report';
import { verifyBundle } from '#agent/evidence/auditor/verify-bundle';
import { checkpointSeals } from '#agent/evidence/format/anchor';
import {
  decodeBundle,
  decodeDossier,
  decodeHeader,
  encodeBundle,
  encodeDossier,
  encodeHeader,
  encodeSignature,
  mergeBundles,
  sectionDigests,
  signedBytes,
} from '#agent/evidence/format/bundle';
import { buildDossier, type DossierSources } from '#agent/evidence/format/dossier';
import type { LeafType, LeafValues } from '#agent/evidence/format/leaf';
import {
  decodeCheckpoints,
  decodeKels,
  decodeLeaves,
  decodeProofs,
  decodeRecords,
  encodeSections,
  type Sections,
} from '#agent/evidence/format/sections';
import { ProvenanceLog } from '#agent/evidence/log/provenance-log';
import { MAX_EPOCH_SECONDS } from '#agent/mesh/membership/epoch';
import { encodeIndexedSignature } from '#kel/cesr/indexer';
import { buildInception } from '#kel/event/inception';
import { keyDigest } from '#kel/event/key-digest';
import { parseKeyEvent } from '#kel/event/parse';
import { digestSeal, eventSeal, rootSeal, type Seal } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import { buildRecord, encodeSignedRecord, type Grown } from '#kel/record/build';
import type { CharterFields, RecordFields, RecordType, TunnelEndFields } from '#kel/record/record';
import { MemoryLog } from '#kel/verify/memory-log';
import { checkpointOfNote } from '#src/audit/checkpoint';
import { AuditLog } from '#src/audit/log';
import { emptyRoot } from '#src/audit/merkle';
import {
  ed25519NoteSigner,
  formatVerifierKey,
  type NoteSigner,
  verifierKey,
} from '#src/audit/note';
import { utf8 } from '#src/bytes';
import { formatDateTime } from '#src/clock';
import { blake3, sha256 } from '#src/crypto/hash';
import { signXEdDsa } from '#src/crypto/xeddsa';
import { Secret } from '#src/secret';
import type { Database } from '#src/store/durable-table';
import { wireguardPublicKey } from '#src/wireguard/static-key';
import { SeededRng } from '../doubles/seeded-rng.ts';
import { MemoryLogFiles } from './audit-log.ts';
import { ed25519, Organisation, sign, verifySignature } from './key-log.ts';

/** One second passes with every look. */
class StepClock {
  ms = Date.UTC(2026, 2, 1);
  now(): number {
    this.ms += 1_000;
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  async sleep(): Promise<void> {}
}

export interface SignedRecord {
  readonly said: Said;
  readonly message: Uint8Array;
}

/** Which version of a log a member puts into its dossier, and with what changes. */
export type Alteration = (sources: DossierSources) => DossierSources;

export class Member {
  readonly name: string;
  readonly kel: Organisation;
  readonly world: World;
  readonly signer: NoteSigner;
  readonly origin: string;
  provenance!: ProvenanceLog;
  /** Establishment generation, for the keys that sign. */
  generation = 0;
  tun!: SignedRecord;
  readonly records: Uint8Array[] = [];

  /** @param delegator makes it a node of that member */
  constructor(name: string, world: World, delegator?: Member) {
    this.name = name;
    this.world = world;
    this.kel = delegator === undefined ? new Organisation(name) : delegated(name, delegator);
    if (delegator === undefined) this.kel.incept();
    this.origin = `kelmesh/${this.aid}`;
    const seed = blake3(utf8(`log key of ${name}`));
    this.signer = ed25519NoteSigner(ed25519, this.origin, seed);
    const key = formatVerifierKey(verifierKey(this.origin, ed25519.publicKey(seed)));
    this.seal('log', { o: this.origin, vk: [key], cad: { n: 256, s: 900 }, ret: 1 });
  }

  get aid(): Aid {
    return this.kel.aid;
  }

  get establishment() {
    return this.kel.state.establishment;
  }

  async open(): Promise<this> {
    const log = await AuditLog.open(this.origin, new MemoryLogFiles());
    const db = new MemoryLevel() as unknown as Database;
    const { rng, clock } = this.world;
    this.provenance = await ProvenanceLog.open(this.aid, { log, db, rng, clock });
    this.tun = await this.newTunnelKey();
    return this;
  }

  sign(bytes: Uint8Array) {
    return sign(bytes, this.kel.keys(this.generation));
  }

  signRecord<T extends RecordType>(
    type: T,
    fields: RecordFields[T],
    grown: Grown<T> = {},
  ): SignedRecord {
    const { rng, clock } = this.world;
    const dt = formatDateTime(clock.now());
    const input = { aid: this.aid, salt: rng.bytes(16), dt, fields, ...grown };
    const { bytes, said } = buildRecord(type, input);
    const { sn, said: event } = this.establishment;
    const group = { aid: this.aid, sn, said: event, signatures: this.sign(bytes) };
    return { said, message: encodeSignedRecord(bytes, [group]) };
  }

  /** Signed, sealed in the log, kept for the export. */
  seal<T extends RecordType>(type: T, fields: RecordFields[T], grown: Grown<T> = {}): SignedRecord {
    const record = this.signRecord(type, fields, grown);
    this.records.push(record.message);
    this.anchorSeals([digestSeal(record.said)]);
    return record;
  }

  anchorSeals(seals: readonly Seal[]): void {
    this.kel.anchor(seals, { signedBy: this.kel.keys(this.generation) });
  }

  async newTunnelKey(): Promise<SignedRecord> {
    const { sn, said } = this.establishment;
    const { rng, clock } = this.world;
    const now = clock.now();
    using key = new Secret(rng.bytes(32));
    const fields = {
      e: this.generation,
      es: { s: sn, d: said },
      wg: wireguardPublicKey(key),
      kem: { 'ml-kem-1024': rng.bytes(1568) },
      nb: formatDateTime(now),
      na: formatDateTime(now + 86_400_000),
    };
    const prover = { wg: (text: Uint8Array) => signXEdDsa(key, text, rng.bytes(64)) };
    const grown = { extensions: { x: {}, cr: [] }, prover };
    this.tun = this.seal('tun', fields, this.world.recordVersion === 1 ? {} : grown);
    await this.record('tunnel-key', { record: this.tun.said, digest: sha256(this.tun.message) });
    return this.tun;
  }

  record<T extends LeafType>(type: T, values: LeafValues[T]): Promise<number> {
    return this.provenance.record(type, values);
  }

  /** A checkpoint that the next key event commits to, and the leaf that says so. */
  async anchor(): Promise<void> {
    const checkpoint = checkpointOfNote(await this.provenance.checkpoint([this.signer]));
    const [{ rd }, { d }] = checkpointSeals(checkpoint);
    this.anchorSeals([rootSeal(rd), digestSeal(d as Said)]);
    const { sn, said } = this.kel.state;
    await this.record('kel-event', { sn, said });
  }

  async rotate(): Promise<void> {
    await this.anchor();
    this.generation++;
    this.kel.rotate();
    await this.newTunnelKey();
  }

  async knowCharter(charter: SignedRecord, version: number): Promise<void> {
    await this.record('membership', { charter: charter.said, version, change: 'adopted' });
  }

  recordTunnel(
    { message }: SignedRecord,
    own: TunnelEndFields,
    peer: TunnelEndFields,
  ): Promise<number> {
    const epoch = Math.floor(this.world.clock.ms / 1000 / MAX_EPOCH_SECONDS);
    const values = { proof: message, peer: peer.i, epoch, level: 'A', handshake: own.hs };
    return this.record('tunnel-up', values);
  }

  /** This side of a tunnel as it stands now. */
  end(): TunnelEndFields {
    const { sn: s, said: d } = this.establishment;
    const note = this.provenance.log.lastCheckpoint;
    const { size, root } =
      note === undefined ? { size: 0, root: emptyRoot() } : checkpointOfNote(note);
    const hs = formatDateTime(this.world.clock.now());
    return { i: this.aid, s, d, t: this.tun.said, hs, c: { o: this.origin, n: size, r: root } };
  }

  async export(alter: Alteration = (sources) => sources): Promise<Uint8Array> {
    const { sn, said } = this.kel.state;
    const sources: DossierSources = {
      aid: this.aid,
      establishment: this.establishment,
      latest: { sn, said },
      now: this.world.clock.now(),
      kels: this.world.members.map(({ kel }) => ({ aid: kel.aid, stream: kel.stream })),
      records: this.world.members.flatMap(({ records }) => records),
      checkpoints: await this.provenance.checkpoints(),
      log: this.provenance.log,
      openings: (index) => this.provenance.openings(index),
    };
    return buildDossier(alter(sources), async (message) => this.sign(message));
  }
}

/** A delegated inception, with the delegator's approval sealed in its log. */
function delegated(name: string, { kel }: Member): Organisation {
  const node = new Organisation(name);
  const event = buildInception({
    keys: node.keys(0).map(({ key }) => key),
    nextDigests: node.keys(1).map(({ key }) => keyDigest(key)),
    delegator: kel.aid,
  });
  const { sn, said } = kel.anchor([eventSeal(event)]);
  const [first, ...others] = kel.steps;
  if (first === undefined) throw new Error('no event yet');
  const view = new MemoryLog(first.state, parseKeyEvent(first.bytes));
  for (const step of others) view.accept(step.state, parseKeyEvent(step.bytes), undefined);
  node.push(event, node.keys(0), { sealSource: { sn, said }, delegator: view });
  return node;
}

export class World {
  readonly clock = new StepClock();
  readonly rng: SeededRng;
  readonly members: Member[] = [];
  charter!: SignedRecord & { readonly version: number };
  mesh!: Said;
  /** Of the records that are made from now on. */
  recordVersion: 1 | 2 = 1;

  constructor(seed: string) {
    this.rng = new SeededRng(seed);
  }

  async add(name: string, delegator?: Member): Promise<Member> {
    const member = new Member(name, this, delegator);
    this.members.push(member);
    return member.open();
  }

  /** The next version of the charter, sealed by the first member and recorded by those that know of it, by default all in it. */
  async adopt(
    members: readonly Member[],
    change: Partial<CharterFields> = {},
    knownTo: readonly Member[] = members,
  ): Promise<SignedRecord> {
    const [governor] = this.members;
    if (governor === undefined) throw new Error('no member yet');
    const isFirst = this.charter === undefined;
    const version = isFirst ? 0 : this.charter.version + 1;
    const fields: CharterFields = {
      m: isFirst ? '' : this.mesh,
      p: isFirst ? '' : this.charter.said,
      n: version,
      name: 'test mesh',
      gov: [governor.aid],
      mem: members.map(({ aid, name }) => ({ i: aid, n: name, role: 'server', region: '' })),
      edge: { min: 'A' },
      ep: { len: MAX_EPOCH_SECONDS, base: 0 },
      ...change,
    };
    const grown = { extensions: { x: { rv: 2 as const }, cr: ['rv'] } };
    const record = governor.seal('chr', fields, this.recordVersion === 1 ? {} : grown);
    if (isFirst) this.mesh = record.said;
    this.charter = { ...record, version };
    for (const member of knownTo) await member.knowCharter(record, version);
    return record;
  }

  /** Both ends sign and, unless told otherwise, log. */
  async tunnel(
    one: Member,
    other: Member,
    options: {
      readonly change?: Partial<RecordFields['tup']>;
      readonly loggedBy?: readonly Member[];
      /** Date-time that the proof claims. */
      readonly at?: string;
      /** Of `one` and `other`. */
      readonly ends?: readonly [TunnelEndFields, TunnelEndFields];
    } = {},
  ): Promise<SignedRecord> {
    const given = options.ends ?? [one.end(), other.end()];
    const isOrdered = one.aid < other.aid;
    const [a, b] = isOrdered ? [one, other] : [other, one];
    const [endA, endB] = isOrdered ? given : [given[1], given[0]];
    const { rng, clock } = this;
    const fields: RecordFields['tup'] = {
      a: endA,
      b: endB,
      m: this.mesh,
      ch: this.charter.said,
      ep: Math.floor(clock.now() / 1000 / MAX_EPOCH_SECONDS),
      th: rng.bytes(32),
      lv: 'A',
      g: 0,
      na: rng.bytes(32),
      nb: rng.bytes(32),
      ...options.change,
    };
    const dt = options.at ?? formatDateTime(clock.now());
    const input = { aid: a.aid, salt: rng.bytes(16), dt, fields };
    const { bytes, said } = buildRecord('tup', input);
    const groups = [a, b].map((member, i) => {
      const end = i === 0 ? fields.a : fields.b;
      return { aid: member.aid, sn: end.s, said: end.d, signatures: member.sign(bytes) };
    });
    const message = encodeSignedRecord(bytes, groups);
    for (const member of options.loggedBy ?? [a, b]) {
      const [own, peer] = member === a ? [fields.a, b] : [fields.b, a];
      const values = {
        proof: message,
        peer: peer.aid,
        epoch: fields.ep,
        level: fields.lv,
        handshake: own.hs,
      };
      await member.record('tunnel-up', values);
    }
    return { said, message };
  }
}

/** Audits what the members export an hour later, each anchored first. */
export async function audit(...members: readonly Member[]): Promise<AuditReport> {
  for (const { world } of members.slice(0, 1)) world.clock.ms += 3_600_000;
  for (const member of members) await member.anchor();
  const bundles: Uint8Array[] = [];
  for (const member of members) bundles.push(await member.export());
  return verify(mergeBundles(bundles));
}

export function verify(bundle: Uint8Array): Promise<AuditReport> {
  return verifyBundle(bundle, { verifySignature });
}

/** The one dossier of `bundle` with other sections, signed again by `member`: what a dishonest exporter can do. */
export function resigned(
  bundle: Uint8Array,
  member: Member,
  change: (sections: Sections) => Sections,
): Uint8Array {
  const [encoded] = decodeBundle(bundle);
  const parts = decodeDossier(encoded as Uint8Array);
  const { kels, records, checkpoints, leaves, proofs } = parts.sections;
  const sections = encodeSections(
    change({
      kels: decodeKels(kels),
      records: decodeRecords(records),
      checkpoints: decodeCheckpoints(checkpoints),
      leaves: decodeLeaves(leaves),
      proofs: decodeProofs(proofs),
    }),
  );
  const header = encodeHeader({ ...decodeHeader(parts.header), digests: sectionDigests(sections) });
  const { aid, establishment } = decodeHeader(header);
  const statement = { headerDigest: sha256(header), aid, establishment };
  const signatures = member.sign(signedBytes(statement)).map(encodeIndexedSignature);
  return encodeBundle([
    encodeDossier({ header, sections, signature: encodeSignature({ ...statement, signatures }) }),
  ]);
}

/**
 * Keeps the own audit log: its signing key, the `log` record that announces it, and the anchors by which the
 * key event log commits to it.
 */
import { digestSeal, rootSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import { type Checkpoint, checkpointOfNote } from '#src/audit/checkpoint';
import {
  ed25519NoteSigner,
  formatVerifierKey,
  type NoteSigner,
  verifierKey,
} from '#src/audit/note';
import type { Clock } from '#src/clock';
import { open, seal } from '#src/crypto/aead';
import { logKeyAtRest } from '#src/crypto/labels';
import type { Ed25519 } from '#src/crypto/suite';
import { failureOf, type Journal } from '#src/journal';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import { ticks } from '#src/ticks';
import type { Identity } from '../../identity/own/identity.ts';
import type { RecordIssuer } from '../../identity/records/record-issuer.ts';
import { checkpointSeals } from '../format/anchor.ts';
import { type LeafType, type LeafValues, openedValues, parseLeaf } from '../format/leaf.ts';
import { recordsNamedBy } from '../format/named-records.ts';
import type { ProvenanceLog } from './provenance-log.ts';

/** An anchor at the latest after so many leaves or so much time (DESIGN section 7). */
const ANCHOR_LEAVES = 256;
const ANCHOR_SECONDS = 15 * 60;
const RETENTION_SECONDS = 10 * 365 * 24 * 3_600 + 2 * 24 * 3_600;

const LOG_KEY = 'log-key';
const ANCHORED = 'anchored';
/** The records that earlier leaves name are kept. */
const RETAINED = 'named-retained';

export interface AuditKeeperDeps {
  readonly identity: Identity;
  readonly issuer: RecordIssuer;
  readonly records: RecordStore;
  readonly provenance: ProvenanceLog;
  readonly table: StateTable;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly ed25519: Ed25519;
  readonly journal: Journal;
}

interface Anchored {
  readonly size: number;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

export class AuditKeeper {
  readonly #deps: AuditKeeperDeps;
  readonly #signer: NoteSigner;
  readonly #queue = new SerialQueue();
  /** Size at the last anchor, and when it was made. */
  #anchored: Anchored;
  /** When the next anchor is due; monotonic. */
  #dueAt = 0;

  private constructor(deps: AuditKeeperDeps, signer: NoteSigner, anchored: Anchored) {
    this.#deps = deps;
    this.#signer = signer;
    this.#anchored = anchored;
    // What is on disk is of the wall clock, which may have been set since.
    this.#wait(Math.max(0, deps.clock.now() - this.#anchored.at));
  }

  static originOf(aid: string): string {
    return `kelmesh/${aid}`;
  }

  /** Makes key and announcement on the first start. */
  static async open(deps: AuditKeeperDeps): Promise<AuditKeeper> {
    const origin = AuditKeeper.originOf(deps.identity.aid);
    // Lives as long as the signer, which keeps no copy of its own.
    const seed = await logKeySeed(deps);
    const signer = ed25519NoteSigner(deps.ed25519, origin, seed.expose());
    const keeper = new AuditKeeper(deps, signer, await lastAnchored(deps));
    const key = formatVerifierKey(verifierKey(origin, deps.ed25519.publicKey(seed.expose())));
    // Another one than was announced: the former was lost with the root that sealed it.
    if (deps.records.latest('log', deps.identity.aid)?.record.vk[0] !== key) {
      const announced = await deps.issuer.issueSealed([
        {
          type: 'log',
          fields: {
            o: origin,
            vk: [key],
            cad: { n: ANCHOR_LEAVES, s: ANCHOR_SECONDS },
            ret: RETENTION_SECONDS,
          },
        },
      ]);
      // Checkpoints that this key signs are read with it for ever.
      await deps.records.retain(announced);
    }
    await keeper.#retainNamed();
    return keeper;
  }

  /** Leaves to which the key event log commits. */
  get anchoredSize(): number {
    return this.#anchored.size;
  }

  /** Anchors at the cadence that the `log` record promises, until `signal` aborts. */
  start(signal: AbortSignal): void {
    void this.#cadence(signal);
  }

  /** Durable when it resolves, and before it the records that it names are kept. */
  async record<T extends LeafType>(type: T, values: LeafValues[T]): Promise<void> {
    await this.#deps.records.retain(recordsNamedBy(type, values));
    const index = await this.#deps.provenance.record(type, values);
    if (index + 1 - this.#anchored.size >= ANCHOR_LEAVES) await this.#anchorIfPossible();
  }

  /** What the leaves of earlier versions name; once. */
  async #retainNamed(): Promise<void> {
    const { table, provenance, records, identity } = this.#deps;
    if (table.get(RETAINED) === true) return;
    const named = new Set(records.list('log', identity.aid).map(({ record }) => record.d));
    for (let index = 0; index < provenance.log.size; index++) {
      const { type } = parseLeaf(await provenance.log.leaf(index));
      const values = openedValues(type, provenance.openings(index));
      if (values === undefined) continue;
      for (const said of recordsNamedBy(type, values)) named.add(said);
    }
    await records.retain([...named]);
    await table.put({ [RETAINED]: true });
  }

  /** The own log as it stands now, signed: what a peer names in a tunnel proof. */
  async checkpoint(): Promise<Checkpoint> {
    return checkpointOfNote(await this.#deps.provenance.checkpoint([this.#signer]));
  }

  /** Commits the key event log to every leaf so far. @returns false when nothing is new */
  anchor(): Promise<boolean> {
    return this.#queue.run(async () => {
      const { provenance, identity, table, clock, journal } = this.#deps;
      if (provenance.log.size === this.#anchored.size) return false;
      const checkpoint = await this.checkpoint();
      const [{ rd }, { d }] = checkpointSeals(checkpoint);
      const event = await identity.anchor([rootSeal(rd), digestSeal(d as Said)]);
      this.#anchored = { size: checkpoint.size, at: clock.now() };
      this.#wait();
      await table.put({ [ANCHORED]: this.#anchored });
      journal.info('audit.anchored', { size: checkpoint.size, sn: event.sn });
      return true;
    });
  }

  /** The leaf is durable: witnesses that are away now delay the anchor, and nothing else. */
  async #anchorIfPossible(): Promise<void> {
    try {
      await this.anchor();
    } catch (error) {
      if (!failureOf(error).code.startsWith('IDENTITY_AWAITS_')) throw error;
      this.#deps.journal.failed('audit.anchor-waits', error);
    }
  }

  #wait(agoMs = 0): void {
    this.#dueAt = this.#deps.clock.monotonic() + ANCHOR_SECONDS * 1_000 - agoMs;
  }

  async #cadence(signal: AbortSignal): Promise<void> {
    const { clock, journal } = this.#deps;
    const pauseMs = () => Math.max(1_000, this.#dueAt - clock.monotonic());
    const failed = (error: unknown) => {
      journal.failed('audit.anchor-failed', error, {}, 'error');
      this.#wait();
    };
    await ticks({ clock, signal, pauseMs, failed }, async () => {
      if (clock.monotonic() >= this.#dueAt && !(await this.anchor())) this.#wait();
    });
  }
}

/** A log that went back by the operator's word has lost the checkpoint that was anchored: it is anchored anew. */
async function lastAnchored({ table, provenance, clock }: AuditKeeperDeps): Promise<Anchored> {
  const anchored = table.get<Anchored>(ANCHORED);
  const notes = await provenance.checkpoints();
  const isThere = notes.some((note) => checkpointOfNote(note).size === anchored?.size);
  return anchored !== undefined && isThere ? anchored : { size: 0, at: clock.now() };
}

async function logKeySeed({ identity, table, rng }: AuditKeeperDeps): Promise<Secret> {
  using kek = await identity.storageKey('audit-log');
  const sealed = table.get<string>(LOG_KEY);
  if (sealed !== undefined)
    return Secret.take(open(kek, Buffer.from(sealed, 'base64'), logKeyAtRest));
  const seed = Secret.take(rng.bytes(32));
  await table.put({
    [LOG_KEY]: Buffer.from(seal(kek, seed.expose(), logKeyAtRest, rng)).toString('base64'),
  });
  return seed;
}

/**
 * Revocations on gossipsub, each with the events of the log that seal it, and their acknowledgements: everywhere as fast as the
 * network is, without a session of each with each. What gossip loses, sync brings. Other records name who is in a mesh and where
 * it is reached: those go to members alone, by sync, because whoever is connected can listen to a topic.
 *
 * One message is a CBOR list: `[record with its signatures, log of the issuer from the sealing event on, or empty]`.
 */
import type { Aid, Said } from '#kel/identifiers';
import { isOfLaterVersion } from '#kel/record/errors';
import { parseRecord } from '#kel/record/parse';
import type { AnyRecord, RecordType, Verified } from '#kel/record/record';
import { decodeCbor, encodeCbor } from '#src/cbor';
import type { IntakeVerdict } from '../../identity/records/record-intake.ts';
import {
  type GossipVerdict,
  MAX_GOSSIP_MESSAGE,
  type Network,
  type PeerKey,
} from '../../network/network.ts';
import { GossipTopic } from './gossip-topic.ts';

const GOSSIPED: ReadonlySet<RecordType> = new Set<RecordType>(['rvk', 'ack']);

/** Bytes of log beside a record: the sealing event, and what was written since. */
const MAX_LOG = 32 * 1024;

export function recordTopic(mesh: Said): string {
  return `/kelmesh/1/rec/${mesh}`;
}

export interface RecordGossipCounters {
  accepted: number;
  known: number;
  /** Malformed, or not verified. */
  refused: number;
  /** Of an AID that no charter names, or that may not issue such a record. */
  stranger: number;
  /** Of a later version. */
  unknown: number;
}

export interface RecordGossipDeps {
  readonly network: Network;
  readonly mayIssue: (type: RecordType, issuer: Aid) => boolean;
  /** The record as it was signed. */
  readonly messageOf: (said: Said) => Uint8Array | undefined;
  /** The issuer's log from the event that seals `said`; empty when none does. */
  readonly sealingLog: (issuer: Aid, said: Said, maxBytes: number) => Promise<Uint8Array>;
  /** Takes events of `issuer` alone. */
  readonly takeLog: (issuer: Aid, log: Uint8Array) => Promise<void>;
  readonly take: (message: Uint8Array) => Promise<IntakeVerdict>;
  /** Events are missing here that the author of this one has published. */
  readonly behind: (author: PeerKey) => void;
}

export class RecordGossip {
  readonly counters: RecordGossipCounters = {
    accepted: 0,
    known: 0,
    refused: 0,
    stranger: 0,
    unknown: 0,
  };
  readonly #deps: RecordGossipDeps;
  readonly #topic: GossipTopic;

  constructor(deps: RecordGossipDeps) {
    this.#deps = deps;
    this.#topic = new GossipTopic(deps.network, (message, from) => this.receive(message, from));
  }

  join(mesh: Said): void {
    this.#topic.join(recordTopic(mesh));
  }

  /** Nothing is published of a record that is left to sync: of another type, or too large. */
  async publish({ i, d, t }: Verified<AnyRecord>): Promise<void> {
    const { messageOf, sealingLog } = this.#deps;
    const record = messageOf(d);
    if (!this.#topic.isJoined || record === undefined || !GOSSIPED.has(t)) return;
    const log = await sealingLog(i, d, MAX_LOG);
    const message = encodeCbor([record, log]);
    if (log.length <= MAX_LOG && message.length <= MAX_GOSSIP_MESSAGE)
      await this.#topic.publish(message);
  }

  /** @param bytes attacker-controlled */
  async receive(bytes: Uint8Array, from: PeerKey): Promise<GossipVerdict> {
    const { mayIssue, takeLog, take, behind } = this.#deps;
    const parts = read(bytes);
    if (parts === 'unknown') {
      this.counters.unknown += 1;
      return 'ignore';
    }
    if (parts === undefined) {
      this.counters.refused += 1;
      return 'reject';
    }
    if (!mayIssue(parts.type, parts.issuer)) {
      this.counters.stranger += 1;
      return 'ignore';
    }
    if (parts.log.length > 0) await takeLog(parts.issuer, parts.log);
    const verdict = await take(parts.record);
    switch (verdict.kind) {
      case 'stored':
        this.counters.accepted += 1;
        return 'accept';
      case 'known':
        this.counters.known += 1;
        return 'ignore';
      default:
        this.counters.refused += 1;
        // The event that seals it, or names the keys that signed it, may follow others that are not here yet.
        behind(from);
        return 'ignore';
    }
  }
}

interface Parts {
  readonly record: Uint8Array;
  readonly log: Uint8Array;
  readonly type: RecordType;
  readonly issuer: Aid;
}

/** `unknown`: a record of a later version, which nobody who passes it on is to blame for. */
function read(bytes: Uint8Array): Parts | 'unknown' | undefined {
  try {
    const [record, log, ...more] = decodeCbor(bytes) as readonly unknown[];
    if (!(record instanceof Uint8Array) || !(log instanceof Uint8Array) || more.length > 0)
      return undefined;
    if (log.length > MAX_LOG) return undefined;
    const { t, i } = parseRecord(record).record;
    return GOSSIPED.has(t) ? { record, log, type: t, issuer: i } : undefined;
  } catch (error) {
    return isOfLaterVersion(error) ? 'unknown' : undefined;
  }
}

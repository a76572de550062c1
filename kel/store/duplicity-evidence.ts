/**
 * Proof that an AID signed two events for one place of its log: the one first seen, which stands, and the
 * other. Anyone can verify both messages; they are kept as long as the store lives.
 */
import type { KeyEventMessage } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import { concatBytes, uint32be } from '#src/bytes';
import type { DurableTable } from './durable-table.ts';
import { decodeJson, encodeJson } from './json-value.ts';
import { CONFLICT, conflictKey, eventKey } from './keys.ts';
import { encodeMessage } from './stored-message.ts';

export interface Duplicity {
  readonly aid: Aid;
  readonly sn: number;
  readonly accepted: Said;
  readonly conflicting: Said;
  /** When the second one came; milliseconds since the Unix epoch. */
  readonly since: number;
  /** Signed messages. */
  readonly acceptedMessage: Uint8Array;
  readonly conflictingMessage: Uint8Array;
}

/** Cases kept per AID: the first proves the point, and whoever has the keys can sign any number. */
const MAX_PER_AID = 16;
const MAX_IN_ALL = 4096;
/** Bytes of the second message; larger ones carry noise. */
const MAX_BYTES = 64 * 1024;

export class DuplicityEvidence {
  readonly #table: DurableTable;
  readonly #countByAid = new Map<Aid, number>();
  #count = 0;

  constructor(table: DurableTable) {
    this.#table = table;
  }

  async load(): Promise<void> {
    this.#countByAid.clear();
    this.#count = 0;
    for await (const [key] of this.#table.entries(CONFLICT)) this.#add(key.split('.')[1] as Aid);
  }

  /** @param accepted SAID of the event that stands  @returns false when the case is known or a bound is reached */
  add({ event, bytes, attachments }: KeyEventMessage, accepted: Said, now: number): boolean {
    const { aid, sn, said } = event;
    const key = conflictKey(aid, sn, said);
    const message = encodeMessage(bytes, attachments);
    const isFull = (this.#countByAid.get(aid) ?? 0) >= MAX_PER_AID || this.#count >= MAX_IN_ALL;
    if (isFull || message.length > MAX_BYTES || this.#table.getPending(key) !== undefined) {
      return false;
    }
    const header = encodeJson([accepted, now]);
    this.#table.put(key, concatBytes(uint32be(header.length), header, message));
    this.#add(aid);
    return true;
  }

  async list(): Promise<readonly Duplicity[]> {
    const cases: Duplicity[] = [];
    for await (const [key, value] of this.#table.entries(CONFLICT)) {
      const [, aid, ordinal, conflicting] = key.split('.') as [string, Aid, string, Said];
      const sn = Number.parseInt(ordinal, 16);
      const length = new DataView(value.buffer, value.byteOffset).getUint32(0);
      const [accepted, since] = decodeJson(value.subarray(4, 4 + length)) as [Said, number];
      cases.push({
        aid,
        sn,
        accepted,
        conflicting,
        since,
        acceptedMessage: this.#table.get(eventKey(aid, sn, accepted)) ?? new Uint8Array(0),
        conflictingMessage: value.slice(4 + length),
      });
    }
    return cases;
  }

  #add(aid: Aid): void {
    this.#countByAid.set(aid, (this.#countByAid.get(aid) ?? 0) + 1);
    this.#count += 1;
  }
}

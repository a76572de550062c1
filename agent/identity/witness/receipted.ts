/**
 * What this witness has receipted and must never contradict: of each establishment event one rotation that follows it, and
 * one interaction at each sequence number under it. So no two verifiers can be shown logs that are both receipted here and do
 * not come together: a rotation takes the place of the interactions that it passes over, and nothing takes the place of it.
 *
 * An event leaves this memory only when that very event is the accepted one at its place: the log of the store holds it
 * then. Nothing drives anything out; each AID has a room of its own, and what finds it full is refused. The table on disk is the
 * only copy, so that a write whose outcome is unknown leaves nothing in memory that is not there.
 */
import { isInception, type KeyEvent } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { StateTable, TableWrite } from '#src/store/state-table';

/** Settled states of logs. */
export interface LogStates {
  state(aid: Aid): KeyState | undefined;
  /** State that the event at `sn` follows or would follow; undefined before an inception and where the log does not reach. */
  stateBefore(aid: Aid, sn: number): KeyState | undefined;
}

export interface ReceiptedEntry {
  readonly sn: number;
  readonly said: Said;
  readonly type: KeyEvent['type'];
  /** Of a rotation: the last sequence number at which an interaction that it passes over was receipted or accepted before it. */
  readonly over?: number;
  /** Base64 of the signed message; absent once the event stands in the accepted log. */
  readonly message?: string;
}

/** As 0.1 kept them: by place, which let one event push out another. */
interface EarlierRow extends ReceiptedEntry {
  readonly message: string;
}

/** Bytes of events per AID that are receipted and not accepted. Rotations have as much again: interactions never keep one out. */
const MAX_BYTES_PER_AID = 1 << 20;

const GIVEN = 'given.';
const EARLIER = 'first.';

export class Receipted {
  readonly #table: StateTable;
  readonly #logs: LogStates;
  readonly #bytes = new Map<Aid, number>();

  private constructor(table: StateTable, logs: LogStates) {
    this.#table = table;
    this.#logs = logs;
  }

  /** @param parse of a message that an earlier version has kept */
  static async open(
    table: StateTable,
    logs: LogStates,
    parse: (message: Uint8Array) => KeyEvent | undefined,
  ): Promise<Receipted> {
    const receipted = new Receipted(table, logs);
    await receipted.#takeOver(parse);
    for await (const [key, { message }] of table.entries<ReceiptedEntry>(GIVEN))
      receipted.#count(key.split('.')[1] as Aid, message?.length ?? 0);
    return receipted;
  }

  /** This very event was receipted, and not accepted so far as was known then. */
  has(event: KeyEvent): boolean {
    return this.#at(this.#placeOf(event))?.said === event.said;
  }

  /** The receipted event that `event`, which is not receipted yet, would contradict. @param isAccepted it stands in the log */
  contradicted(event: KeyEvent, isAccepted: boolean): ReceiptedEntry | undefined {
    const held = this.#at(this.#placeOf(event));
    if (held !== undefined) return held.said === event.said ? undefined : held;
    if (event.type !== 'ixn') return undefined;
    const rotation = this.#at(this.#rotationPlace(event));
    if (rotation === undefined) return undefined;
    // It was there before the rotation, which takes its place.
    if (isAccepted && event.sn <= (rotation.over ?? -1)) return undefined;
    return rotation;
  }

  hasRoom({ aid, type }: KeyEvent, message: Uint8Array): boolean {
    const room = type === 'ixn' ? MAX_BYTES_PER_AID : 2 * MAX_BYTES_PER_AID;
    return (this.#bytes.get(aid) ?? 0) + base64Length(message) <= room;
  }

  /** Durable when it resolves, and only then may the receipt leave. An accepted interaction needs no place here: the log has it. */
  async add(event: KeyEvent, message: Uint8Array, isAccepted: boolean): Promise<void> {
    const { aid, sn, said, type } = event;
    if (isAccepted && type === 'ixn') return;
    const row: ReceiptedEntry = {
      sn,
      said,
      type,
      ...(type === 'rot' || type === 'drt' ? { over: this.#lastInteraction(event) } : {}),
      ...(isAccepted ? {} : { message: Buffer.from(message).toString('base64') }),
    };
    const settled = this.#settled(event);
    await this.#table.put({ ...settled.change, [this.#placeOf(event)]: row });
    this.#count(aid, (row.message?.length ?? 0) - settled.bytes);
  }

  /** What was receipted of `aid` and may still become final: a rotation before an interaction. */
  open(aid: Aid): Uint8Array | undefined {
    const state = this.#logs.state(aid);
    const under = state?.establishment.said ?? NONE;
    const places = [
      rotationKey(aid, under),
      ...(state === undefined ? [] : [interactionKey(aid, under, state.sn + 1)]),
    ];
    const row = places.map((place) => this.#at(place)).find((each) => each?.message !== undefined);
    return row?.message === undefined ? undefined : Uint8Array.fromBase64(row.message);
  }

  /** Rows whose event has become the accepted one at its place: nothing but their messages took room. */
  #settled({ aid, sn }: KeyEvent): { change: TableWrite; bytes: number } {
    const before = this.#logs.stateBefore(aid, sn);
    if (before === undefined) return { change: {}, bytes: 0 };
    const change: Record<string, unknown> = {};
    let bytes = 0;
    const { establishment } = before;
    if (before.sn > establishment.sn) {
      const key = interactionKey(aid, establishment.said, before.sn);
      const row = this.#at(key);
      if (row?.said === before.said) {
        change[key] = undefined;
        bytes += row.message?.length ?? 0;
      }
    }
    // A rotation stays, without its message: a delegated one can give way to another later.
    const key = rotationKey(aid, this.#establishedBefore(aid, establishment.sn));
    const row = this.#at(key);
    if (row?.said === establishment.said && row.message !== undefined) {
      const { message, ...rest } = row;
      change[key] = rest;
      bytes += message.length;
    }
    return { change, bytes };
  }

  /** The last place under the same establishment event where an interaction stands, in the log or here. */
  #lastInteraction(event: KeyEvent): number {
    const { aid } = event;
    const { sn } = this.#logs.state(aid) ?? { sn: event.sn };
    const under = this.#establishedBefore(aid, event.sn);
    return this.#at(interactionKey(aid, under, sn + 1)) === undefined ? sn : sn + 1;
  }

  #placeOf(event: KeyEvent): string {
    if (event.type !== 'ixn') return this.#rotationPlace(event);
    return interactionKey(event.aid, this.#establishedBefore(event.aid, event.sn), event.sn);
  }

  #rotationPlace(event: KeyEvent): string {
    const under = isInception(event) ? NONE : this.#establishedBefore(event.aid, event.sn);
    return rotationKey(event.aid, under);
  }

  #establishedBefore(aid: Aid, sn: number): string {
    return this.#logs.stateBefore(aid, sn)?.establishment.said ?? NONE;
  }

  #at(key: string): ReceiptedEntry | undefined {
    return this.#table.get<ReceiptedEntry>(key);
  }

  #count(aid: Aid, bytes: number): void {
    this.#bytes.set(aid, Math.max(0, (this.#bytes.get(aid) ?? 0) + bytes));
  }

  async #takeOver(parse: (message: Uint8Array) => KeyEvent | undefined): Promise<void> {
    const change: Record<string, unknown> = {};
    for await (const [key, row] of this.#table.entries<EarlierRow>(EARLIER)) {
      const event = parse(Buffer.from(row.message, 'base64'));
      if (event === undefined) continue;
      const over = event.type === 'ixn' ? {} : { over: this.#lastInteraction(event) };
      const place = this.#placeOf(event);
      change[key] = undefined;
      change[place] ??= this.#at(place) ?? { ...row, ...over };
    }
    if (Object.keys(change).length > 0) await this.#table.put(change);
  }
}

/** Before an inception there is no establishment event. */
const NONE = 'none';

const rotationKey = (aid: Aid, under: string): string => `${GIVEN}${aid}.${under}.rotation`;

const interactionKey = (aid: Aid, under: string, sn: number): string =>
  `${GIVEN}${aid}.${under}.${sn}`;

const base64Length = ({ length }: Uint8Array): number => 4 * Math.ceil(length / 3);

/**
 * Witness of other AIDs: signs the first event that it sees at each place of a log, and never a second (`receipted.ts`).
 *
 * An event is judged by the own store first, as every stranger's is: one that lacks nothing but receipts has
 * passed signatures, pre-rotation and delegation. What is receipted is on disk before the receipt leaves.
 */
import { parseStream } from '#kel/cesr/stream';
import { issuerOf } from '#kel/event/issuer-of';
import { isInception, type KeyEvent } from '#kel/event/key-event';
import { parseKeyEvent } from '#kel/event/parse';
import { encodeReceipt } from '#kel/event/receipt';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { witnessesAfter } from '#kel/state/witness-list';
import type { KelStore, MessageOutcome } from '#kel/store/kel-store';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { KeyId, KeyStore, SigningAlgorithm } from '#src/keystore/key-store';
import { SerialQueue } from '#src/serial-queue';
import type { StateTable } from '#src/store/state-table';
import { delegatorsIn } from '../node/delegators.ts';
import { WitnessError, type WitnessErrorCode } from './errors.ts';
import type { WitnessAnswer } from './messages.ts';
import { type LogStates, Receipted, type ReceiptedEntry } from './receipted.ts';

export interface WitnessDeps {
  readonly keyStore: KeyStore;
  readonly kel: Pick<KelStore, 'process'> & LogStates;
  readonly table: StateTable;
  readonly clock: Pick<Clock, 'now'>;
  readonly journal: Pick<Journal, 'warn'>;
  /** Of a new witness key. */
  readonly algorithm: SigningAlgorithm;
  /** AIDs that may ask besides those that the operator allows: the members of the mesh. */
  readonly isMember: (aid: Aid) => boolean;
}

/** Two events for one place, both validly signed. */
export interface WitnessedConflict {
  readonly aid: Aid;
  readonly sn: number;
  readonly first: Said;
  readonly second: Said;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

interface StoredConflict extends WitnessedConflict {
  /** Base64 of both signed messages, the receipted one first; empty where the log itself holds that one. */
  readonly messages: readonly [string, string];
}

interface WitnessKey {
  readonly key: KeyId;
  readonly algorithm: SigningAlgorithm;
  readonly aid: Aid;
}

const KEY = 'key';
const ALLOWED = 'allowed';
const CONFLICT = 'conflict.';

/** AIDs that the operator allows, and conflicts kept per AID: the first proves the point. */
const MAX_ALLOWED = 4_096;
const MAX_CONFLICTS_PER_AID = 16;

export class Witness {
  readonly #deps: WitnessDeps;
  readonly #key: WitnessKey;
  readonly #queue = new SerialQueue();
  readonly #receipted: Receipted;
  readonly #conflicts = new Map<string, WitnessedConflict>();
  /** Delegators whose log is asked for, by the AID that is served and names them: one each, so nobody drives out another's. */
  readonly #wanted = new Map<Aid, Aid>();
  #allowed: ReadonlySet<Aid>;
  #receipts = 0;
  #refused = 0;

  private constructor(deps: WitnessDeps, key: WitnessKey, receipted: Receipted) {
    this.#deps = deps;
    this.#key = key;
    this.#receipted = receipted;
    this.#allowed = new Set(deps.table.get<readonly Aid[]>(ALLOWED));
  }

  /** Makes the witness key when there is none. */
  static async open(deps: WitnessDeps): Promise<Witness> {
    const key = deps.table.get<WitnessKey>(KEY) ?? (await newKey(deps));
    const receipted = await Receipted.open(
      deps.table,
      deps.kel,
      (message) => oneEvent(message)?.event,
    );
    const witness = new Witness(deps, key, receipted);
    for await (const [key, { messages: _, ...conflict }] of deps.table.entries<StoredConflict>(
      CONFLICT,
    ))
      witness.#conflicts.set(key, conflict);
    return witness;
  }

  /** `B…`, or `1AAI…` where the token has P-256 only. */
  get aid(): Aid {
    return this.#key.aid;
  }

  get allowed(): readonly Aid[] {
    return [...this.#allowed];
  }

  get conflicts(): readonly WitnessedConflict[] {
    return [...this.#conflicts.values()];
  }

  /** Since the start. */
  get counters(): { readonly receipts: number; readonly refused: number } {
    return { receipts: this.#receipts, refused: this.#refused };
  }

  serves(aid: Aid): boolean {
    return this.#allowed.has(aid) || this.#deps.isMember(aid);
  }

  /** Receipts events of `aid` from now on, or not any more. Durable when it resolves. Throws WITNESS_FULL. */
  allow(aid: Aid, isAllowed: boolean): Promise<void> {
    return this.#queue.run(async () => {
      const allowed = new Set(this.#allowed);
      if (isAllowed) allowed.add(aid);
      else allowed.delete(aid);
      if (isAllowed && allowed.size > MAX_ALLOWED)
        throw new WitnessError('WITNESS_FULL', `${MAX_ALLOWED} AIDs are allowed, and no more`);
      await this.#deps.table.put({ [ALLOWED]: [...allowed] });
      this.#allowed = allowed;
    });
  }

  /** @param message attacker-controlled: one signed event */
  receipt(message: Uint8Array): Promise<WitnessAnswer> {
    return this.#queue.run(async () => {
      const answer = await this.#answer(message);
      if (answer.kind === 'receipted') this.#receipts += 1;
      else if (answer.kind === 'refused') this.#refused += 1;
      return answer;
    });
  }

  /**
   * The event of `aid` that was receipted here and is not final as far as is known here: whoever has lost it goes on with
   * it, because no other will be receipted in its place.
   */
  open(aid: Aid): Uint8Array | undefined {
    return this.#receipted.open(aid);
  }

  /** Takes in what comes before an event that was `behind`. @param stream attacker-controlled */
  async catchUp(stream: Uint8Array): Promise<void> {
    // The delegator of an AID that is served comes with it, and is held to the same rules as everybody.
    const above = new Set(
      [...this.#wanted.values()].flatMap((aid) => [aid, ...delegatorsIn(stream, aid)]),
    );
    await this.#deps.kel.process(stream, {
      accepts: (aid) => this.serves(aid) || above.has(aid),
    });
  }

  async #answer(message: Uint8Array): Promise<WitnessAnswer> {
    const { kel } = this.#deps;
    const claimed = issuerOf(message);
    if (claimed !== undefined && !this.serves(claimed))
      return refused('WITNESS_NOT_SERVED', `${claimed} is neither a member here nor allowed`);
    const read = oneEvent(message);
    if (read === undefined)
      return refused('WITNESS_BAD_REQUEST', 'the request is not one well-formed key event');
    const { event, bytes } = read;
    const { aid, sn, said } = event;
    const held = kel.state(aid);
    if (sn > (held?.sn ?? -1) + 1) return { kind: 'behind', aid, from: (held?.sn ?? -1) + 1 };
    const [outcome] = await kel.process(message, { accepts: (other) => other === aid });
    const isComplete =
      outcome?.verdict === 'accepted' ||
      outcome?.verdict === 'duplicate' ||
      (outcome?.verdict === 'waiting' && outcome.code === 'KEL_AWAITS_WITNESSES');
    if (!isComplete) return this.#notReceipted(event, held, outcome);
    const isAccepted = outcome.verdict !== 'waiting';
    const first = this.#receipted.contradicted(event, isAccepted);
    if (first !== undefined) {
      await this.#keep(aid, first, event, message);
      return refused(
        'WITNESS_SECOND_EVENT',
        `event ${sn} of ${aid}: ${first.said} was receipted first at ${first.sn}, ${said} contradicts it`,
      );
    }
    if (!isListed(this.aid, event, kel.stateBefore(aid, sn)?.witnesses ?? []))
      return refused('WITNESS_NOT_LISTED', `event ${sn} of ${aid} does not name ${this.aid}`);
    if (!this.#receipted.has(event)) {
      if (!this.#receipted.hasRoom(event, message))
        return refused('WITNESS_FULL', `too many events of ${aid} are receipted and not final`);
      await this.#receipted.add(event, message, isAccepted);
    }
    const { key, algorithm } = this.#key;
    const signature = await this.#deps.keyStore.sign(key, bytes);
    const { kind } = event;
    return {
      kind: 'receipted',
      receipt: encodeReceipt({ aid, sn, said, kind, witness: this.aid, algorithm, signature }),
    };
  }

  #notReceipted(
    event: KeyEvent,
    held: KeyState | undefined,
    outcome: MessageOutcome | undefined,
  ): WitnessAnswer {
    const { aid } = event;
    if (outcome?.code === 'KEL_AWAITS_PRIOR')
      return { kind: 'behind', aid, from: (held?.sn ?? -1) + 1 };
    const delegator = held?.delegator ?? (isInception(event) ? event.delegator : undefined);
    if (outcome?.code === 'KEL_AWAITS_DELEGATOR' && delegator !== undefined) {
      this.#wanted.set(aid, delegator);
      const from = (this.#deps.kel.state(delegator)?.sn ?? -1) + 1;
      return { kind: 'behind', aid: delegator, from };
    }
    return {
      kind: 'refused',
      code: outcome?.code ?? 'WITNESS_BAD_REQUEST',
      reason: outcome?.reason ?? 'nothing was read',
    };
  }

  async #keep(
    aid: Aid,
    first: ReceiptedEntry,
    second: KeyEvent,
    message: Uint8Array,
  ): Promise<void> {
    const key = `${CONFLICT}${aid}.${first.sn}.${second.said}`;
    if (this.#conflicts.has(key)) return;
    const ofAid = this.conflicts.filter((conflict) => conflict.aid === aid).length;
    if (ofAid >= MAX_CONFLICTS_PER_AID) {
      this.#deps.journal.warn('witness.conflict-not-kept', { aid, sn: second.sn, kept: ofAid });
      return;
    }
    const at = this.#deps.clock.now();
    const conflict = { aid, sn: first.sn, first: first.said, second: second.said, at };
    const stored: StoredConflict = {
      ...conflict,
      messages: [first.message ?? '', Buffer.from(message).toString('base64')],
    };
    await this.#deps.table.put({ [key]: stored });
    this.#conflicts.set(key, conflict);
  }
}

async function newKey({ keyStore, table, algorithm }: WitnessDeps): Promise<WitnessKey> {
  const { id, publicKey } = await keyStore.generateSigningKey(algorithm);
  const aid = encodeVerificationKey(algorithm, publicKey, false) as string as Aid;
  const key: WitnessKey = { key: id, algorithm, aid };
  await table.put({ [KEY]: key });
  return key;
}

/** @param before witnesses that the event finds in force */
function isListed(witness: Aid, event: KeyEvent, before: readonly Aid[]): boolean {
  if (isInception(event)) return event.witnesses.includes(witness);
  if (event.type === 'ixn') return before.includes(witness);
  return witnessesAfter(before, event).includes(witness);
}

function refused(code: WitnessErrorCode, reason: string): WitnessAnswer {
  return { kind: 'refused', code, reason };
}

function oneEvent(message: Uint8Array): { event: KeyEvent; bytes: Uint8Array } | undefined {
  const items = [...parseStream(message)];
  const [item] = items;
  if (items.length !== 1 || item?.type !== 'message') return undefined;
  const event = tryParse(item.body);
  return event === undefined ? undefined : { event, bytes: item.body };
}

function tryParse(body: Uint8Array): KeyEvent | undefined {
  try {
    return parseKeyEvent(body);
  } catch {
    return undefined;
  }
}

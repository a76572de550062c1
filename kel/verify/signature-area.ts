/**
 * Memory that threads share: signatures to verify, and what became of them. The state of a slot names its batch,
 * and one thread alone can take it from open to taken: a thread that comes late or holds a slot of an old batch
 * changes nothing in a new one.
 */
import type { SignatureCheck } from './signature-batch.ts';

/** In the low bits of a slot's state; above them stands the number of the batch. */
const slotStates = { open: 1, taken: 2, valid: 3, invalid: 4 } as const;
type SlotState = keyof typeof slotStates;
const STATE_BITS = 3;

/** Checks of one batch; more are left to whoever asks. */
export const AREA_SLOTS = 1024;
/** Room for messages: events are a few hundred bytes long. */
const MESSAGE_BYTES = 1024 * 1024;

const KEY_LENGTH = 32;
const SIGNATURE_LENGTH = 64;
/** Number of the batch that was published last, and how many slots it has. */
const CONTROL_WORDS = 2;

export type RawVerify = (
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
) => boolean;

export class SignatureArea {
  readonly memory: SharedArrayBuffer;
  /** Threads sleep on the first word. */
  readonly #control: Int32Array;
  readonly #states: Int32Array;
  readonly #ranges: Int32Array;
  readonly #keys: Buffer;
  readonly #signatures: Buffer;
  readonly #messages: Buffer;
  #messageEnd = 0;
  /** Of the thread that fills the slots. */
  #batch = 0;

  constructor(memory?: SharedArrayBuffer) {
    const words = CONTROL_WORDS + 3 * AREA_SLOTS;
    const keysAt = words * 4;
    const signaturesAt = keysAt + AREA_SLOTS * KEY_LENGTH;
    const messagesAt = signaturesAt + AREA_SLOTS * SIGNATURE_LENGTH;
    this.memory = memory ?? new SharedArrayBuffer(messagesAt + MESSAGE_BYTES);
    this.#control = new Int32Array(this.memory, 0, CONTROL_WORDS);
    this.#states = new Int32Array(this.memory, CONTROL_WORDS * 4, AREA_SLOTS);
    this.#ranges = new Int32Array(this.memory, (CONTROL_WORDS + AREA_SLOTS) * 4, 2 * AREA_SLOTS);
    this.#keys = Buffer.from(this.memory, keysAt, AREA_SLOTS * KEY_LENGTH);
    this.#signatures = Buffer.from(this.memory, signaturesAt, AREA_SLOTS * SIGNATURE_LENGTH);
    this.#messages = Buffer.from(this.memory, messagesAt, MESSAGE_BYTES);
  }

  /** Begins a batch: slots are filled next. What other threads still do for the last one is lost. */
  begin(): void {
    this.#messageEnd = 0;
    this.#batch = (this.#batch + 1) % 2 ** (31 - STATE_BITS);
  }

  /** @param rawKey 32 bytes  @returns false when there is no room */
  fill(slot: number, rawKey: Uint8Array, { signature, message }: SignatureCheck): boolean {
    const end = this.#messageEnd + message.length;
    if (slot >= AREA_SLOTS || end > MESSAGE_BYTES || signature.length !== SIGNATURE_LENGTH)
      return false;
    this.#keys.set(rawKey, slot * KEY_LENGTH);
    this.#signatures.set(signature, slot * SIGNATURE_LENGTH);
    this.#messages.set(message, this.#messageEnd);
    this.#ranges[2 * slot] = this.#messageEnd;
    this.#ranges[2 * slot + 1] = end;
    this.#messageEnd = end;
    Atomics.store(this.#states, slot, stateOf(this.#batch, 'open'));
    return true;
  }

  /** Wakes the threads for slots 0 to `count`. */
  publish(count: number): void {
    Atomics.store(this.#control, 1, count);
    Atomics.store(this.#control, 0, this.#batch);
    Atomics.notify(this.#control, 0);
  }

  /** The batch that was published last. */
  get batch(): number {
    return Atomics.load(this.#control, 0);
  }

  get count(): number {
    return Atomics.load(this.#control, 1);
  }

  /** Sleeps until there is another batch than `seen`. */
  awaitBatch(seen: number): void {
    Atomics.wait(this.#control, 0, seen);
  }

  /** Verifies the slot if it is of this batch and nobody else has taken it. */
  work(batch: number, slot: number, verify: RawVerify): void {
    const taken = stateOf(batch, 'taken');
    const open = stateOf(batch, 'open');
    if (Atomics.compareExchange(this.#states, slot, open, taken) !== open) return;
    const state = stateOf(batch, this.#isValid(slot, verify) ? 'valid' : 'invalid');
    Atomics.compareExchange(this.#states, slot, taken, state);
    Atomics.notify(this.#states, slot);
  }

  /**
   * The result of a slot of the batch that this thread began, when the thread that took it has it.
   * @param patience milliseconds  @returns undefined when it does not come
   */
  result(slot: number, patience: number): boolean | undefined {
    Atomics.wait(this.#states, slot, stateOf(this.#batch, 'taken'), patience);
    const state = Atomics.load(this.#states, slot);
    if (state === stateOf(this.#batch, 'valid')) return true;
    return state === stateOf(this.#batch, 'invalid') ? false : undefined;
  }

  #isValid(slot: number, verify: RawVerify): boolean {
    return verify(
      this.#signatures.subarray(slot * SIGNATURE_LENGTH, (slot + 1) * SIGNATURE_LENGTH),
      this.#messages.subarray(this.#ranges[2 * slot], this.#ranges[2 * slot + 1]),
      this.#keys.subarray(slot * KEY_LENGTH, (slot + 1) * KEY_LENGTH),
    );
  }
}

function stateOf(batch: number, state: SlotState): number {
  return (batch << STATE_BITS) | slotStates[state];
}

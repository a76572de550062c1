/**
 * The key event logs that this agent knows, durable: what the rest of the agent sees of `kel/`.
 * Nothing enters unverified, nothing is announced before it is on disk (DESIGN invariants 1 and 2).
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EstablishedKeys, SealSource } from '#kel/key-state/established-keys';
import type { KeyState } from '#kel/key-state/key-state';

/** What became of one message of a stream. */
export interface MessageOutcome {
  readonly verdict: 'accepted' | 'duplicate' | 'waiting' | 'refused';
  /** `KEL_…` for waiting and refused, undefined otherwise. */
  readonly code?: string;
  readonly reason?: string;
  readonly aid?: Aid;
  readonly said?: Said;
  readonly sn?: number;
  /** Of a duplicate: whether it brought signatures or receipts that were lacking, and that are kept now. */
  readonly brought?: boolean;
  /** Offset of the message's first byte in the stream. */
  readonly offset: number;
}

export interface ProcessOptions {
  /** Events of other AIDs are passed over before a signature is checked: outcome `refused`, code KEL_NOT_WANTED. Default: all are wanted. */
  readonly accepts?: (aid: Aid) => boolean;
}

export interface KelStore {
  /** Parses and evaluates every message of a CESR stream, in order; one bad message does not stop the next. Durable when it resolves. Calls are serialised. */
  process(stream: Uint8Array, options?: ProcessOptions): Promise<readonly MessageOutcome[]>;
  state(aid: Aid): KeyState | undefined;
  /** State that the event at `sn` follows or would follow; undefined where the log does not reach. */
  stateBefore(aid: Aid, sn: number): KeyState | undefined;
  aids(): readonly Aid[];
  /** Whether this very event was ever accepted, superseded since or not. */
  holds(aid: Aid, sn: number, said: Said): boolean;
  /** The establishment event of `aid` with exactly this sn and SAID, current or past. */
  establishment(aid: Aid, sn: number, said: Said): Promise<EstablishedKeys | undefined>;
  /** The accepted event of `aid` that seals `said`, if any. */
  sealOf(aid: Aid, said: Said): Promise<SealSource | undefined>;
  /**
   * The log from sequence number `from` (default 0) as the CESR stream that KERIpy reads: each event followed by its `-V` group.
   * @param maxBytes stops before the event that would pass it, never before the first; default: the whole log
   */
  export(aid: Aid, from?: number, maxBytes?: number): Promise<Uint8Array>;
  /** Called after each accepted event is durable, in order. @returns unsubscribe */
  subscribe(listener: (state: KeyState, message: Uint8Array) => void): () => void;
  close(): Promise<void>;
}

/** An AID with seeded keys, to make logs for tests: every event signed, its state followed by the code under test. */
import type { IndexedSignatureInput } from '#kel/cesr/indexer';
import { StreamParser } from '#kel/cesr/stream';
import type { BuiltEvent } from '#kel/event/built-event';
import { buildInception, type InceptionInput } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { parseKeyEvent } from '#kel/event/parse';
import { buildRotation, type RotationInput } from '#kel/event/rotation';
import type { Seal } from '#kel/event/seal';
import { encodeSignedEvent, type SignedEventOptions } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid, VerificationKey } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { evaluate } from '#kel/state/evaluate';
import type { DelegatorLog } from '#kel/state/evaluation-context';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { utf8 } from '#src/bytes';
import { blake3 } from '#src/crypto/hash';
import { loadCryptoSuite } from '#src/crypto/suites';

export const { ed25519 } = await loadCryptoSuite();
export const verifySignature = createSignatureVerifier(ed25519);

export interface TestKey {
  readonly seed: Uint8Array;
  readonly key: VerificationKey;
}

/** The key that belongs to `name`. */
export function testKey(name: string, transferable = true): TestKey {
  const seed = blake3(utf8(name));
  return { seed, key: encodeVerificationKey('ed25519', ed25519.publicKey(seed), transferable) };
}

export function witnessKey(name: string): TestKey & { readonly aid: Aid } {
  const key = testKey(name, false);
  return { ...key, aid: key.key as string as Aid };
}

export function sign(bytes: Uint8Array, keys: readonly TestKey[]): IndexedSignatureInput[] {
  return keys.map(({ seed }, index) => ({ index, raw: ed25519.sign(bytes, seed) }));
}

/** An event, its signed message, and the state after it. */
export interface Step extends BuiltEvent {
  readonly message: Uint8Array;
  readonly state: KeyState;
}

export interface StepOptions extends SignedEventOptions {
  /** Instead of one signature by every key in order. */
  readonly signatures?: (bytes: Uint8Array) => readonly IndexedSignatureInput[];
  readonly signedBy?: readonly TestKey[];
  readonly witnesses?: readonly TestKey[];
  /** The delegator's log, when the state is to be followed. */
  readonly delegator?: DelegatorLog;
}

export class Organisation {
  readonly name: string;
  readonly steps: Step[] = [];
  #generation = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Rotations so far: which keys sign. */
  get generation(): number {
    return this.#generation;
  }

  get state(): KeyState {
    const last = this.steps.at(-1);
    if (last === undefined) throw new Error('no event yet');
    return last.state;
  }

  get aid(): Aid {
    return this.state.aid;
  }

  get stream(): Uint8Array {
    return Buffer.concat(this.steps.map((step) => step.message));
  }

  keys(generation: number, count = 1): TestKey[] {
    return Array.from({ length: count }, (_, i) => testKey(`${this.name}/${generation}/${i}`));
  }

  incept(
    input: Partial<Omit<InceptionInput, 'keys'>> & { keyCount?: number; nextCount?: number } = {},
    options: StepOptions = {},
  ): Step {
    const { keyCount = 1, nextCount = keyCount, ...rest } = input;
    const current = this.keys(0, keyCount);
    const event = buildInception({
      keys: current.map(({ key }) => key),
      nextDigests: this.keys(1, nextCount).map(({ key }) => keyDigest(key)),
      ...rest,
    });
    return this.push(event, options.signedBy ?? current, options);
  }

  rotate(
    input: Partial<Omit<RotationInput, 'prior' | 'keys'>> & {
      keyCount?: number;
      nextCount?: number;
    } = {},
    options: StepOptions = {},
  ): Step {
    const {
      nextCount = this.state.nextDigests.length,
      keyCount = this.state.nextDigests.length,
      ...rest
    } = input;
    this.#generation++;
    const current = this.keys(this.#generation, keyCount);
    const event = buildRotation({
      prior: this.state,
      keys: current.map(({ key }) => key),
      nextDigests: this.keys(this.#generation + 1, nextCount).map(({ key }) => keyDigest(key)),
      ...rest,
    });
    return this.push(event, options.signedBy ?? current, options);
  }

  anchor(anchors: readonly Seal[] = [], options: StepOptions = {}): Step {
    const event = buildInteraction({ prior: this.state, anchors });
    const current = this.keys(this.#generation, this.state.keys.length);
    return this.push(event, options.signedBy ?? current, options);
  }

  /** Signs, follows the state, keeps the step. */
  push(event: BuiltEvent, signers: readonly TestKey[], options: StepOptions): Step {
    const step = this.step(event, signers, options);
    this.steps.push(step);
    return step;
  }

  /** The same without keeping it: an event that never becomes part of the log. */
  step(event: BuiltEvent, signers: readonly TestKey[], options: StepOptions = {}): Step {
    const signatures = options.signatures?.(event.bytes) ?? sign(event.bytes, signers);
    const witnessSignatures =
      options.witnessSignatures ?? sign(event.bytes, options.witnesses ?? []);
    const message = encodeSignedEvent(event.bytes, signatures, { ...options, witnessSignatures });
    const last = this.steps.at(-1)?.state;
    return { ...event, message, state: stateAfter(this.steps, last, message, options.delegator) };
  }

  /** Drops the last events: what a second controller of the same keys would do next. */
  fork(keep: number): Organisation {
    const other = new Organisation(this.name);
    other.steps.push(...this.steps.slice(0, keep));
    other.#generation = other.steps.filter(
      (step) => parseKeyEvent(step.bytes).type === 'rot',
    ).length;
    return other;
  }
}

/** Where the event is not acceptable the state before it stays: tests of refusals build such events too. */
function stateAfter(
  steps: readonly Step[],
  state: KeyState | undefined,
  message: Uint8Array,
  delegator: DelegatorLog | undefined,
): KeyState {
  const parser = new StreamParser();
  const [item] = [...parser.push(message), ...parser.finish()];
  if (item?.type !== 'message') throw new Error('the message does not parse');
  const { body, attachments } = item;
  const decision = evaluate(
    state,
    { event: parseKeyEvent(body), bytes: body, attachments },
    {
      verifySignature,
      saidAt: (sn) => steps[sn]?.said,
      stateAt: (sn) => steps[sn]?.state,
      delegator: () => delegator,
    },
  );
  if (decision.kind === 'accept') return decision.state;
  return state ?? ({ aid: parseKeyEvent(body).aid, sn: -1 } as KeyState);
}

/** Controllers that sign whatever a test asks of them, with keys that are the same in every run. */
import { createHash } from 'node:crypto';
import type { IndexedSignatureInput } from '#kel/cesr/indexer';
import type { BuiltEvent } from '#kel/event/built-event';
import { buildInception, type InceptionInput } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation, type RotationInput } from '#kel/event/rotation';
import type { Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid, VerificationKey } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/state/key-state';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';

export const suite: CryptoSuite = await loadCryptoSuite();
export const verifySignature = createSignatureVerifier(suite.ed25519);

class Key {
  readonly seed: Uint8Array;
  readonly qualified: VerificationKey;

  constructor(label: string, transferable = true) {
    this.seed = createHash('sha256').update(label).digest();
    const publicKey = suite.ed25519.publicKey(this.seed);
    this.qualified = encodeVerificationKey('ed25519', publicKey, transferable);
  }

  sign(message: Uint8Array): Uint8Array {
    return suite.ed25519.sign(message, this.seed);
  }
}

/** An event with everything that a test may want to change about its message. */
export interface SignedEvent extends BuiltEvent {
  readonly message: Uint8Array;
}

export class Witness {
  readonly #key: Key;

  constructor(name: string) {
    this.#key = new Key(`witness ${name}`, false);
  }

  get aid(): Aid {
    return this.#key.qualified as string as Aid;
  }

  sign(bytes: Uint8Array, index: number): IndexedSignatureInput {
    return { index, raw: this.#key.sign(bytes) };
  }
}

type Extras = Partial<InceptionInput> & Partial<RotationInput> & { readonly keyCount?: number };

/** A single AID. Its own view of its log is a `LogVerifier`, which several controllers may share. */
export class Controller {
  readonly #name: string;
  readonly #world: LogVerifier;
  #generation = 0;
  #keyCount = 1;
  aid = '' as Aid;

  constructor(name: string, world = new LogVerifier(verifySignature)) {
    this.#name = name;
    this.#world = world;
  }

  get state(): KeyState {
    const state = this.#world.state(this.aid);
    if (state === undefined) throw new Error(`${this.#name} has no log`);
    return state;
  }

  incept({ keyCount = 1, ...input }: Extras = {}, witnesses: readonly Witness[] = []): SignedEvent {
    this.#keyCount = keyCount;
    const event = buildInception({
      keys: this.#keys(0).map((key) => key.qualified),
      nextDigests: this.#digests(1),
      witnesses: witnesses.map((witness) => witness.aid),
      ...input,
    });
    this.aid = event.aid;
    return this.#publish(this.signed(event, witnesses));
  }

  interact(anchors: readonly Seal[] = [], witnesses: readonly Witness[] = []): SignedEvent {
    return this.#publish(this.signed(buildInteraction({ prior: this.state, anchors }), witnesses));
  }

  rotate(input: Extras = {}, witnesses: readonly Witness[] = []): SignedEvent {
    const event = this.buildRotation(input);
    this.#generation += 1;
    return this.#publish(this.signed(event, witnesses));
  }

  /** A rotation that does not become part of the controller's own log. */
  buildRotation({ keyCount: _all, ...input }: Extras = {}): BuiltEvent {
    return buildRotation({
      prior: this.state,
      keys: this.#keys(this.#generation + 1).map((key) => key.qualified),
      nextDigests: this.#digests(this.#generation + 2),
      ...input,
    });
  }

  /** An interaction at the place of one that exists: the controller contradicts itself. */
  contradict(after: EventReference, anchors: readonly Seal[]): SignedEvent {
    const prior = { ...this.state, ...after };
    return this.signed(buildInteraction({ prior, anchors }));
  }

  /** Signs with the keys of the generation in force, or those with the given indices. */
  signatures(bytes: Uint8Array, only?: readonly number[]): readonly IndexedSignatureInput[] {
    return this.#keys(this.#generation)
      .map((key, index) => ({ index, raw: key.sign(bytes) }))
      .filter(({ index }) => only?.includes(index) ?? true);
  }

  signed(event: BuiltEvent, witnesses: readonly Witness[] = []): SignedEvent {
    const witnessSignatures = witnesses.map((witness, at) => witness.sign(event.bytes, at));
    const message = encodeSignedEvent(event.bytes, this.signatures(event.bytes), {
      witnessSignatures,
    });
    return { ...event, message };
  }

  #publish(event: SignedEvent): SignedEvent {
    this.#world.feed(event.message);
    return event;
  }

  #keys(generation: number): readonly Key[] {
    return Array.from(
      { length: this.#keyCount },
      (_, index) => new Key(`${this.#name} ${generation} ${index}`),
    );
  }

  #digests(generation: number): readonly string[] {
    return this.#keys(generation).map((key) => keyDigest(key.qualified));
  }
}

/**
 * Organisations with logs of random shape, equal for equal seeds: partial, augmented, reserve and custodial rotations,
 * weights in several clauses, witnesses with receipts in the event or apart, delegation, recovery, ends.
 */
import { encodeBody } from '#kel/cesr/body';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeIndexedSignature, type IndexedSignatureInput } from '#kel/cesr/indexer';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeOrdinal } from '#kel/cesr/number';
import type { BuiltEvent } from '#kel/event/built-event';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal, eventSeal, rootSeal, type Seal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Aid } from '#kel/identifiers';
import type {
  EventReference,
  KeyState,
  SerializationKind,
  ThresholdForm,
} from '#kel/key-state/key-state';
import { satisfies } from '#kel/key-state/threshold';
import { LogVerifier } from '#kel/verify/log-verifier';
import { concatBytes, utf8 } from '#src/bytes';
import { SeededRng } from '../../support/doubles/seeded-rng.ts';
import {
  ed25519,
  type TestKey,
  testKey,
  verifySignature,
  witnessKey,
} from '../../support/kit/key-log.ts';

export interface Federation {
  readonly streams: readonly Uint8Array[];
  /** As our own verifier sees them. */
  readonly states: readonly KeyState[];
  /** What happened in the logs, by name, so that a test can show that everything did. */
  readonly events: ReadonlyMap<string, number>;
}

export interface FederationOptions {
  /** Default true. KERIpy 1.3 does not take a recovery that does. */
  readonly recoveryChangesWitnesses?: boolean;
  /** Default true. KERIpy 1.3 forgets some of the delegated rotations that wait while a receipt is on its way. */
  readonly receiptsApart?: boolean;
}

export function randomFederation(
  seed: string,
  kinds: readonly SerializationKind[],
  count: number,
  options: FederationOptions = {},
): Federation {
  const world: World = {
    options,
    dice: new Dice(seed),
    kinds,
    verifier: new LogVerifier(verifySignature),
    events: new Map(),
    logs: [],
  };
  for (let i = 0; i < count; i++) {
    const log = new RandomLog(world, `${seed}/${i}`);
    log.incept();
    for (let left = world.dice.between(2, 6); left > 0 && !log.isEnded; left--) log.step();
    world.logs.push(log);
  }
  return {
    streams: world.logs.map(({ stream }) => stream),
    states: world.verifier.finish().aids,
    events: world.events,
  };
}

interface World {
  readonly options: FederationOptions;
  readonly dice: Dice;
  readonly kinds: readonly SerializationKind[];
  readonly verifier: LogVerifier;
  readonly events: Map<string, number>;
  readonly logs: RandomLog[];
}

class RandomLog {
  readonly #world: World;
  readonly #dice: Dice;
  readonly #name: string;
  readonly #messages: Uint8Array[] = [];
  /** What a recovery may follow: the events since the last one that nobody may replace, it included. */
  #recent: EventReference[] = [];
  #delegator: RandomLog | undefined;
  #keys: readonly TestKey[] = [];
  #next: readonly TestKey[] = [];
  #witnesses: readonly (TestKey & { readonly aid: Aid })[] = [];
  #made = 0;
  #hasRecovered = false;
  isEnded = false;

  constructor(world: World, name: string) {
    this.#world = world;
    this.#dice = world.dice;
    this.#name = name;
  }

  get stream(): Uint8Array {
    return concatBytes(...this.#messages);
  }

  get state(): KeyState {
    const state = this.#world.verifier.state(this.#aid);
    if (state === undefined) throw new Error(`${this.#name}: no event accepted`);
    return state;
  }

  #aid = '' as Aid;

  incept(): void {
    const dice = this.#dice;
    const mayDelegate = this.#world.logs.filter(
      (log) => !log.isEnded && !log.state.configTraits.includes('DND'),
    );
    this.#delegator = dice.chance(0.3) ? dice.pick([undefined, ...mayDelegate]) : undefined;
    this.#keys = this.#newKeys(dice.between(1, 4));
    this.#next = this.#newKeys(dice.between(1, 4));
    this.#witnesses = this.#newWitnesses(dice.pick([0, 0, 1, 3]));
    const { delegator } = { delegator: this.#delegator?.state.aid };
    const event = buildInception({
      kind: dice.pick(this.#world.kinds),
      keys: this.#keys.map(({ key }) => key),
      signingThreshold: this.#threshold(this.#keys.length),
      nextDigests: this.#digests(),
      nextThreshold: this.#threshold(this.#next.length),
      witnesses: this.#witnesses.map(({ aid }) => aid),
      witnessThreshold: this.#toad(this.#witnesses.length),
      configTraits: dice.pick([[], [], ['DND'], ['EO']]),
      ...(delegator === undefined ? {} : { delegator }),
    });
    this.#aid = event.aid;
    this.#count(delegator === undefined ? 'icp' : 'dip');
    this.#recent = [event];
    this.#emit(event, signaturesOf(event.bytes, this.#keys), this.#approved(event));
  }

  step(): void {
    const mayInteract = !this.state.configTraits.includes('EO');
    if (mayInteract && this.#dice.chance(0.45)) this.#interact(this.#seals());
    else if (this.#recent.length > 1 && this.#dice.chance(0.6)) this.#recover();
    else this.#rotate();
  }

  /** @returns where an event of a delegate is sealed: a recovery must not take it away */
  seal(event: BuiltEvent): EventReference {
    const anchors = [eventSeal(event)];
    const isEstablishmentOnly = this.state.configTraits.includes('EO');
    const source = isEstablishmentOnly ? this.#rotate(undefined, anchors) : this.#interact(anchors);
    this.#recent = [source];
    return source;
  }

  #interact(anchors: readonly Seal[]): EventReference {
    const event = buildInteraction({
      prior: this.state,
      anchors,
      kind: this.#dice.pick(this.#world.kinds),
    });
    this.#count('ixn');
    this.#recent.push(event);
    this.#emit(event, signaturesOf(event.bytes, this.#keys));
    return event;
  }

  /**
   * KERIpy lets a delegated rotation take the place of the last interaction alone, and drops what follows while the
   * rotation waits for its approval: such a log is left as it is.
   */
  #recover(): void {
    const places = this.#recent.slice(0, -1);
    const isDelegated = this.#delegator !== undefined;
    this.#count(isDelegated ? 'delegated recovery' : 'recovery');
    this.#hasRecovered = true;
    this.#rotate(isDelegated ? (places.at(-1) as EventReference) : this.#dice.pick(places));
    if (isDelegated) this.isEnded = true;
  }

  /** @param anchors what a delegate waits for: such a rotation is never the last */
  #rotate(after?: EventReference, anchors?: readonly Seal[]): EventReference {
    const dice = this.#dice;
    const { nextThreshold, delegator } = this.state;
    const exposed = this.#exposed(nextThreshold);
    const left = this.#next.filter((_, ondex) => !exposed.includes(ondex));
    const added = dice.chance(0.3) ? this.#newKeys(1) : [];
    const committed = exposed.map((ondex) => this.#next[ondex] as TestKey);
    this.#keys = [...committed, ...added];
    const isLast = anchors === undefined && delegator === undefined && dice.chance(0.06);
    const reserved = left.length > 0 && dice.chance(0.6) ? left : [];
    this.#next = isLast ? [] : [...reserved, ...this.#newKeys(dice.between(1, 3))];
    for (const [name, happened] of Object.entries({
      partial: left.length > 0,
      reordered: exposed.some((ondex, index) => ondex !== index),
      augmented: added.length > 0,
      reserve: reserved.length > 0 && !isLast,
      end: isLast,
    }))
      if (happened) this.#count(name);
    const { recoveryChangesWitnesses = true } = this.#world.options;
    const mayChange = after === undefined || recoveryChangesWitnesses;
    const cut = mayChange && this.#witnesses.length > 0 && dice.chance(0.4) ? 1 : 0;
    const adds = mayChange && dice.chance(0.3) ? this.#newWitnesses(1) : [];
    const cuts = this.#witnesses.slice(0, cut).map(({ aid }) => aid);
    this.#witnesses = [...this.#witnesses.slice(cut), ...adds];
    const event = buildRotation({
      prior: this.state,
      ...(after === undefined ? {} : { after }),
      kind: dice.pick(this.#world.kinds),
      keys: this.#keys.map(({ key }) => key),
      signingThreshold: this.#threshold(this.#keys.length),
      nextDigests: this.#digests(),
      nextThreshold: this.#threshold(this.#next.length),
      witnessCuts: cuts,
      witnessAdds: adds.map(({ aid }) => aid),
      witnessThreshold: this.#toad(this.#witnesses.length),
      anchors: anchors ?? this.#seals(),
    });
    this.#count(delegator === undefined ? 'rot' : 'drt');
    this.isEnded = isLast;
    this.#recent = [event];
    const signatures = signaturesOf(event.bytes, this.#keys).map((signature, index) => {
      const ondex = exposed[index];
      return ondex === undefined ? { ...signature, currentOnly: true } : { ...signature, ondex };
    });
    this.#emit(event, signatures, this.#approved(event));
    return event;
  }

  /** Places in the committed list whose keys come into force now: all, or as few as the threshold asks for. */
  #exposed(threshold: ThresholdForm): readonly number[] {
    let exposed = this.#dice.shuffle(this.#next.map((_, ondex) => ondex));
    if (this.#dice.chance(0.5)) return exposed;
    for (const ondex of [...exposed]) {
      const fewer = exposed.filter((other) => other !== ondex);
      if (fewer.length > 0 && satisfies(threshold, fewer)) exposed = fewer;
    }
    return exposed;
  }

  /** The delegator seals the event first; the event names where. */
  #approved(event: BuiltEvent): EventReference | undefined {
    return this.#delegator?.seal(event);
  }

  #emit(
    event: BuiltEvent,
    signatures: readonly IndexedSignatureInput[],
    sealSource?: EventReference,
  ): void {
    const receipts = signaturesOf(event.bytes, this.#witnesses);
    // KERIpy takes no receipt of an event while it still holds another one in that place.
    const { receiptsApart = true } = this.#world.options;
    const mayBeApart = receiptsApart && receipts.length > 0 && !this.#hasRecovered;
    const isApart = mayBeApart && this.#dice.chance(0.25);
    const message = encodeSignedEvent(event.bytes, this.#dice.shuffle(signatures), {
      witnessSignatures: isApart ? [] : receipts,
      ...(sealSource === undefined ? {} : { sealSource }),
    });
    this.#take(message);
    if (isApart) {
      this.#count('receipt apart');
      this.#take(receiptOf(event, this.#witnesses));
    }
    const others = this.#world.logs.filter((log) => !log.isEnded);
    if (others.length > 0 && this.#dice.chance(0.1)) {
      this.#count('transferable receipt');
      this.#take(this.#dice.pick(others).receipt(event));
    }
    if (this.state.said !== event.said)
      throw new Error(`${this.#name}: event ${event.sn} was not accepted`);
  }

  /** Of another organisation's event, under the keys in force. */
  receipt(event: BuiltEvent): Uint8Array {
    const { aid, establishment } = this.state;
    const signatures = signaturesOf(event.bytes, this.#keys).map(encodeIndexedSignature);
    const group = encodeCounter('A', signatures.length) + signatures.join('');
    const signer = aid + encodeOrdinal(establishment.sn) + establishment.said;
    return receiptWith(event, `${encodeCounter('F', 1)}${signer}${group}`);
  }

  #take(message: Uint8Array): void {
    this.#messages.push(message);
    this.#world.verifier.feed(message);
  }

  #seals(): readonly Seal[] {
    const { said, aid, sn } = this.state;
    const nested = new Map<string, BodyValue>([
      ['text', 'ünïcode \u2028 "quoted" \\ \n'],
      ['2', [1, -300, 70_000, 2 ** 40, true, null]],
      ['1', new Map<string, BodyValue>()],
    ]);
    return this.#dice.pick([
      [],
      [digestSeal(said)],
      [rootSeal(said), eventSeal({ aid, sn, said })],
      [nested],
    ]);
  }

  #newKeys(count: number): readonly TestKey[] {
    return Array.from({ length: count }, () => testKey(`${this.#name}/${this.#made++}`));
  }

  #newWitnesses(count: number): readonly ReturnType<typeof witnessKey>[] {
    return Array.from({ length: count }, () => witnessKey(`${this.#name}/w${this.#made++}`));
  }

  #digests(): readonly string[] {
    return this.#next.map(({ key }) => keyDigest(key));
  }

  #toad(witnesses: number): number {
    return witnesses === 0 ? 0 : this.#dice.between(1, witnesses);
  }

  #threshold(count: number): ThresholdForm {
    const dice = this.#dice;
    const form = dice.pick(['number', 'weights', 'clauses', 'custodial']);
    if (form === 'number' || count < 2)
      return (count === 0 ? 0 : dice.between(1, count)).toString(16);
    this.#count(form);
    // A custodian whose weight is zero holds a key that counts for nothing yet.
    if (form === 'custodial') return ['0', ...Array.from({ length: count - 1 }, () => '1')];
    if (form === 'weights')
      return Array.from({ length: count }, () => dice.pick(['1/2', '2/3', '1']));
    return count > 2 ? [['1'], Array.from({ length: count - 1 }, () => '1/2')] : [['1'], ['1']];
  }

  #count(name: string): void {
    const { events } = this.#world;
    events.set(name, (events.get(name) ?? 0) + 1);
  }
}

function signaturesOf(bytes: Uint8Array, keys: readonly TestKey[]): IndexedSignatureInput[] {
  return keys.map(({ seed }, index) => ({ index, raw: ed25519.sign(bytes, seed) }));
}

/** Receipts of witnesses as couples. */
function receiptOf(
  event: BuiltEvent,
  witnesses: readonly (TestKey & { readonly aid: Aid })[],
): Uint8Array {
  const couples = witnesses.map(
    ({ aid, seed }) => aid + encodeMatter('0B', ed25519.sign(event.bytes, seed)),
  );
  return receiptWith(event, encodeCounter('C', couples.length) + couples.join(''));
}

/** In a frame, so that the reader need not wait for what follows. */
function receiptWith({ said, aid, sn }: BuiltEvent, groups: string): Uint8Array {
  const fields = { t: 'rct', d: said, i: aid, s: sn.toString(16) };
  return concatBytes(
    encodeBody('KERI', 'JSON', Object.entries(fields)),
    utf8(encodeCounter('V', groups.length / 4) + groups),
  );
}

class Dice {
  readonly #rng: SeededRng;

  constructor(seed: string) {
    this.#rng = new SeededRng(seed);
  }

  chance(probability: number): boolean {
    return this.#rng.next() < probability;
  }

  between(least: number, most: number): number {
    return least + Math.floor(this.#rng.next() * (most - least + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.between(0, choices.length - 1)] as T;
  }

  shuffle<T>(list: readonly T[]): readonly T[] {
    const shuffled = [...list];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.between(0, i);
      [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
    }
    return shuffled;
  }
}

/**
 * The exchange with one peer: who begins and when, what is sent again, which key is in force and for how long. Nothing that is not
 * proven moves it: an InitHello does not, whoever it says to come from, and every other datagram has to fit a handshake under way.
 */
import { equalBytes } from '#src/bytes';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { open, seal, TAG_LENGTH } from './aead.ts';
import type { BiscuitKeys } from './biscuits.ts';
import type { ChainingKey } from './chaining-key.ts';
import { cookieKey, openCookieValue, withCookie } from './cookie.ts';
import type { OutputLabel } from './hash-domains.ts';
import {
  type BegunHandshake,
  beginHandshake,
  confirmHandshake,
  freshSessionId,
  type HandshakeKems,
} from './initiator.ts';
import { HASH_LENGTH } from './keyed-hash.ts';
import {
  type CookieReply,
  type EmptyData,
  formatMessage,
  type InitConf,
  type InitHello,
  type RespHello,
  SESSION_ID_LENGTH,
} from './messages.ts';
import { macFor, type PublicKeyHashes } from './public-key-hashes.ts';
import { answerInitHello, NO_PSK, type ProvenInitiator } from './responder.ts';
import * as timers from './timers.ts';
import { wipe } from './wipe.ts';

/** Where datagrams come from and go to. */
export interface RosenpassAddress {
  /** One text per address and port. */
  readonly endpoint: string;
  /** Whom a rate counts it against: the address without its port, of IPv6 the first 64 bits. */
  readonly source: string;
}

/** Why a key is put out: an exchange ended, or its life did and the key is random. */
export type KeyReason = 'exchanged' | 'stale';

export type RosenpassEffect =
  | { readonly kind: 'send'; readonly datagram: Uint8Array; readonly to: RosenpassAddress }
  /** `key`: 32 bytes; whoever carries the effect out disposes it. */
  | {
      readonly kind: 'key';
      readonly peer: number;
      readonly key: Secret;
      readonly reason: KeyReason;
    }
  /** The public key of a peer could not be read; nothing was done for it. */
  | { readonly kind: 'trouble'; readonly peer: number; readonly error: unknown };

/** Why a datagram changed nothing. */
export type DatagramRefusal =
  | 'malformed'
  | 'wrong-mac'
  | 'over-rate'
  | 'unknown-peer'
  | 'not-authentic'
  | 'no-session'
  | 'no-biscuit'
  | 'replay'
  | 'crossing'
  | 'trouble';

export type Outcome = readonly RosenpassEffect[] | DatagramRefusal;

export interface RosenpassPeerOptions {
  /** 524,160 bytes, asked for when a handshake needs them; it may throw. */
  readonly publicKey: () => Uint8Array;
  /** 32 bytes. */
  readonly presharedKey?: Secret;
  /** Where this end begins by itself; without it, it answers. */
  readonly address?: RosenpassAddress;
  /** What the key is for; @default WireGuard's preshared key */
  readonly output?: OutputLabel;
}

/** What all exchanges of one end share. */
export interface ExchangeContext {
  readonly kems: HandshakeKems;
  readonly ownPublicKey: Uint8Array;
  readonly rng: Rng;
  readonly biscuits: BiscuitKeys;
  /** Handshakes that this end began, by their session id in hexadecimal. */
  readonly sessions: Map<string, PeerExchange>;
}

interface Waiting {
  readonly startedAt: number;
  tries: number;
  againAt: number;
}

/** InitHello is out. */
interface Hello extends Waiting {
  readonly phase: 'hello';
  readonly begun: BegunHandshake;
  cookie?: { readonly value: Uint8Array; readonly since: number };
}

/** InitConf is out, the key is in force. */
interface Conf extends Waiting {
  readonly phase: 'conf';
  readonly sidi: Uint8Array;
  readonly datagram: Uint8Array;
  /** Key of the EmptyData that ends it. */
  readonly dataKey: Uint8Array;
}

interface Session {
  readonly role: 'initiator' | 'responder';
  readonly since: number;
  /** EmptyData, for an InitConf that comes again. */
  readonly answer?: Uint8Array;
}

export class PeerExchange implements Disposable {
  readonly hashes: PublicKeyHashes;
  readonly #index: number;
  readonly #own: PublicKeyHashes;
  readonly #options: RosenpassPeerOptions;
  readonly #context: ExchangeContext;
  readonly #outputNode: Uint8Array;
  /** From where something proven came last. */
  #learned: RosenpassAddress | undefined;
  #waiting: Hello | Conf | undefined;
  #session: Session | undefined;
  /** The session that this end became the initiator of last; the other end may take it in another order than this one. */
  #initiated: { readonly at: number; acknowledgedAt?: bigint } | undefined;
  /** Number of the biscuit that was accepted last. */
  #usedBiscuit = 0n;
  /** No handshake of the own begins before. */
  #notBefore = Number.NEGATIVE_INFINITY;
  /** Set where one is due before the session is old. */
  #settleAt: number | undefined;
  #cookieKey: Uint8Array | undefined;

  constructor(
    index: number,
    hashes: PublicKeyHashes,
    own: PublicKeyHashes,
    options: RosenpassPeerOptions,
    context: ExchangeContext,
  ) {
    this.#index = index;
    this.hashes = hashes;
    this.#own = own;
    this.#options = options;
    this.#context = context;
    this.#outputNode = hashes.domains.output(options.output);
  }

  /** Where datagrams to the peer go now. */
  get address(): RosenpassAddress | undefined {
    return this.#learned ?? this.#options.address;
  }

  /** Whether datagrams of `source` may be those of this peer. */
  isAt(source: string): boolean {
    return this.#options.address?.source === source || this.#learned?.source === source;
  }

  /** An InitHello that says to come from this peer. It proves nothing, and changes nothing here. */
  answer(hello: InitHello, chainingKey: ChainingKey, from: RosenpassAddress, now: number): Outcome {
    if (this.#isCrossing(now)) return 'crossing';
    return this.#withPublicKey(now, (peerPublicKey) => {
      const { kems, biscuits, rng } = this.#context;
      const sidr = rng.bytes(SESSION_ID_LENGTH);
      const keys = { own: this.#own, peer: this.hashes, peerPublicKey, psk: this.#psk() };
      const datagram = answerInitHello(kems, { ...keys, sidr, biscuits, now }, hello, chainingKey);
      return datagram === undefined ? 'not-authentic' : [{ kind: 'send', datagram, to: from }];
    });
  }

  confirm(answer: RespHello, from: RosenpassAddress, now: number): Outcome {
    const hello = this.#waiting;
    if (hello?.phase !== 'hello') return 'no-session';
    const { kems, ownPublicKey } = this.#context;
    const keys = { peer: this.hashes, ownPublicKey };
    using confirmed = confirmHandshake(kems, keys, hello.begun, answer);
    if (confirmed === undefined) return 'not-authentic';
    const { chainingKey, datagram } = confirmed;
    hello.begun[Symbol.dispose]();
    this.#waiting = {
      phase: 'conf',
      sidi: hello.begun.sidi,
      datagram,
      dataKey: chainingKey.derive(this.hashes.domains.responderEncryption),
      startedAt: now,
      ...this.#firstWait(now),
    };
    this.#initiated = { at: now };
    this.#learned = from;
    return [
      ...this.#enter({ role: 'initiator', since: now }, chainingKey),
      { kind: 'send', datagram, to: from },
    ];
  }

  finish({ counter, auth }: EmptyData, from: RosenpassAddress): Outcome {
    const conf = this.#waiting;
    if (conf?.phase !== 'conf') return 'no-session';
    if (open(conf.dataKey, auth, counter) === undefined) return 'not-authentic';
    this.#learned = from;
    this.#abandon();
    // What is answered from now on came after it at the other end too.
    if (this.#initiated !== undefined)
      this.#initiated.acknowledgedAt = this.#context.biscuits.lastNumber;
    return [];
  }

  accept(
    proven: ProvenInitiator,
    { sidi }: InitConf,
    from: RosenpassAddress,
    now: number,
  ): Outcome {
    if (proven.biscuitNumber < this.#usedBiscuit) return 'replay';
    if (proven.biscuitNumber === this.#usedBiscuit) return this.#acceptAgain(from, now);
    const isCollision = this.#isCollision(proven.biscuitNumber, now);
    this.#initiated = undefined;
    this.#usedBiscuit = proven.biscuitNumber;
    this.#learned = from;
    this.#abandon();
    const datagram = this.#emptyData(sidi, proven.chainingKey);
    const key = this.#enter(
      { role: 'responder', since: now, answer: datagram },
      proven.chainingKey,
    );
    // The other end may hold the key of the exchange that this end began: one more, alone, and both hold the same.
    if (isCollision) this.#settleAt = now + timers.SETTLE_MS[this.#isLower() ? 0 : 1];
    return [...key, { kind: 'send', datagram, to: from }];
  }

  /** A responder under load wants a cookie. */
  takeCookie({ sealedCookie }: CookieReply, now: number): Outcome {
    const hello = this.#waiting;
    if (hello?.phase !== 'hello') return 'no-session';
    const key = this.#cookieKeyOf(now);
    if (key instanceof Uint8Array) {
      const value = openCookieValue(key, sealedCookie, hello.begun.datagram);
      if (value === undefined) return 'not-authentic';
      // Whoever replays it makes this end send nothing.
      if (hello.cookie !== undefined && equalBytes(hello.cookie.value, value)) return 'replay';
      hello.cookie = { value, since: now };
      return this.#sendWaiting(hello, now);
    }
    return key;
  }

  /** What is due. */
  poll(now: number): readonly RosenpassEffect[] {
    const effects: RosenpassEffect[] = [];
    if (this.#session !== undefined && now - this.#session.since >= timers.LIFE_MS) {
      this.#session = undefined;
      const key = Secret.take(this.#context.rng.bytes(HASH_LENGTH));
      effects.push({ kind: 'key', peer: this.#index, key, reason: 'stale' });
    }
    const waiting = this.#waiting;
    if (waiting !== undefined && now >= this.#deadAt(waiting)) {
      this.#abandon();
      // It is not where it was; whoever was configured with an address is looked for there.
      if (waiting.phase === 'hello') this.#learned = undefined;
      else this.#settleAt = now;
    } else if (waiting !== undefined && now >= waiting.againAt) {
      waiting.tries += 1;
      effects.push(...this.#sendWaiting(waiting, now));
      waiting.againAt = now + timers.retransmissionDelay(waiting.tries, this.#context.rng);
    }
    if (now >= this.#beginsAt()) effects.push(...this.#begin(now));
    return effects;
  }

  /** When {@link poll} has something to do; Infinity for never. */
  wakeAt(): number {
    const waiting = this.#waiting;
    return Math.min(
      this.#session === undefined ? Number.POSITIVE_INFINITY : this.#session.since + timers.LIFE_MS,
      waiting === undefined ? Number.POSITIVE_INFINITY : waiting.againAt,
      waiting === undefined ? Number.POSITIVE_INFINITY : this.#deadAt(waiting),
      this.#beginsAt(),
    );
  }

  [Symbol.dispose](): void {
    this.#abandon();
  }

  /** When a handshake of the own is due. */
  #beginsAt(): number {
    if (this.#waiting !== undefined || this.address === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(this.#notBefore, this.#settleAt ?? this.#rekeyAt());
  }

  #rekeyAt(): number {
    if (this.#session === undefined) return Number.NEGATIVE_INFINITY;
    const { role, since } = this.#session;
    if (this.#options.address === undefined) return since + timers.REKEY_LEARNED_MS;
    return since + (role === 'initiator' ? timers.REKEY_INITIATOR_MS : timers.REKEY_RESPONDER_MS);
  }

  #begin(now: number): readonly RosenpassEffect[] {
    this.#settleAt = undefined;
    const outcome = this.#withPublicKey(now, (peerPublicKey) => {
      const { kems, ownPublicKey, rng, sessions } = this.#context;
      const sidi = freshSessionId(rng, (sid) => sessions.has(sid.toHex()));
      const keys = { own: this.#own, peer: this.hashes, ownPublicKey, peerPublicKey };
      const begun = beginHandshake(kems, { ...keys, psk: this.#psk() }, sidi);
      sessions.set(sidi.toHex(), this);
      const hello: Hello = { phase: 'hello', begun, startedAt: now, ...this.#firstWait(now) };
      this.#waiting = hello;
      return this.#sendWaiting(hello, now);
    });
    return typeof outcome === 'string' ? [] : outcome;
  }

  #sendWaiting(waiting: Hello | Conf, now: number): readonly RosenpassEffect[] {
    const to = this.address;
    if (to === undefined) return [];
    if (waiting.phase === 'conf') return [{ kind: 'send', datagram: waiting.datagram, to }];
    const { begun, cookie } = waiting;
    const isFresh = cookie !== undefined && now - cookie.since < timers.COOKIE_LIFE_MS;
    const datagram = isFresh ? withCookie(begun.datagram, cookie.value) : begun.datagram;
    return [{ kind: 'send', datagram, to }];
  }

  #firstWait(now: number): { tries: number; againAt: number } {
    return { tries: 0, againAt: now + timers.retransmissionDelay(0, this.#context.rng) };
  }

  #deadAt({ phase, startedAt }: Hello | Conf): number {
    return startedAt + (phase === 'hello' ? timers.LIFE_MS : timers.UNCONFIRMED_MS);
  }

  /** Whether the handshake that this end has just begun goes before one that the peer begins. */
  #isCrossing(now: number): boolean {
    const waiting = this.#waiting;
    if (waiting?.phase !== 'hello' || !this.#isLower()) return false;
    return now - waiting.startedAt < timers.CROSSING_MS;
  }

  /** Whether the other end may have taken the session that this end began after the one that it began itself. */
  #isCollision(biscuitNumber: bigint, now: number): boolean {
    const { at = Number.NEGATIVE_INFINITY, acknowledgedAt } = this.#initiated ?? {};
    if (now - at >= timers.COLLISION_MS) return false;
    return acknowledgedAt === undefined || biscuitNumber <= acknowledgedAt;
  }

  #isLower(): boolean {
    return Buffer.compare(this.#own.peerId, this.hashes.peerId) < 0;
  }

  /** An InitConf that was accepted already: its answer was lost. */
  #acceptAgain(from: RosenpassAddress, now: number): Outcome {
    const { since = 0, answer } = this.#session ?? {};
    if (answer === undefined || now - since >= timers.ANSWER_AGAIN_MS) return 'replay';
    return [{ kind: 'send', datagram: answer, to: from }];
  }

  #enter(session: Session, chainingKey: ChainingKey): readonly RosenpassEffect[] {
    this.#session = session;
    this.#settleAt = undefined;
    const key = Secret.take(chainingKey.derive(this.#outputNode));
    return [{ kind: 'key', peer: this.#index, key, reason: 'exchanged' }];
  }

  #emptyData(sid: Uint8Array, chainingKey: ChainingKey): Uint8Array {
    const key = chainingKey.derive(this.hashes.domains.responderEncryption);
    const auth = seal(key, new Uint8Array(0)).subarray(0, TAG_LENGTH);
    wipe(key);
    return formatMessage({ kind: 'empty-data', sid, counter: 0n, auth }, (bytes) =>
      macFor(this.hashes, bytes),
    );
  }

  #psk(): Uint8Array {
    return this.#options.presharedKey?.expose() ?? NO_PSK;
  }

  /** Made when the first cookie comes, of a key that is read for it. */
  #cookieKeyOf(now: number): Uint8Array | Outcome {
    if (this.#cookieKey !== undefined) return this.#cookieKey;
    const failed = this.#withPublicKey(now, (publicKey) => {
      this.#cookieKey = cookieKey(publicKey);
      return [];
    });
    return this.#cookieKey ?? failed;
  }

  #withPublicKey(now: number, use: (publicKey: Uint8Array) => Outcome): Outcome {
    let publicKey: Uint8Array;
    try {
      publicKey = this.#options.publicKey();
    } catch (error) {
      this.#notBefore = now + timers.TROUBLE_MS;
      return [{ kind: 'trouble', peer: this.#index, error }];
    }
    return use(publicKey);
  }

  /** Ends the handshake that this end began, whatever has become of it. */
  #abandon(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    const sidi = waiting.phase === 'hello' ? waiting.begun.sidi : waiting.sidi;
    this.#context.sessions.delete(sidi.toHex());
    if (waiting.phase === 'hello') waiting.begun[Symbol.dispose]();
    else wipe(waiting.dataKey);
  }
}

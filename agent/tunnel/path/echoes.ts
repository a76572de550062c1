/**
 * Echoes between members, through their tunnels: whether a packet of some length arrives now, and how long it takes there and back.
 * They leave no trace: no leaf, no record, nothing on disk. Whom an answer is from is vouched for by WireGuard's allowed IPs, and by
 * a token that nobody else has seen.
 */
import type { Aid } from '#kel/identifiers';
import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import type { Rng } from '#src/rng';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import { overlayAddress } from '../../mesh/membership/overlay-address.ts';
import type { Overlay, OverlayDatagrams } from '../proof/overlay.ts';
import { decodeEcho, ECHO_HEADER, ECHO_TOKEN, encodeEcho, MAX_ECHO } from './echo-messages.ts';

/** Bytes of the headers of IPv6 and UDP. */
const ECHO_OVERHEAD = 48;
/** Echoes of one member that are answered: a search for a path MTU, a measurement of an edge. */
const ANSWERS = { burst: 1_024, perSecond: 128 };
/** Bytes of a packet that asks whether somebody is there, and how often and how long. */
const SHORT = 80;
const TRIES = 3;
const WAIT_MS = 1_500;
/** Own ones that wait for an answer. */
const MAX_WAITING = 4_096;

export interface EchoesDeps {
  readonly overlay: Overlay;
  readonly membership: Membership;
  readonly identity: Pick<Identity, 'aid'>;
  readonly clock: Clock;
  readonly rng: Rng;
}

interface Waiting {
  readonly aid: Aid;
  readonly size: number;
  readonly answered: () => void;
}

export class Echoes {
  readonly #deps: EchoesDeps;
  readonly #answers: Allowance<Aid>;
  /** By token, hex. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #known = new Set<Aid>();
  #open: { readonly address: string; readonly socket: OverlayDatagrams } | undefined;
  #isOver = true;

  constructor(deps: EchoesDeps) {
    this.#deps = deps;
    this.#answers = new Allowance(deps.clock, ANSWERS);
  }

  /** Answers from now on, once {@link listen} has an address. */
  start(signal: AbortSignal): void {
    this.#isOver = signal.aborted;
    signal.addEventListener('abort', () => this.#close(), { once: true });
  }

  /** Answers at the own overlay address as soon as a device carries it; called again it does nothing. */
  async listen(): Promise<void> {
    const { overlay, membership, identity } = this.#deps;
    const address = membership.mesh && overlayAddress(membership.mesh, identity.aid);
    if (this.#open?.address === address || address === undefined || this.#isOver) return;
    this.#open?.socket.close();
    this.#open = undefined;
    const socket = await overlay.datagrams?.(address, (message, from) => this.#take(message, from));
    if (socket === undefined) return;
    if (this.#isOver) return socket.close();
    this.#open = { address, socket };
  }

  /** Whether `aid` answers now; true also of one that never has: an older version does not. */
  async reaches(aid: Aid): Promise<boolean> {
    for (let n = 0; n < TRIES; n++)
      if ((await this.ask(aid, SHORT, WAIT_MS)) !== undefined) return true;
    return !this.#known.has(aid);
  }

  /**
   * @param packetSize bytes of the packet in the tunnel, from 64 on
   * @returns milliseconds there and back; undefined when no answer came within `waitMs`, or none can be sent
   */
  async ask(aid: Aid, packetSize: number, waitMs: number): Promise<number | undefined> {
    const { membership, clock, rng } = this.#deps;
    const { mesh } = membership;
    const size = packetSize - ECHO_OVERHEAD;
    if (mesh === undefined || this.#open === undefined || this.#waiting.size >= MAX_WAITING)
      return undefined;
    if (size < ECHO_HEADER || size > MAX_ECHO) return undefined;
    const token = rng.bytes(ECHO_TOKEN);
    const name = token.toHex();
    const over = new AbortController();
    let tripMs: number | undefined;
    const begun = clock.monotonic();
    const answered = () => {
      tripMs = clock.monotonic() - begun;
      over.abort();
    };
    this.#waiting.set(name, { aid, size, answered });
    this.#open.socket.send(overlayAddress(mesh, aid), encodeEcho({ kind: 'ask', size, token }));
    await clock.sleep(waitMs, over.signal).catch(() => undefined);
    this.#waiting.delete(name);
    return tripMs;
  }

  /** @param message, from attacker-controlled */
  #take(message: Uint8Array, from: string): void {
    const echo = decodeEcho(message);
    const aid = echo && this.#deps.membership.standing.otherAt(from)?.aid;
    if (echo === undefined || aid === undefined) return;
    const { kind, size, token } = echo;
    if (kind === 'ask') {
      if (this.#answers.take(aid))
        this.#open?.socket.send(from, encodeEcho({ kind: 'answer', size, token }));
      return;
    }
    const waiting = this.#waiting.get(token.toHex());
    if (waiting?.aid !== aid || waiting.size !== size) return;
    this.#known.add(aid);
    waiting.answered();
  }

  #close(): void {
    this.#isOver = true;
    this.#open?.socket.close();
    this.#open = undefined;
  }
}

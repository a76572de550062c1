/**
 * The preshared keys of the epoch that each pair is at: when a chain moves on, what both ends say of where they are, and the keys
 * themselves, handed out for one write of the devices at a time. Of each pair the key of the epoch in use is held, and no other:
 * one that is past is wiped as soon as the next one is held.
 *
 * The sealed chain of an epoch is on disk before its key is handed out (`agreement-store.ts`), and the key before it is on a device.
 */
import type { Aid } from '#kel/identifiers';
import { equalBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import { Secret } from '#src/secret';
import type { SteadyTime } from '#src/steady-time';
import { compareEpochs, epochAt, epochStart } from '../../mesh/membership/epoch.ts';
import { type AgreementStore, type EpochKey, pairKey } from '../agreement/agreement-store.ts';
import { AgreementError } from '../agreement/errors.ts';
import type { AgreementPair } from '../agreement/terms.ts';
import type { HeldKeys } from './pair-keys.ts';
import { type TunnelView, viewKey } from './view.ts';

/** Preshared keys that two ends write this far apart cost packets: measured are none up to 57 s. */
export const MAX_SKEW_MS = 55_000;
/** From here on the two ends may see the limit differently, and tell each other what they do. */
const NEAR_SKEW_MS = 45_000;
/** Epochs by which the word of the other end may differ from the own clock. */
const MAX_EPOCH_LEAD = 2;
/** After a start the chain of a pair rests until the other end was heard, at the longest this: the own clock may be wrong. */
const UNHEARD_MS = 45_000;

export interface EpochKeysDeps {
  readonly self: Aid;
  readonly store: Pick<AgreementStore, 'current' | 'advanceAll'>;
  /** The pair as its agreement names it. */
  readonly pairOf: (aid: Aid, view: TunnelView) => AgreementPair;
  /** Of the charter in force. */
  readonly epochSeconds: () => number;
  readonly clock: Clock;
  /** The time that epochs follow: a clock that is stepped moves no chain. */
  readonly time: Pick<SteadyTime, 'now'>;
  readonly journal: Journal;
  /** Milliseconds that the clock of `aid` is ahead of `time`, as it said when it was last heard; undefined: never heard. */
  readonly skewOf: (aid: Aid) => number | undefined;
  /** Tells the other end the epoch that this one has moved to, where clocks differ. */
  readonly tellEpoch: (aid: Aid, view: TunnelView, epoch: number, th: Uint8Array) => void;
}

export class EpochKeys {
  readonly #deps: EpochKeysDeps;
  /** Agreement ids in force, by {@link viewKey}. */
  readonly #inForce = new Map<string, Uint8Array>();
  /** Of the current epoch: every look at the devices asks for the keys of all pairs. */
  readonly #held = new Map<string, EpochKey>();
  /** Epoch to which the other end has moved, where clocks differ. */
  readonly #toldEpochs = new Map<string, number>();
  /** Pairs whose ends were found to be apart, and since when; a fresh agreement brings them together. */
  readonly #apart = new Map<Aid, number>();
  /** Monotonic. */
  readonly #begun: number;

  constructor(deps: EpochKeysDeps) {
    this.#deps = deps;
    this.#begun = deps.clock.monotonic();
  }

  /** An agreement is in force that was before this start. @param name see {@link viewKey}  @param th 32 bytes */
  remember(name: string, th: Uint8Array): void {
    this.#inForce.set(name, th);
  }

  /** A fresh agreement is in force: what was said of the chain before counts no more. */
  renewed(aid: Aid, name: string, th: Uint8Array): void {
    this.#inForce.set(name, th);
    this.#toldEpochs.delete(name);
    this.#apart.delete(aid);
  }

  /** Nothing is agreed any more under `name`: its key is wiped. */
  retire(name: string): void {
    this.#inForce.delete(name);
    this.#toldEpochs.delete(name);
    this.#hold(name, undefined);
  }

  /**
   * Brings the keys of these views to the epoch that they are due at, in one durable write, and hands them out for one write of the
   * devices. Views without an agreement are passed over. Throws AGREEMENT_NONE when the chain of an agreement in force is gone.
   */
  async take(views: readonly (readonly [Aid, TunnelView])[]): Promise<HeldKeys> {
    const agreed = views
      .map(([aid, view]) => [aid, viewKey(this.#deps.self, aid, view)] as const)
      .filter(([, name]) => this.#inForce.has(name));
    await this.#advance(views);
    const copies = new Map<string, Secret>();
    for (const [aid, name] of agreed) {
      const held = this.#held.get(name);
      if (held !== undefined) copies.set(name, new Secret(held.psk.expose()));
      else if (this.#inForce.has(name)) {
        wipe(copies);
        throw new AgreementError('AGREEMENT_NONE', `nothing is agreed with ${aid}`);
      }
    }
    return {
      of: (aid, view) => copies.get(viewKey(this.#deps.self, aid, view)),
      [Symbol.dispose]: () => wipe(copies),
    };
  }

  /** The epoch of the preshared key that the pair has now. */
  async epochOf(aid: Aid, view: TunnelView): Promise<number> {
    const name = viewKey(this.#deps.self, aid, view);
    await this.#advance([[aid, view]]);
    const held = this.#held.get(name);
    if (held === undefined)
      throw new AgreementError('AGREEMENT_NONE', `nothing is agreed with ${aid}`);
    return held.epoch;
  }

  /** Tells the other end where this one is, so that both notice when they are apart: then they agree afresh. */
  async show(aid: Aid, view: TunnelView): Promise<void> {
    const th = this.#inForce.get(viewKey(this.#deps.self, aid, view));
    if (th !== undefined) this.#deps.tellEpoch(aid, view, await this.epochOf(aid, view), th);
  }

  /** Length of an epoch. */
  get epochSeconds(): number {
    return this.#deps.epochSeconds();
  }

  /** Number of the current epoch. */
  epoch(): number {
    return epochAt(this.#deps.time.now(), this.#deps.epochSeconds());
  }

  /** Milliseconds since the Unix epoch at which the next epoch begins. */
  nextEpochAt(): number {
    return epochStart(this.epoch() + 1, this.#deps.epochSeconds());
  }

  /** Milliseconds from now to {@link nextEpochAt}, whatever the clock shows. */
  untilNextEpoch(): number {
    return this.nextEpochAt() - this.#deps.time.now();
  }

  /** Where the first key of a fresh agreement counts. Of clocks that are far apart that of the other end: it refuses what is not near. */
  baseEpoch(aid: Aid): number {
    const { time, skewOf, epochSeconds } = this.#deps;
    const skewMs = this.isPostponed(aid) ? (skewOf(aid) ?? 0) : 0;
    return epochAt(time.now() + skewMs, epochSeconds());
  }

  /** Whether the preshared key of the pair stays at its epoch because the clocks of the two ends differ too much. */
  isPostponed(aid: Aid): boolean {
    return Math.abs(this.#deps.skewOf(aid) ?? 0) > MAX_SKEW_MS;
  }

  /** Since when the two ends are known to be at epochs that have nothing in common; milliseconds since the Unix epoch. */
  apartSince(aid: Aid): number | undefined {
    return this.#apart.get(aid);
  }

  /**
   * The other end is at `epoch` of the agreement `th`. At a boundary this end follows, or tells the other to.
   * @returns `apart` when the two have nothing in common: only a fresh agreement brings them together
   */
  async compare(
    aid: Aid,
    view: TunnelView,
    th: Uint8Array,
    epoch: number,
  ): Promise<'together' | 'apart'> {
    const { self, tellEpoch, journal, clock } = this.#deps;
    const name = viewKey(self, aid, view);
    const held = this.#inForce.get(name);
    if (held === undefined) return 'together';
    const own = await this.epochOf(aid, view);
    const isSameChain = equalBytes(held, th);
    const next = isSameChain ? compareEpochs(own, epoch) : 'afresh';
    if (next === 'same') this.#apart.delete(aid);
    else if (next === 'tell') tellEpoch(aid, view, own, held);
    else if (next === 'follow' && Math.abs(epoch - this.epoch()) <= MAX_EPOCH_LEAD)
      this.#toldEpochs.set(name, epoch);
    else {
      if (!this.#apart.has(aid)) {
        journal.warn('psk.apart', { aid, own, other: epoch, sameAgreement: isSameChain });
        this.#apart.set(aid, clock.now());
      }
      return 'apart';
    }
    return 'together';
  }

  async #advance(views: readonly (readonly [Aid, TunnelView])[]): Promise<void> {
    const { self, store, pairOf } = this.#deps;
    const stale: { aid: Aid; view: TunnelView; name: string; from: number; due: number }[] = [];
    for (const [aid, view] of views) {
      const name = viewKey(self, aid, view);
      if (this.#isCurrent(aid, name)) continue;
      const from = await this.#heldEpoch(aid, view, name);
      if (from === undefined) continue;
      // An end whose clock is behind stays at the epoch that the agreement began with.
      const due = Math.max(from, this.#dueEpoch(aid, name, from));
      stale.push({ aid, view, name, from, due });
    }
    if (stale.length === 0) return;
    const keys = await store.advanceAll(
      stale.map(({ aid, view, due }) => [pairKey(pairOf(aid, view)), due]),
    );
    for (const [i, { aid, view, name, from, due }] of stale.entries()) {
      this.#hold(name, keys[i] as EpochKey);
      if (due > from) this.#tellMoved(aid, view, due);
    }
  }

  /** In place of the one before, which is wiped. */
  #hold(name: string, key: EpochKey | undefined): void {
    const before = this.#held.get(name);
    if (key === undefined) this.#held.delete(name);
    else this.#held.set(name, key);
    before?.psk[Symbol.dispose]();
  }

  /** One of the two ends at each boundary, both where they may see the limit differently. */
  #tellMoved(aid: Aid, view: TunnelView, epoch: number): void {
    const { self, skewOf, tellEpoch } = this.#deps;
    const isNear = Math.abs(skewOf(aid) ?? 0) > NEAR_SKEW_MS;
    const th = this.#inForce.get(viewKey(self, aid, view));
    if (th !== undefined && (isNear || self < aid)) tellEpoch(aid, view, epoch, th);
  }

  #isCurrent(aid: Aid, name: string): boolean {
    const held = this.#ofAgreement(name);
    return held !== undefined && held.epoch >= this.#dueEpoch(aid, name, held.epoch);
  }

  /** The epoch that the chain on disk has reached; undefined without one. */
  async #heldEpoch(aid: Aid, view: TunnelView, name: string): Promise<number | undefined> {
    const held = this.#ofAgreement(name);
    if (held !== undefined) return held.epoch;
    const stored = await this.#deps.store.current(pairKey(this.#deps.pairOf(aid, view)));
    stored?.psk[Symbol.dispose]();
    return stored?.epoch;
  }

  /** Of the agreement in force. */
  #ofAgreement(name: string): EpochKey | undefined {
    const held = this.#held.get(name);
    const th = this.#inForce.get(name);
    return held !== undefined && th !== undefined && equalBytes(held.th, th) ? held : undefined;
  }

  #dueEpoch(aid: Aid, name: string, held: number): number {
    const told = this.#toldEpochs.get(name) ?? 0;
    return Math.max(told, this.isPostponed(aid) || this.#isUnheard(aid) ? held : this.epoch());
  }

  #isUnheard(aid: Aid): boolean {
    const { clock, skewOf } = this.#deps;
    return skewOf(aid) === undefined && clock.monotonic() - this.#begun < UNHEARD_MS;
  }
}

function wipe(secrets: Map<string, Secret>): void {
  for (const secret of secrets.values()) secret[Symbol.dispose]();
  secrets.clear();
}

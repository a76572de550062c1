/**
 * The accepted events of one AID, as far as verifying further events and records needs them: 33 bytes per event,
 * the states after establishment events, and where each seal stands. All of it outside the JavaScript heap.
 */
import type { KeyEvent } from '#kel/event/key-event';
import { type SealedEvent, sealedDigest, sealedEvent } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import type { DelegationApproval, DelegatorLog } from '#kel/state/evaluation-context';
import { EstablishmentList } from './establishment-list.ts';
import { SaidList } from './said-list.ts';
import { SealIndex } from './seal-index.ts';

export interface MemoryLogOptions {
  /** Without it `sealOf` finds nothing: a log of a million anchors needs half the memory. Default true. */
  readonly indexDigestSeals?: boolean;
}

export class MemoryLog implements DelegatorLog {
  #state: KeyState;
  readonly #saids = new SaidList();
  readonly #establishments = new EstablishmentList();
  /** States after establishment events that are no longer part of the log. */
  readonly #superseded = new Map<Said, KeyState>();
  readonly #digestSeals: SealIndex | undefined;
  /** Made with the first seal: most logs approve nothing. */
  #eventSeals: SealIndex | undefined;

  /** @param state after the inception */
  constructor(
    state: KeyState,
    event: KeyEvent,
    { indexDigestSeals = true }: MemoryLogOptions = {},
  ) {
    this.#state = state;
    this.#digestSeals = indexDigestSeals ? new SealIndex() : undefined;
    this.#append(state, event);
  }

  get state(): KeyState {
    return this.#state;
  }

  get configTraits(): readonly string[] {
    return this.#state.configTraits;
  }

  /** @param state after `event`, accepted  @param supersedesFrom events from here on leave the log first */
  accept(state: KeyState, event: KeyEvent, supersedesFrom: number | undefined): void {
    if (supersedesFrom !== undefined) this.#truncate(supersedesFrom);
    this.#state = state;
    this.#append(state, event);
  }

  saidAt(sn: number): Said | undefined {
    return this.#saids.at(sn);
  }

  stateAt(sn: number): KeyState | undefined {
    const said = this.#saids.at(sn);
    const entry = this.#establishments.entryAt(sn);
    if (said === undefined || entry < 0) return undefined;
    const established = this.#established(entry);
    return established.sn === sn ? established : { ...established, sn, said, eventType: 'ixn' };
  }

  establishment(sn: number, said: Said): KeyState | undefined {
    const entry = this.#establishments.entryAt(sn);
    if (entry >= 0 && this.#establishments.snOf(entry) === sn && this.#saids.at(sn) === said)
      return this.#established(entry);
    const superseded = this.#superseded.get(said);
    return superseded?.sn === sn ? superseded : undefined;
  }

  /** The event that seals `said` by `{d}`. */
  sealOf(said: Said): EventReference | undefined {
    const place = this.#digestSeals?.find(said);
    return place === undefined
      ? undefined
      : { sn: place.sn, said: this.#saids.at(place.sn) as Said };
  }

  approvalOf(seal: SealedEvent): DelegationApproval | undefined {
    const place = this.#eventSeals?.find(sealText(seal));
    if (place === undefined) return undefined;
    const { sn, sealIndex } = place;
    const isRotation =
      this.#establishments.snOf(Math.max(0, this.#establishments.entryAt(sn))) === sn;
    return { sn, said: this.#saids.at(sn) as Said, isRotation, sealIndex };
  }

  #established(entry: number): KeyState {
    const said = this.#saids.at(this.#establishments.snOf(entry)) as Said;
    return this.#establishments.state(entry, said, this.#state);
  }

  #append(state: KeyState, { said, sn, type, anchors }: KeyEvent): void {
    this.#saids.push(said);
    if (type !== 'ixn') this.#establishments.push(state);
    for (const [sealIndex, anchor] of anchors.entries()) {
      const place = { sn, sealIndex };
      const digest = this.#digestSeals === undefined ? undefined : sealedDigest(anchor);
      if (digest !== undefined) this.#digestSeals?.add(digest, place);
      const seal = sealedEvent(anchor);
      if (seal === undefined) continue;
      this.#eventSeals ??= new SealIndex();
      this.#eventSeals.add(sealText(seal), place);
    }
  }

  #truncate(from: number): void {
    const first = this.#establishments.entryAt(from - 1) + 1;
    for (let entry = first; entry < this.#establishments.length; entry++) {
      const state = this.#established(entry);
      this.#superseded.set(state.said, state);
    }
    this.#establishments.truncate(from);
    this.#saids.truncate(from);
    this.#digestSeals?.truncate(from);
    this.#eventSeals?.truncate(from);
  }
}

/** Distinct for distinct seals of valid identifiers, which hold no line ends. */
function sealText({ aid, sn, said }: SealedEvent): string {
  return `${aid}\n${sn}\n${said}`;
}

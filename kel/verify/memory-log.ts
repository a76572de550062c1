/** The accepted events of one AID, as far as verifying further events and records needs them. */
import type { KeyEvent } from '#kel/event/key-event';
import { type SealedEvent, sealedDigest, sealedEvent } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { DelegationApproval, DelegatorView } from '#kel/state/evaluation-context';
import type { EventReference, KeyState } from '#kel/state/key-state';

interface HeldSeal<Source> {
  readonly source: Source;
  readonly seal: SealedEvent;
}

export class MemoryLog implements DelegatorView {
  #state: KeyState;
  readonly #saids: Said[] = [];
  /** States right after the establishment events of the log as it stands, by ascending sequence number. */
  readonly #establishments: KeyState[] = [];
  /** The same by SAID, superseded ones included. */
  readonly #establishmentsBySaid = new Map<Said, KeyState>();
  readonly #digestSeals = new Map<string, EventReference>();
  readonly #eventSeals = new Map<string, HeldSeal<DelegationApproval>>();

  /** @param state after the inception */
  constructor(state: KeyState, event: KeyEvent) {
    this.#state = state;
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
    return this.#saids[sn];
  }

  stateAt(sn: number): KeyState | undefined {
    const said = this.#saids[sn];
    const established = this.#establishments.findLast((state) => state.sn <= sn);
    if (said === undefined || established === undefined) return undefined;
    return established.sn === sn ? established : { ...established, sn, said, eventType: 'ixn' };
  }

  establishment(sn: number, said: Said): KeyState | undefined {
    const state = this.#establishmentsBySaid.get(said);
    return state?.sn === sn ? state : undefined;
  }

  /** The event that seals `said` by `{d}`. */
  sealOf(said: Said): EventReference | undefined {
    return this.#digestSeals.get(said);
  }

  approvalOf({ aid, sn, said }: SealedEvent): DelegationApproval | undefined {
    const held = this.#eventSeals.get(said);
    return held?.seal.aid === aid && held.seal.sn === sn ? held.source : undefined;
  }

  #append(state: KeyState, event: KeyEvent): void {
    const source = { sn: event.sn, said: event.said };
    this.#saids.push(event.said);
    if (event.type !== 'ixn') {
      this.#establishments.push(state);
      this.#establishmentsBySaid.set(event.said, state);
    }
    event.anchors.forEach((anchor, sealIndex) => {
      const digest = sealedDigest(anchor);
      if (digest !== undefined && !this.#digestSeals.has(digest))
        this.#digestSeals.set(digest, source);
      const seal = sealedEvent(anchor);
      if (seal !== undefined && !this.#eventSeals.has(seal.said)) {
        const approval = { ...source, isRotation: event.type !== 'ixn', sealIndex };
        this.#eventSeals.set(seal.said, { seal, source: approval });
      }
    });
  }

  #truncate(from: number): void {
    this.#saids.length = from;
    while ((this.#establishments.at(-1)?.sn ?? -1) >= from) this.#establishments.pop();
    for (const [said, source] of this.#digestSeals)
      if (source.sn >= from) this.#digestSeals.delete(said);
    for (const [said, { source }] of this.#eventSeals)
      if (source.sn >= from) this.#eventSeals.delete(said);
  }
}

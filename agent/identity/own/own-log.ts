/**
 * The own log as its owner writes it: one event at a time, until it is final.
 *
 * An event that others must confirm (witnesses, a delegator) enters the own log when it is final, so nothing that
 * it seals shows before (DESIGN invariant 5).
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import type { MessageOutcome } from '#kel/store/kel-store';
import { SerialQueue } from '#src/serial-queue';
import { IdentityError } from './errors.ts';
import { hasForeignEvents, lastOwnEvent, rememberMade } from './foreign-events.ts';
import { type OwnKeysDeps, refreshLog, settled } from './key-succession.ts';
import {
  type KeySet,
  type LocalKeys,
  PENDING,
  type PendingEvent,
  readPending,
} from './local-keys.ts';
import { type EventToConfirm, makePending, offerPending, submit } from './own-event.ts';
import {
  clearDoubt,
  confirmHead,
  doubt,
  keepHead,
  lastMade,
  noteBegun,
  noteFinal,
  stepBack,
} from './own-head.ts';
import { takeRecalled } from './recalled-event.ts';

/** Who confirms own events; a running agent has it. */
export interface Confirmation {
  /** Rejects unless `threshold` of `witnesses` can be asked now. */
  expectReachable(witnesses: readonly Aid[], threshold: number): Promise<void>;
  /** Own events that these witnesses have receipted and that are not final as far as they know: signed messages, unverified. */
  recall(witnesses: readonly Aid[]): Promise<readonly Uint8Array[]>;
  /** @param take is given each receipt message; true: there are enough. Late ones are given too. */
  collect(
    event: { readonly sn: number; readonly said: Said; readonly message: Uint8Array },
    witnesses: readonly Aid[],
    take: (receipt: Uint8Array) => Promise<boolean>,
  ): Promise<void>;
}

export class OwnLog {
  readonly #deps: OwnKeysDeps;
  /** One own event at a time, until it is final. */
  readonly #events = new SerialQueue();
  /** Short: keys and log move together. */
  readonly #queue = new SerialQueue();
  #local: LocalKeys;
  #confirmation: Confirmation | undefined;
  #expectNewest: () => Promise<boolean> = async () => false;
  /** Why this state directory may be older than the own log. */
  #stepBack: string | undefined;
  /** An interaction that a witness has receipted and that was not made here. */
  #elsewhere: EventReference | undefined;

  constructor(deps: OwnKeysDeps, local: LocalKeys) {
    this.#deps = deps;
    this.#local = local;
  }

  /** The keys as they are now. */
  get keys(): LocalKeys {
    return this.#local;
  }

  get state(): KeyState {
    const { aid } = this.#local;
    const state = this.#deps.kel.state(aid);
    if (state === undefined)
      throw new IdentityError('IDENTITY_MISSING', `the log of ${aid} is not in the store`);
    return state;
  }

  get pending(): PendingEvent | undefined {
    return readPending(this.#deps.table);
  }

  /** The log holds events that were not made here: nothing but a rotation follows them. */
  get hasForeignEvents(): boolean {
    return hasForeignEvents(this.#deps.table, this.state);
  }

  /** From now on receipts are asked for here. */
  confirmWith(confirmation: Confirmation): void {
    this.#confirmation = confirmation;
  }

  /** @param expectNewest rejects while others may hold a later own event than this store does; true: a member was asked */
  compareWith(expectNewest: () => Promise<boolean>): void {
    this.#expectNewest = expectNewest;
  }

  /** Runs `task`, which may submit an event, after every earlier one. */
  write<T>(task: () => Promise<T>): Promise<T> {
    return this.#events.run(task);
  }

  /** Why own events wait for the word of a member or the operator, as far as was looked; undefined: nothing is known against them. */
  get stepBack(): string | undefined {
    return this.#stepBack;
  }

  /** Compares the event store with what is noted apart from it. @returns {@link stepBack} */
  async compareStores(): Promise<string | undefined> {
    await keepHead(this.#deps, this.state);
    await noteFinal(this.#deps);
    await this.#takeBack();
    this.#stepBack = await stepBack(this.#deps, this.state);
    return this.#stepBack;
  }

  /** Interactions that an older event store did not know and a member has brought are own ones, up to the last that was made here. */
  async #takeBack(): Promise<void> {
    const { establishment } = this.state;
    // After a rotation the keys are others than are remembered: adopting it is for a person to say.
    if (this.#local.roots.at(-1)?.establishment !== establishment.said) return;
    const made = await lastMade(this.#deps);
    if (made?.said === this.state.said && this.hasForeignEvents)
      await rememberMade(this.#deps.table, made, made.after);
  }

  /** Own events wait from now on. @param why in words */
  async doubt(why: string): Promise<void> {
    await doubt(this.#deps, why);
    await this.compareStores();
  }

  /** The operator's word that this state directory is the newest. @returns what was against it */
  confirmNewest(): Promise<string | undefined> {
    return this.write(async () => {
      const against = await this.compareStores();
      await confirmHead(this.#deps, this.state);
      await this.compareStores();
      return against;
    });
  }

  /**
   * As {@link write}, for a new event. Throws IDENTITY_AWAITS_PEERS, IDENTITY_AWAITS_RECOVERY as `compareWith` says, and
   * IDENTITY_AWAITS_CONFIRMATION while this state directory may be older than the own log.
   */
  make<T>(task: () => Promise<T>): Promise<T> {
    return this.write(async () => {
      if (await this.#expectNewest()) await clearDoubt(this.#deps);
      await this.#expectInStep();
      await this.#recall();
      return task();
    });
  }

  /** Signs with the keys of the log as it is, and no event comes in between. */
  withKeys<T>(use: (keys: LocalKeys) => Promise<T>): Promise<T> {
    return this.#queue.run(async () => {
      await this.#settlePending();
      this.#expectOwnKeys();
      return use(this.#local);
    });
  }

  async #expectInStep(): Promise<void> {
    const why = await this.compareStores();
    if (why !== undefined) throw new IdentityError('IDENTITY_AWAITS_CONFIRMATION', why);
  }

  /** A rotation that was not made here has other keys: what these sign counts nowhere. */
  #expectOwnKeys(): void {
    const { said, sn } = this.state.establishment;
    if (this.#local.roots.at(-1)?.establishment === said) return;
    throw new IdentityError(
      'IDENTITY_LOG_DIVERGED',
      `the own log holds the rotation ${sn} ${said}, which was not made here`,
    );
  }

  /** In {@link write}. Replaces the keys by what `change` makes of them, which is on disk by then. */
  takeKeys(change: (keys: LocalKeys) => Promise<LocalKeys>): Promise<LocalKeys> {
    return this.#queue.run(async () => {
      this.#local = await change(this.#local);
      return this.#local;
    });
  }

  /** In {@link write}. Finishes what waits, so that the next event can follow it. @returns the interaction that a rotation may replace */
  async clear({
    maySupersede,
  }: {
    readonly maySupersede: boolean;
  }): Promise<PendingEvent | undefined> {
    await this.#queue.run(() => this.#repair());
    const { pending } = this;
    if (pending === undefined) return undefined;
    try {
      await this.#finish(pending);
      return undefined;
    } catch (error) {
      if (maySupersede && isAwaiting(error) && pending.type === 'ixn') return pending;
      throw error;
    }
  }

  /** Rejects with IDENTITY_AWAITS_WITNESSES unless `threshold` of `witnesses` can be asked now. */
  async expectReachable(witnesses: readonly Aid[], threshold: number): Promise<void> {
    if (threshold === 0) return;
    if (this.#confirmation === undefined)
      throw new IdentityError(
        'IDENTITY_AWAITS_WITNESSES',
        `${threshold} of ${witnesses.length} witnesses must receipt the event, and no agent runs that could ask them`,
        { hint: 'Start the agent with `kelmesh up` and give the command again' },
      );
    try {
      await this.#confirmation.expectReachable(witnesses, threshold);
    } catch (cause) {
      throw new IdentityError('IDENTITY_AWAITS_WITNESSES', (cause as Error).message, { cause });
    }
  }

  /** In {@link write}. @returns the end of the log, which was made here. Throws IDENTITY_AWAITS_RECOVERY */
  expectOwn(): KeyState {
    const { state } = this;
    if (this.#elsewhere?.sn === state.sn + 1)
      throw new IdentityError(
        'IDENTITY_AWAITS_RECOVERY',
        `a witness has receipted event ${this.#elsewhere.sn} ${this.#elsewhere.said} of the own log, which was not made here`,
      );
    if (!hasForeignEvents(this.#deps.table, state)) return state;
    throw new IdentityError(
      'IDENTITY_AWAITS_RECOVERY',
      `event ${state.sn} ${state.said} at the end of the own log was not made here`,
    );
  }

  /** In {@link write}. The event that a rotation follows: interactions that were not made here give way to it. Throws IDENTITY_LOG_DIVERGED. */
  async lastOwn(): Promise<EventReference> {
    const { state } = this;
    const last = await lastOwnEvent(this.#deps, state);
    if (last !== undefined && last.sn >= state.establishment.sn) return last;
    const { sn, said } = state.establishment;
    throw new IdentityError(
      'IDENTITY_LOG_DIVERGED',
      `the own log holds the rotation ${sn} ${said}, which was not made here`,
    );
  }

  /** In {@link write}. Signs the event with `keys` and brings it into the log. Throws IDENTITY_AWAITS_…: it waits on. */
  async submit(keys: KeySet, event: EventToConfirm, after: EventReference): Promise<void> {
    await rememberMade(this.#deps.table, event, after);
    await noteBegun(this.#deps, event.aid, event, after);
    if (event.threshold === 0 && event.witnesses.length === 0 && event.type !== 'drt') {
      await this.#queue.run(async () => {
        await submit(this.#deps, keys, event);
        if (event.type !== 'ixn') this.#local = await settled(this.#deps, this.#local);
        await this.#deps.table.put({ [PENDING]: undefined });
        // Not noted now it is at the next event: that it began is on disk.
        await noteFinal(this.#deps).catch(() => undefined);
      });
      return;
    }
    await this.#finish(await makePending(this.#deps, keys, event));
  }

  /** Adds a receipt of an own event that came late. @returns true when it was new and right */
  async takeReceipt(receipt: Uint8Array): Promise<boolean> {
    return this.#queue.run(async () => {
      const [outcome] = await this.#deps.kel.process(receipt, {
        accepts: (aid) => aid === this.#local.aid,
      });
      await this.#settlePending();
      return outcome?.verdict === 'accepted';
    });
  }

  /** What an earlier write that failed has left: the log says what happened, and nothing is built on a guess. */
  async #repair(): Promise<void> {
    await refreshLog(this.#deps);
    this.#local = await settled(this.#deps, this.#local);
  }

  /** Brings the event to its witnesses until it is final. Throws IDENTITY_AWAITS_…: it waits on. */
  async #finish(pending: PendingEvent): Promise<void> {
    const message = Buffer.from(pending.message, 'base64');
    let outcome = await this.#queue.run(() => this.#settlePending());
    if (outcome?.code === 'KEL_AWAITS_WITNESSES' && this.#confirmation !== undefined) {
      const { sn, said, witnesses } = pending;
      await this.#confirmation.collect({ sn, said, message }, witnesses, async (receipt) => {
        await this.takeReceipt(receipt);
        return this.pending?.said !== said;
      });
      outcome = await this.#queue.run(() => this.#settlePending());
    }
    if (outcome === undefined) return;
    throw new IdentityError(
      outcome.code === 'KEL_AWAITS_DELEGATOR'
        ? 'IDENTITY_AWAITS_DELEGATOR'
        : 'IDENTITY_AWAITS_WITNESSES',
      `own event ${pending.sn} ${pending.said} is signed and waits: ${outcome.reason}`,
    );
  }

  /** What witnesses hold and this directory has lost: a rotation is finished first, whatever is to be made. */
  async #recall(): Promise<void> {
    await this.#queue.run(() => this.#repair());
    const { witnesses, witnessThreshold } = this.state;
    if (this.#confirmation === undefined || witnesses.length === 0) return;
    if (this.pending !== undefined) return;
    // Those that are away are not waited for: whoever makes the event says whether it can do without them.
    await this.#confirmation.expectReachable(witnesses, witnessThreshold).catch(() => undefined);
    for (const message of await this.#confirmation.recall(witnesses)) {
      const found = await this.#queue.run(() => takeRecalled(this.#deps, this.#local, message));
      if (found.kind === 'rotation') return this.#finish(found.pending);
      if (found.kind === 'interaction') this.#elsewhere = found.event;
    }
  }

  /** In the queue. The event that waits may have become final by what came from elsewhere. @returns what it waits for */
  async #settlePending(): Promise<MessageOutcome | undefined> {
    if (this.pending === undefined) return undefined;
    const outcome = await offerPending(this.#deps);
    if (outcome === undefined) {
      this.#local = await settled(this.#deps, this.#local);
      await noteFinal(this.#deps).catch(() => undefined);
    }
    return outcome;
  }
}

export function isAwaiting(error: unknown): boolean {
  return error instanceof IdentityError && error.code.startsWith('IDENTITY_AWAITS_');
}

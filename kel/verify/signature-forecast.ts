/**
 * Which signatures the events of a stream will be judged by, before they are judged: the keys and witnesses that
 * an establishment event names serve the events behind it. A wrong forecast costs time and changes no verdict.
 */
import type { KeyEvent, KeyEventMessage } from '#kel/event/key-event';
import type { Aid, VerificationKey } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { algorithmOfKey } from '#kel/state/key-signatures';
import { witnessesAfter } from '#kel/state/witness-list';
import type { SignatureCheck } from './signature-batch.ts';

type Forecast = Pick<KeyState, 'keys' | 'witnesses'>;

/** More signatures of one event are looked at when it is judged, if at all. */
const MAX_CHECKS_PER_EVENT = 64;

export class SignatureForecast {
  readonly #current: (aid: Aid) => Forecast | undefined;
  readonly #ahead = new Map<Aid, Forecast>();

  /** @param current the state that is accepted so far */
  constructor(current: (aid: Aid) => Forecast | undefined) {
    this.#current = current;
  }

  /** Adds the checks of the event that comes next in the stream. */
  add({ event, bytes, attachments }: KeyEventMessage, checks: SignatureCheck[]): void {
    const forecast = this.#after(event);
    if (forecast === undefined) return;
    const end = checks.length + MAX_CHECKS_PER_EVENT;
    const add = (key: VerificationKey | undefined, signature: Uint8Array) => {
      if (key !== undefined && checks.length < end) checks.push({ key, signature, message: bytes });
    };
    for (const { index, algorithm, raw } of attachments.signatures) {
      const key = forecast.keys[index];
      if (key !== undefined && algorithmOfKey(key) === algorithm) add(key, raw);
    }
    const witnesses = forecast.witnesses as readonly string[] as readonly VerificationKey[];
    for (const { index, raw } of attachments.witnessSignatures) add(witnesses[index], raw);
    for (const { prefix, signature } of attachments.receiptCouples)
      add(witnesses[witnesses.indexOf(prefix as VerificationKey)], signature.raw);
  }

  /** The events so far are judged: what is accepted is what counts. */
  clear(): void {
    this.#ahead.clear();
  }

  #after(event: KeyEvent): Forecast | undefined {
    const before = this.#ahead.get(event.aid) ?? this.#current(event.aid);
    if (event.type === 'ixn') return before;
    const witnesses =
      'witnesses' in event ? event.witnesses : witnessesAfter(before?.witnesses ?? [], event);
    const after = { keys: event.keys, witnesses };
    this.#ahead.set(event.aid, after);
    return after;
  }
}

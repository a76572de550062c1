/** What a verifier keeps of a log: the same answers as plain lists give, in memory that does not weigh on the heap. */
import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, it } from 'mocha';
import type { BodyValue } from '#kel/cesr/body-value';
import { blake3Digest } from '#kel/cesr/digest';
import type { KeyEvent } from '#kel/event/key-event';
import { digestSeal, eventSeal } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { MemoryLog, type MemoryLogOptions } from '#kel/verify/memory-log';
import { utf8 } from '#src/bytes';
import { SeededRng } from '../../../support/doubles/seeded-rng.ts';
import { testKey, witnessKey } from '../../../support/kit/key-log.ts';

const AID = `E${'A'.repeat(43)}` as Aid;
const said = (text: string) => blake3Digest(utf8(text)) as Said;
const key = testKey('memory').key;
const witnesses = [witnessKey('m0').aid, witnessKey('m1').aid];

/** As far as the log reads it. */
function eventOf(sn: number, name: string, type: KeyEvent['type'], anchors: BodyValue[]): KeyEvent {
  return { aid: AID, sn, said: said(name), type, anchors } as unknown as KeyEvent;
}

function stateOf(before: KeyState | undefined, event: KeyEvent, list: readonly Aid[]): KeyState {
  const reference = { sn: event.sn, said: event.said };
  const state = { ...reference, aid: AID, eventType: event.type, kind: 'CBOR' as const };
  if (event.type === 'ixn') return { ...(before as KeyState), ...state };
  return {
    ...state,
    establishment: reference,
    keys: [key],
    signingThreshold: ['1/2', '1/2'],
    nextDigests: [event.said],
    nextThreshold: event.sn.toString(16),
    witnesses: list,
    witnessThreshold: list.length,
    delegator: undefined,
    configTraits: ['DND'],
  };
}

/** Makes a log step by step, with its states in plain lists beside it. */
class Twin {
  readonly log: MemoryLog;
  states: KeyState[] = [];
  readonly superseded: KeyState[] = [];
  #witnesses: readonly Aid[] = witnesses;
  #made = 0;

  constructor(options?: MemoryLogOptions) {
    const icp = eventOf(0, 'icp', 'icp', []);
    this.states.push(stateOf(undefined, icp, this.#witnesses));
    this.log = new MemoryLog(this.states[0] as KeyState, icp, options);
  }

  step(type: 'ixn' | 'rot', from = this.states.length, anchors: BodyValue[] = []): KeyState {
    const gone = this.states.splice(from);
    this.superseded.push(...gone.filter(({ eventType }) => eventType !== 'ixn'));
    if (type === 'rot' && this.#made % 3 === 0) this.#witnesses = witnesses.slice(this.#made % 2);
    const event = eventOf(from, `event ${this.#made++}`, type, anchors);
    const state = stateOf(this.states.at(-1), event, this.#witnesses);
    this.states.push(state);
    this.log.accept(state, event, gone.length > 0 ? from : undefined);
    return state;
  }

  check(): void {
    const { log, states } = this;
    assert.deepEqual(log.state, states.at(-1));
    for (const [sn, state] of states.entries()) {
      assert.equal(log.saidAt(sn), state.said);
      assert.deepEqual(log.stateAt(sn), state);
      const established = state.eventType === 'ixn' ? undefined : state;
      assert.deepEqual(log.establishment(sn, state.said), established);
    }
    for (const state of this.superseded)
      assert.deepEqual(log.establishment(state.sn, state.said), state);
    assert.equal(log.saidAt(states.length), undefined);
    assert.equal(log.stateAt(states.length), undefined);
    assert.equal(log.saidAt(-1), undefined);
  }
}

describe('memory log', () => {
  it('answers as plain lists do, through growth and recovery', () => {
    const rng = new SeededRng('memory log');
    const twin = new Twin();
    for (let i = 0; i < 400; i++) {
      const length = twin.states.length;
      const from = rng.next() < 0.1 ? Math.max(1, length - Math.floor(rng.next() * 20)) : length;
      twin.step(rng.next() < 0.3 ? 'rot' : 'ixn', from);
      if (i % 20 === 0) twin.check();
    }
    twin.check();
    assert.ok(twin.superseded.length > 0);
  });

  it('keeps one chunk and the next apart', () => {
    const twin = new Twin();
    for (let i = 0; i < 4200; i++) twin.step(i % 50 === 0 ? 'rot' : 'ixn');
    for (const sn of [0, 15, 16, 4095, 4096, 4200])
      assert.deepEqual(twin.log.stateAt(sn), twin.states[sn]);
    twin.step('ixn', 4090);
    assert.equal(twin.log.saidAt(4091), undefined);
    twin.step('rot');
    assert.deepEqual(twin.log.stateAt(4091), twin.states[4091]);
  });

  it('finds seals, the first of each, and forgets those of superseded events', () => {
    const twin = new Twin();
    const sealed = (i: number) => said(`sealed ${i}`);
    const event = (i: number) => ({ aid: AID, sn: i, said: sealed(i) });
    for (let i = 0; i < 300; i++)
      twin.step('ixn', undefined, [
        digestSeal(sealed(i)),
        eventSeal(event(i)),
        digestSeal(sealed(i >> 1)),
      ]);
    const seal = (i: number) => ({ aid: AID, sn: i.toString(16), said: sealed(i) });
    const at = (i: number) => twin.states[i] as KeyState;
    for (const i of [0, 1, 17, 299]) {
      assert.deepEqual(twin.log.sealOf(sealed(i)), { sn: i + 1, said: at(i + 1).said });
      const approval = { sn: i + 1, said: at(i + 1).said, isRotation: false, sealIndex: 1 };
      assert.deepEqual(twin.log.approvalOf(seal(i)), approval);
    }
    assert.equal(twin.log.approvalOf({ ...seal(5), sn: '6' }), undefined);
    twin.step('rot', 100, [eventSeal(event(250))]);
    assert.equal(twin.log.sealOf(sealed(150)), undefined);
    assert.equal(twin.log.sealOf(sealed(98))?.sn, 99);
    assert.equal(twin.log.approvalOf(seal(250))?.isRotation, true);
  });

  it('finds no digest seals when they are not indexed', () => {
    const twin = new Twin({ indexDigestSeals: false });
    twin.step('ixn', undefined, [digestSeal(said('x'))]);
    assert.equal(twin.log.sealOf(said('x')), undefined);
  });

  it('puts next to nothing of a long log on the heap', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const grow = (log: MemoryLog, state: KeyState, from: number, to: number) => {
      let last = state;
      for (let sn = from; sn < to; sn++) {
        const event = eventOf(sn, `${sn}`, sn % 10 === 0 ? 'rot' : 'ixn', [
          digestSeal(said(`s${sn}`)),
        ]);
        last = stateOf(last, event, witnesses);
        log.accept(last, event, undefined);
      }
      collect();
      return last;
    };
    const icp = eventOf(0, 'icp', 'icp', []);
    const first = stateOf(undefined, icp, witnesses);
    const log = new MemoryLog(first, icp);
    const before = grow(log, first, 1, 10_000);
    const heap = process.memoryUsage().heapUsed;
    grow(log, before, 10_000, 50_000);
    const perEvent = (process.memoryUsage().heapUsed - heap) / 40_000;
    assert.ok(perEvent < 16, `${perEvent.toFixed(1)} bytes of heap per event`);
    assert.equal(log.saidAt(49_999), said('49999'));
  });
});

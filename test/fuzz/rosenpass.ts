/**
 * Two machines of Rosenpass and a wire, ruled by bytes: each four are one action. The static KEM is a toy with the lengths of the real one, so
 * that a handshake takes microseconds; all else is what runs.
 */
import assert from 'node:assert/strict';
import { concatBytes, equalBytes } from '#src/bytes';
import type { Rng } from '#src/rng';
import { hashDomains } from '#src/rosenpass/hash-domains';
import type { StaticKem } from '#src/rosenpass/kem';
import { shake256 } from '#src/rosenpass/keyed-hash';
import { kyber512 } from '#src/rosenpass/kyber512';
import { RosenpassMachine } from '#src/rosenpass/machine';
import { authenticatedPart, MAC_LENGTH } from '#src/rosenpass/messages';
import type { RosenpassEffect } from '#src/rosenpass/peer-exchange';
import { hashPublicKey, macFor } from '#src/rosenpass/public-key-hashes';
import { SeededRng } from '../support/doubles/seeded-rng.ts';
import { addressOf } from '../support/kit/rosenpass-pair.ts';

const ACTION_LENGTH = 4;
const MAX_ACTIONS = 64;
/** Datagrams of the past that an action can take. */
const MAX_PAST = 32;
const TAIL = 2 * MAC_LENGTH;
const CIPHERTEXT_LENGTH = 188;
const INIT_CONF = 0x83;
/** Milliseconds of one unit of an action's time: 255 units pass every time-out. */
const TICK_MS = 1_000;

type Name = 'a' | 'b';

class End {
  readonly machine: RosenpassMachine;
  readonly keys = new Set<string>();

  constructor(name: Name, version: 'V02' | 'V03', endpoint: boolean) {
    const other = otherOf(name);
    const address = endpoint ? { address: addressOf(other) } : {};
    const rng = new SeededRng(`fuzz/${name}`);
    this.machine = new RosenpassMachine({
      kems: { staticKem: toyKem(publicKeyOf(name), rng), ephemeralKem: kyber512 },
      ownPublicKey: publicKeyOf(name),
      peers: [{ version, publicKey: () => publicKeyOf(other), ...address }],
      rng,
    });
  }
}

/** @param input bytes that nobody has to have written with sense */
export function runRosenpass(input: Uint8Array): void {
  const version = ((input[0] ?? 0) & 1) === 0 ? 'V02' : 'V03';
  const begins = ((input[0] ?? 0) >> 1) & 3;
  const ends = {
    a: new End('a', version, begins !== 1),
    b: new End('b', version, begins === 1 || begins === 3),
  };
  const past: { readonly to: Name; readonly datagram: Uint8Array }[] = [];
  let now = 0;

  const carryOut = (name: Name, effects: readonly RosenpassEffect[], type?: number) => {
    for (const effect of effects) {
      if (effect.kind === 'trouble') throw effect.error;
      if (effect.kind === 'send') {
        past.unshift({ to: otherOf(name), datagram: effect.datagram });
        past.splice(MAX_PAST);
        continue;
      }
      const key = effect.key.expose().toHex();
      assert.ok(!ends[name].keys.has(key), 'a key is put out once');
      ends[name].keys.add(key);
      // Who answers holds a key only when the one who began holds it already.
      if (type === INIT_CONF) assert.ok(ends[otherOf(name)].keys.has(key), 'of the other end');
    }
  };
  const settle = () => {
    for (const name of ['a', 'b'] as const) {
      const { machine } = ends[name];
      for (let polls = 0; machine.wakeAt() <= now; polls++) {
        assert.ok(polls < 8, 'polls come to an end');
        carryOut(name, machine.poll(now));
      }
    }
  };
  const deliver = (name: Name, datagram: Uint8Array) => {
    const kept = datagram.slice();
    const from = addressOf(otherOf(name));
    carryOut(name, ends[name].machine.handle(datagram, from, now), datagram[0]);
    assert.ok(equalBytes(kept, datagram), 'what is given is not changed');
  };

  settle();
  for (
    let i = 1;
    i + ACTION_LENGTH <= input.length && i < ACTION_LENGTH * MAX_ACTIONS;
    i += ACTION_LENGTH
  ) {
    const [what = 0, which = 0, where = 0, value = 0] = input.subarray(i, i + ACTION_LENGTH);
    if ((what & 7) === 0) now += which * TICK_MS + where;
    settle();
    const one = past[which % MAX_PAST];
    if ((what & 7) === 0 || one === undefined) continue;
    const { to, datagram } = one;
    if ((what & 7) <= 3) {
      deliver(to, datagram);
      continue;
    }
    const changed = change(what, datagram, past[value % MAX_PAST]?.datagram, where, value);
    const target = (what & 8) === 0 ? to : otherOf(to);
    const forged = (what & 16) === 0 ? changed : withMac(changed, version, target);
    if (past.some((other) => isSame(other.datagram, forged))) continue;
    const { machine } = ends[target];
    const wakeAt = machine.wakeAt();
    assert.deepEqual(machine.handle(forged, addressOf(`stranger ${value}`), now), []);
    assert.equal(machine.wakeAt(), wakeAt, 'no time is moved by what is forged');
  }
  expectKey(
    ends,
    past,
    () => now,
    (ms) => {
      now += ms;
      settle();
    },
    deliver,
  );
}

/** Whatever has happened: on a wire that passes everything the two ends come to one key. */
function expectKey(
  ends: Readonly<Record<Name, End>>,
  past: { readonly to: Name; readonly datagram: Uint8Array }[],
  now: () => number,
  pass: (ms: number) => void,
  deliver: (to: Name, datagram: Uint8Array) => void,
): void {
  const end = now() + 90_000;
  past.splice(0);
  while (now() < end) {
    pass(500);
    for (const { to, datagram } of past.splice(0).reverse()) deliver(to, datagram);
  }
  const last = [ends.a, ends.b].map(({ keys }) => [...keys].at(-1));
  assert.ok(last[0] !== undefined, 'a key');
  assert.equal(last[0], last[1]);
}

function change(
  what: number,
  datagram: Uint8Array,
  other: Uint8Array | undefined,
  where: number,
  value: number,
): Uint8Array {
  const at = (where * 257 + value) % datagram.length;
  const changed = datagram.slice();
  switch ((what >> 5) & 3) {
    case 0:
      changed[at] = (changed[at] ?? 0) ^ (1 << (value & 7));
      return changed;
    case 1:
      // The front of one and the rest of another.
      return other === undefined
        ? changed.subarray(0, at)
        : concatBytes(datagram.subarray(0, at), other.subarray(at));
    case 2:
      return changed.subarray(0, at);
    default:
      changed[0] = 0x80 | (value & 7);
      return changed;
  }
}

/** What whoever knows the public key of the receiver can do. */
function withMac(datagram: Uint8Array, version: 'V02' | 'V03', to: Name): Uint8Array {
  if (datagram.length < TAIL + 1) return datagram;
  const out = datagram.slice();
  const covered = authenticatedPart(out);
  out.set(macFor(hashPublicKey(hashDomains[version], publicKeyOf(to)), covered), covered.length);
  return out;
}

/** But for reserved bytes, MAC and cookie, where anybody may put what it likes. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  const end = a.length - TAIL;
  return (
    a.length === b.length && a[0] === b[0] && equalBytes(a.subarray(4, end), b.subarray(4, end))
  );
}

function otherOf(name: Name): Name {
  return name === 'a' ? 'b' : 'a';
}

function publicKeyOf(name: Name): Uint8Array {
  return new Uint8Array(32).fill(name.charCodeAt(0));
}

function toyKem(own: Uint8Array, rng: Rng): StaticKem {
  return {
    ciphertextLength: CIPHERTEXT_LENGTH,
    encapsulate(publicKey) {
      const ciphertext = rng.bytes(CIPHERTEXT_LENGTH);
      return { ciphertext, sharedSecret: shake256(publicKey, ciphertext) };
    },
    decapsulate: (ciphertext) => shake256(own, ciphertext),
    [Symbol.dispose]: () => undefined,
  };
}

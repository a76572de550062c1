/** A handshake that the Rust program recorded, with everything that is random in it: `fixtures/rosenpass/v03`. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Rng } from '#src/rng';
import { openLong } from '#src/rosenpass/aead';
import { ChainingKey } from '#src/rosenpass/chaining-key';
import { withCookie } from '#src/rosenpass/cookie';
import { hashDomains } from '#src/rosenpass/hash-domains';
import type { EphemeralKem, StaticKem } from '#src/rosenpass/kem';
import { RosenpassMachine } from '#src/rosenpass/machine';
import { COOKIE_LENGTH } from '#src/rosenpass/messages';
import type { RosenpassEffect } from '#src/rosenpass/peer-exchange';
import { biscuitBinding, hashPublicKey } from '#src/rosenpass/public-key-hashes';
import { Secret } from '#src/secret';
import {
  readRosenpassVector,
  recordedKyber,
  round4Kem,
  ScriptedRng,
} from '../support/kit/rosenpass-vector.ts';

const vector = readRosenpassVector();
const at = (index: number) => vector[index] ?? assert.fail(`no entry ${index}`);
/** Ends of the recording: A begins. */
const [a, b] = [
  { secretKey: at(0), publicKey: at(1) },
  { secretKey: at(2), publicKey: at(3) },
];
const psk = at(4);
const [sidi, ephemeralSecret, ephemeralKey] = [at(14), at(15), at(16)];
const [initHello, respHello, initConf, emptyData] = [at(26), at(46), at(47), at(48)];
const toResponder = { sharedSecret: at(18), ciphertext: at(19) };
const sidr = at(32);
const ephemeral = { sharedSecret: at(34), ciphertext: at(35) };
const toInitiator = { sharedSecret: at(37), ciphertext: at(38) };
const [biscuitText, biscuitKey, biscuitNonce, biscuit] = [at(40), at(41), at(42), at(43)];
const outputKey = at(49);

const domains = hashDomains.V03;
const hex = (bytes: Uint8Array | undefined) => bytes?.toHex() ?? 'nothing';
const equal = (got: Uint8Array | undefined, index: number) =>
  assert.equal(hex(got), hex(at(index)));
/** The field behind the MAC is whatever the program's buffer held. */
const withoutCookie = (datagram: Uint8Array) => hex(datagram.subarray(0, -COOKIE_LENGTH));

const kyber: EphemeralKem = recordedKyber(ephemeralSecret, ephemeralKey, ephemeral);

function machine(
  staticKem: StaticKem,
  own: { readonly publicKey: Uint8Array },
  peer: { readonly publicKey: Uint8Array },
  rng: Rng,
  endpoint?: string,
): RosenpassMachine {
  const address = endpoint === undefined ? {} : { address: { endpoint, source: endpoint } };
  return new RosenpassMachine({
    kems: { staticKem, ephemeralKem: kyber },
    ownPublicKey: own.publicKey,
    peers: [
      {
        version: 'V03',
        publicKey: () => peer.publicKey,
        presharedKey: new Secret(psk),
        ...address,
      },
    ],
    rng,
  });
}

const only = (effects: readonly RosenpassEffect[], kind: 'send') =>
  effects.flatMap((effect) => (effect.kind === kind ? [effect.datagram] : []));
const keys = (effects: readonly RosenpassEffect[]) =>
  effects.flatMap((effect) =>
    effect.kind === 'key' ? [`${effect.reason} ${hex(effect.key.expose())}`] : [],
  );

describe('the recorded handshake of Rosenpass (V03)', () => {
  it('has the chaining keys of the initiator', () => {
    const [own, peer] = [a, b].map(({ publicKey }) => hashPublicKey(domains, publicKey));
    assert.ok(own !== undefined && peer !== undefined);
    using key = new ChainingKey(domains, peer.start);
    key.mix(sidi, ephemeralKey);
    equal(key.expose(), 17);
    key.mix(b.publicKey, toResponder.sharedSecret, toResponder.ciphertext);
    equal(key.expose(), 20);
    equal(key.encryptAndMix(own.peerId), 21);
    equal(key.expose(), 22);
    key.mix(a.publicKey, psk);
    equal(key.expose(), 23);
    equal(key.encryptAndMix(), 24);
    equal(key.expose(), 25);
    key.mix(sidr, sidi);
    equal(key.expose(), 33);
    key.mix(ephemeralKey, ephemeral.sharedSecret, ephemeral.ciphertext);
    equal(key.expose(), 36);
    key.mix(a.publicKey, toInitiator.sharedSecret, toInitiator.ciphertext);
    equal(key.expose(), 39);
    key.mix(biscuit);
    equal(key.expose(), 44);
    key.encryptAndMix();
    equal(key.expose(), 45);
    key.mix(sidi, sidr);
    key.encryptAndMix();
    equal(key.derive(domains.output()), 49);
  });

  it('has the same chaining keys at the responder', () => {
    for (const [initiator, responder] of [
      [17, 27],
      [20, 28],
      [22, 29],
      [23, 30],
      [25, 31],
    ] as const)
      equal(at(initiator), responder);
  });

  it('has the biscuit', () => {
    const binding = biscuitBinding(hashPublicKey(domains, b.publicKey), sidi, sidr);
    assert.equal(hex(openLong(biscuitKey, biscuit, binding)), hex(biscuitText));
  });

  it('is made again byte for byte by the initiator', () => {
    using kem = round4Kem(a.secretKey, a.publicKey, toResponder);
    const unused = [new Uint8Array(32), new Uint8Array(32)];
    using initiator = machine(kem, a, b, new ScriptedRng([...unused, sidi]), 'b');
    const from = { endpoint: 'b', source: 'b' };
    const [hello = assert.fail()] = only(initiator.poll(0), 'send');
    assert.equal(withoutCookie(hello), withoutCookie(initHello));
    // The recording program writes a cookie of a random value where it was never asked for one.
    assert.equal(hex(withCookie(hello, at(13))), hex(initHello));
    const confirmed = initiator.handle(respHello, from, 1);
    assert.deepEqual(only(confirmed, 'send').map(withoutCookie), [withoutCookie(initConf)]);
    assert.deepEqual(keys(confirmed), [`exchanged ${hex(outputKey)}`]);
    assert.ok(Number.isFinite(initiator.wakeAt()) && initiator.wakeAt() < 1_000);
    assert.deepEqual(initiator.handle(emptyData, from, 2), []);
    assert.equal(initiator.refused.size, 0);
    // Nothing is sent again any more: next comes the rekey.
    assert.equal(initiator.wakeAt(), 130_001);
  });

  it('is made again byte for byte by the responder', () => {
    using kem = round4Kem(b.secretKey, b.publicKey, toInitiator);
    const random = [at(11), at(12), biscuitKey, biscuitNonce, sidr];
    using responder = machine(kem, b, a, new ScriptedRng(random));
    const from = { endpoint: 'a', source: 'a' };
    const answered = responder.handle(initHello, from, 0);
    assert.deepEqual(only(answered, 'send').map(withoutCookie), [withoutCookie(respHello)]);
    const accepted = responder.handle(initConf, from, 1);
    assert.deepEqual(keys(accepted), [`exchanged ${hex(outputKey)}`]);
    assert.deepEqual(only(accepted, 'send').map(withoutCookie), [withoutCookie(emptyData)]);
    assert.equal(responder.refused.size, 0);
  });
});

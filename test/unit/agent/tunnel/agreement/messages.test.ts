import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  decodeGreeting,
  decodeRefusal,
  encodeGreeting,
  encodeRefusal,
  isRefusal,
} from '#agent/tunnel/agreement/frames';
import {
  decodeMessage2,
  decodeMessage3,
  encodeMessage3,
  MAX_FRAME_BYTES,
} from '#agent/tunnel/agreement/messages';
import { type PairTerms, pairOf } from '#agent/tunnel/agreement/terms';
import type { Aid } from '#kel/identifiers';
import { concatBytes, lengthPrefixed, utf8 } from '#src/bytes';
import { a, b, mesh, policy } from '../../../../support/kit/agreements.ts';

const bad = { code: 'AGREEMENT_BAD_MESSAGE' };
const signature = (index: number) => ({ index, raw: new Uint8Array(64).fill(index) });
const mac = new Uint8Array(32);
const terms: PairTerms = { ...pairOf(mesh, a.local, b.local), policy };

describe('agreement messages', () => {
  it('carry 1 to 64 signatures with ascending indexes', () => {
    const all = Array.from({ length: 64 }, (_, index) => signature(index));
    const encoded = encodeMessage3({ signatures: all, mac });
    assert.equal(decodeMessage3(encoded).signatures.length, 64);
    for (const signatures of [
      [],
      [...all, signature(64)],
      [signature(64)],
      [signature(1), signature(1)],
      [signature(2), signature(1)],
    ]) {
      assert.throws(() => decodeMessage3(encodeMessage3({ signatures, mac })), bad);
    }
  });

  it('fit in one frame of the stream even with the most signatures', () => {
    const longest = 3182 + 4 + 64 * 65 + 4 + 32;
    assert.ok(longest <= MAX_FRAME_BYTES);
  });

  it('are refused under another version or number, cut off at any byte, and with anything after', () => {
    const encoded = encodeMessage3({ signatures: [signature(0)], mac });
    assert.throws(() => decodeMessage2(encoded), bad);
    assert.throws(() => decodeMessage3(concatBytes(Uint8Array.of(2), encoded.subarray(1))), bad);
    assert.throws(() => decodeMessage3(concatBytes(encoded, Uint8Array.of(0))), bad);
    for (let length = 0; length < encoded.length; length++) {
      assert.throws(() => decodeMessage3(encoded.subarray(0, length)), bad);
    }
  });

  it('are refused when a length prefix announces more than there is', () => {
    const encoded = encodeMessage3({ signatures: [signature(0)], mac });
    for (const length of [0, 64, 66, 130, 0xffff_ffff]) {
      const changed = encoded.slice();
      new DataView(changed.buffer).setUint32(2, length);
      assert.throws(() => decodeMessage3(changed), bad);
    }
  });
});

describe('agreement frames', () => {
  it('a greeting names the terms and nothing else', () => {
    assert.deepEqual(decodeGreeting(encodeGreeting(terms)), terms);
    assert.throws(() => decodeGreeting(concatBytes(encodeGreeting(terms), Uint8Array.of(0))), bad);
  });

  it('a greeting with the roles exchanged is refused', () => {
    const swapped = { ...terms, initiator: terms.responder, responder: terms.initiator };
    assert.throws(() => decodeGreeting(encodeGreeting(swapped)), { code: 'AGREEMENT_WRONG_ROLE' });
    const same = { ...terms, initiator: terms.responder };
    assert.throws(() => decodeGreeting(encodeGreeting(same)), { code: 'AGREEMENT_WRONG_ROLE' });
  });

  it('a greeting with anything but identifiers in their places is refused', () => {
    for (const aid of ['', 'E', `E${'a'.repeat(42)} `, `E${'a'.repeat(42)}é`, 'E'.repeat(49)]) {
      const changed = { ...terms, initiator: { ...terms.initiator, aid: aid as Aid } };
      assert.throws(() => decodeGreeting(encodeGreeting(changed)), bad);
    }
    assert.throws(() => decodeGreeting(encodeGreeting({ ...terms, mesh: 'a/b' })), bad);
  });

  it('a refusal says why, and on stale views what is held', () => {
    const { initiator, responder } = terms;
    const stale = { code: 'AGREEMENT_STALE_VIEW', held: { initiator, responder } } as const;
    assert.deepEqual(decodeRefusal(encodeRefusal(stale)), stale);
    assert.deepEqual(decodeRefusal(encodeRefusal({ code: 'AGREEMENT_POLICY' })), {
      code: 'AGREEMENT_POLICY',
    });
    assert.ok(isRefusal(encodeRefusal(stale)));
    assert.ok(!isRefusal(encodeGreeting(terms)));
  });

  it('a refusal with a code that is not one of the protocol is refused', () => {
    const head = Uint8Array.of(1, 255);
    for (const code of ['AGREEMENT_BAD_MAC', '', 'X'.repeat(65)]) {
      assert.throws(() => decodeRefusal(concatBytes(head, lengthPrefixed(utf8(code)))), bad);
    }
  });
});

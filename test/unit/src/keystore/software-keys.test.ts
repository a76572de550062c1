import assert from 'node:assert/strict';
import { createECDH } from 'node:crypto';
import { describe, it } from 'mocha';
import { compressedPoint, isP256Scalar, lowS } from '#src/keystore/p256-form';
import { generateSoftwareKey } from '#src/keystore/software-keys';
import { Secret } from '#src/secret';

const order = Buffer.from(
  'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551',
  'hex',
);
const half = Buffer.from('7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8', 'hex');
const zero = Buffer.alloc(32);

/** `bytes` plus a small number. */
function plus(bytes: Buffer, difference: number): Buffer {
  const sum = BigInt(`0x${bytes.toString('hex')}`) + BigInt(difference);
  return Buffer.from(sum.toString(16).padStart(64, '0'), 'hex');
}

describe('P-256 forms', () => {
  it('a private scalar lies in [1, n-1]', () => {
    for (const good of [plus(zero, 1), plus(order, -1), half]) assert.ok(isP256Scalar(good));
    for (const bad of [zero, order, plus(order, 1), Buffer.alloc(32, 255), Buffer.alloc(31, 1)]) {
      assert.ok(!isP256Scalar(bad));
    }
  });

  it('s above n/2 becomes n - s, with leading zeros, and r stays', () => {
    const r = Buffer.alloc(32, 9);
    const low = (s: Buffer) => Buffer.from(lowS(new Uint8Array(Buffer.concat([r, s]))));
    assert.deepEqual(low(half), Buffer.concat([r, half]));
    assert.deepEqual(low(plus(half, 1)), Buffer.concat([r, half]));
    assert.deepEqual(low(plus(order, -1)), Buffer.concat([r, plus(zero, 1)]));
  });

  it('compresses a point, and only one on the curve', () => {
    const pair = createECDH('prime256v1');
    pair.generateKeys();
    const compressed = new Uint8Array(pair.getPublicKey(null, 'compressed'));
    assert.deepEqual(compressedPoint(pair.getPublicKey()), compressed);
    assert.deepEqual(compressedPoint(compressed), compressed);
    const off = Buffer.from(pair.getPublicKey());
    off[64] = (off[64] as number) ^ 1;
    assert.equal(compressedPoint(off), undefined);
    assert.equal(compressedPoint(Buffer.alloc(65)), undefined);
  });
});

describe('generateSoftwareKey', () => {
  it('draws again until a P-256 scalar is in range', () => {
    const draws = [Buffer.alloc(16, 3), zero, order, Buffer.alloc(32, 255), half];
    const { id, secret } = generateSoftwareKey('p256', {
      bytes: (length) => {
        const next = new Uint8Array(draws.shift() ?? assert.fail('drew too often'));
        assert.equal(next.length, length);
        return next;
      },
    });
    assert.equal(id, '03'.repeat(16));
    assert.ok(secret.equals(new Secret(half)));
    assert.equal(draws.length, 0);
  });
});

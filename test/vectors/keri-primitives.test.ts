/** Known answers of KERIpy for keys, codes and small values (`fixtures/keri/primitives.json`). */
import assert from 'node:assert/strict';
import { argon2Sync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { decodeBase64Text, encodeBase64Text, encodePath } from '#kel/cesr/base64-text';
import { encodeBody } from '#kel/cesr/body';
import {
  type CounterCode,
  decodeCounter,
  decodeCounterBinary,
  encodeCounter,
  encodeCounterBinary,
} from '#kel/cesr/counter';
import { decodeDateTime, encodeDateTime } from '#kel/cesr/date-time';
import { blake3Digest } from '#kel/cesr/digest';
import { decodeIndexedSignature, encodeIndexedSignature } from '#kel/cesr/indexer';
import {
  decodeMatter,
  decodeMatterBinary,
  encodeMatter,
  encodeMatterBinary,
} from '#kel/cesr/matter';
import { decodeOrdinal, encodeOrdinal } from '#kel/cesr/number';
import { ampleWitnesses } from '#kel/event/defaults';
import { keyDigest } from '#kel/event/key-digest';
import { encodeVerificationKey } from '#kel/event/verification-key';
import { parseAid, parseVerificationKey } from '#kel/identifiers';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { utf8 } from '#src/bytes';
import { loadCryptoSuite } from '#src/crypto/suites';

const vectors = JSON.parse(
  readFileSync(new URL('../../fixtures/keri/primitives.json', import.meta.url), 'utf8'),
);
const { ed25519 } = await loadCryptoSuite();

function saltOf({ saltText, saltHex }: { saltText?: string; saltHex?: string }): Uint8Array {
  return saltText === undefined ? Buffer.from(saltHex ?? '', 'hex') : utf8(saltText);
}

describe('KERI primitives, known answers', () => {
  it('salts', () => {
    for (const { rawText, rawHex, qb64 } of vectors.salts) {
      const raw = rawText === undefined ? Buffer.from(rawHex, 'hex') : utf8(rawText);
      assert.equal(encodeMatter('0A', raw), qb64);
      assert.deepEqual(Buffer.from(decodeMatter(qb64).raw), Buffer.from(raw));
    }
  });

  it('seeds and keys stretched from a salt and a path', () => {
    for (const vector of vectors.stretched) {
      const { passes, memoryKiB: memory } = vectors.tiers[vector.tier];
      const parameters = {
        message: utf8(vector.path),
        nonce: saltOf(vector),
        parallelism: 1,
        tagLength: 32,
        memory,
        passes,
      };
      const seed = new Uint8Array(argon2Sync('argon2id', parameters));
      const key = encodeVerificationKey('ed25519', ed25519.publicKey(seed));
      if (vector.seed !== undefined) assert.equal(encodeMatter('A', seed), vector.seed);
      if (vector.key !== undefined) assert.equal(key, vector.key);
      if (vector.digest !== undefined) assert.equal(keyDigest(key), vector.digest);
    }
  });

  it('keys and next-key digests of seeds', () => {
    for (const vector of vectors.seeds) {
      const publicKey = ed25519.publicKey(Buffer.from(vector.hex, 'hex'));
      const key = encodeVerificationKey('ed25519', publicKey);
      assert.equal(key, vector.key);
      if (vector.digest !== undefined) assert.equal(keyDigest(key), vector.digest);
      if (vector.nonTransferable !== undefined) {
        assert.equal(encodeVerificationKey('ed25519', publicKey, false), vector.nonTransferable);
      }
    }
    for (const witness of vectors.witnesses) assert.equal(parseAid(witness), witness);
  });

  it('numbers and ordinals', () => {
    for (const { value, code, qb64 } of vectors.numbers) {
      const { raw } = decodeMatter(qb64);
      assert.equal(BigInt(`0x${Buffer.from(raw).toString('hex')}`), BigInt(value));
      assert.equal(encodeMatter(code, raw), qb64);
    }
    for (const { value, qb64 } of vectors.ordinals) {
      assert.equal(encodeOrdinal(value), qb64);
      assert.equal(decodeOrdinal(qb64), value);
    }
  });

  it('date-times', () => {
    for (const { text, qb64, qb2 } of vectors.dateTimes) {
      assert.equal(encodeDateTime(text), qb64);
      assert.equal(decodeDateTime(qb64), text);
      const { code, raw } = decodeMatterBinary(Buffer.from(qb2, 'hex'));
      assert.equal(encodeMatter(code, raw), qb64);
    }
  });

  it('counters, text and binary', () => {
    for (const { code, count, qb64, qb2 } of vectors.counters) {
      assert.equal(encodeCounter(code as CounterCode, count), qb64);
      assert.deepEqual(decodeCounter(qb64), { code, count, length: qb64.length });
      const binary = encodeCounterBinary(code, count);
      assert.deepEqual(decodeCounterBinary(binary), decodeCounter(qb64));
      if (qb2 !== undefined) assert.equal(Buffer.from(binary).toString('hex'), qb2);
    }
  });

  it('binary domain', () => {
    for (const { qb64, qb2 } of vectors.binary) {
      const { code, raw } = decodeMatter(qb64);
      assert.equal(Buffer.from(encodeMatterBinary(code, raw)).toString('hex'), qb2);
      assert.deepEqual(decodeMatterBinary(Buffer.from(qb2, 'hex')), { code, raw, soft: '' });
    }
  });

  it('paths and texts', () => {
    for (const { parts, qb64 } of vectors.paths) assert.equal(encodePath(parts), qb64);
    for (const { text, qb64 } of vectors.texts) {
      assert.equal(encodeBase64Text(text), qb64);
      assert.equal(decodeBase64Text(qb64), text);
    }
  });

  it('indexed signatures', () => {
    for (const { prefix, ...input } of vectors.indexedSignaturePrefixes) {
      const text = encodeIndexedSignature({ ...input, raw: new Uint8Array(64) });
      assert.equal(text.slice(0, prefix.length), prefix);
      const decoded = decodeIndexedSignature(text);
      assert.equal(decoded.index, input.index);
      assert.equal(decoded.ondex, input.currentOnly ? undefined : (input.ondex ?? input.index));
    }
  });

  it('a P-256 signature', () => {
    const { key, message, signature } = vectors.p256;
    const verify = createSignatureVerifier(ed25519);
    const { code, raw } = decodeMatter(signature);
    assert.equal(code, '0I');
    assert.equal(verify(parseVerificationKey(key), raw, utf8(message)), true);
    assert.equal(verify(parseVerificationKey(key), raw, utf8(`${message}.`)), false);
  });

  it('primitives of other kinds come back as they were', () => {
    for (const qb64 of vectors.canonical) {
      const { code, raw } = decodeMatter(qb64);
      assert.equal(encodeMatter(code, raw), qb64);
    }
  });

  it('the SAID of a map without version string', () => {
    const { fields, said } = vectors.saidOfMap;
    assert.equal(blake3Digest(utf8(JSON.stringify({ ...fields, d: '#'.repeat(44) }))), said);
    assert.ok(encodeBody('KERI', 'JSON', Object.entries<string>(fields)).length > 0);
  });

  it('default witness thresholds', () => {
    assert.deepEqual(
      vectors.ampleWitnesses.map((_: number, n: number) => ampleWitnesses(n)),
      vectors.ampleWitnesses,
    );
  });
});

/** Threads that verify ahead change the time that a log takes, and nothing else. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { LogVerifier, type LogVerifierOptions } from '#kel/verify/log-verifier';
import type { BatchRunner, SignatureCheck } from '#kel/verify/signature-batch';
import { SignaturePool } from '#kel/verify/signature-pool';
import { randomFederation } from '../../../interop/keripy/random-federation.ts';
import {
  ed25519,
  Organisation,
  sign,
  testKey,
  verifySignature,
} from '../../../support/kit/key-log.ts';

function verify(chunks: readonly Uint8Array[], options: LogVerifierOptions) {
  const verifier = new LogVerifier(verifySignature, options);
  for (const chunk of chunks) verifier.feed(chunk);
  return verifier.finish();
}

/** Notes what it is asked and leaves the work to whoever judges. */
class Recorder implements BatchRunner {
  readonly checks: SignatureCheck[] = [];
  #count = 0;

  start(checks: readonly SignatureCheck[]): void {
    this.checks.push(...checks);
    this.#count = checks.length;
  }

  finish(): readonly (boolean | undefined)[] {
    return Array.from({ length: this.#count }, () => undefined);
  }
}

describe('signature pool', () => {
  let pool: SignaturePool;

  before(() => {
    pool = new SignaturePool(ed25519, 2);
    // Enough work for the threads to start.
    const org = new Organisation('warm');
    const { bytes } = org.incept();
    const [one] = sign(bytes, org.keys(0));
    const check = {
      key: org.state.keys[0] as never,
      signature: one?.raw as Uint8Array,
      message: bytes,
    };
    for (let i = 0; i < 3; i++) {
      pool.start(Array.from({ length: 1500 }, () => check));
      const results = pool.finish();
      // Beyond the room of the area, checks are left to whoever asks.
      assert.equal(results.filter((result) => result === false).length, 0);
      assert.ok(results.filter((result) => result === true).length >= 1000);
    }
  });

  after(() => pool[Symbol.dispose]());

  it('gives the results of one thread, in order', () => {
    const checks = Array.from({ length: 700 }, (_, i) => {
      const { key, seed } = testKey(`pool/${i % 300}`, i % 2 === 0);
      const message = new Uint8Array(1 + (i % 500)).fill(i);
      const signature = ed25519.sign(message, seed);
      if (i % 7 === 0) signature[i % 64] = (signature[i % 64] ?? 0) ^ 4;
      return { key, signature, message };
    });
    for (let round = 0; round < 3; round++) {
      pool.start(checks);
      const expected = checks.map(({ key, signature, message }) =>
        verifySignature(key, signature, message),
      );
      const results = pool.finish();
      // What a thread has taken and not given back in time is left to whoever asks.
      assert.deepEqual(
        results.map((result, i) => result ?? expected[i]),
        expected,
      );
      assert.ok(results.includes(false) && results.includes(true));
    }
  });

  it('leaves keys and signatures of other kinds alone', () => {
    const message = new Uint8Array(8);
    const signature = new Uint8Array(64);
    const p256 = `1AAJ${'A'.repeat(44)}` as never;
    const { key } = testKey('a');
    pool.start([
      { key: p256, signature, message },
      { key, signature: new Uint8Array(3), message },
      { key, signature, message: new Uint8Array(2 ** 21) },
      { key, signature, message },
    ]);
    const [first, second, third, fourth = false] = pool.finish();
    assert.deepEqual([first, second, third, fourth], [undefined, undefined, undefined, false]);
  });

  it('changes no verdict, on whole logs and on spoiled ones', () => {
    for (const seed of ['pool/1', 'pool/2']) {
      const stream = Buffer.concat([...randomFederation(seed, ['JSON', 'CBOR'], 12).streams]);
      for (let spoiled = 0; spoiled < 4; spoiled++) {
        if (spoiled > 0) flip(stream, (stream.length * spoiled) >> 2);
        const chunks = [stream.subarray(0, 5000), stream.subarray(5000)];
        assert.deepEqual(verify(chunks, { batchRunner: pool }), verify(chunks, {}));
      }
    }
  });

  it('foresees the signatures of a log, and asks for nothing twice', () => {
    const { streams, states } = randomFederation('forecast', ['CBOR'], 10);
    const recorder = new Recorder();
    const whole = Buffer.concat([...streams]);
    const result = verify([whole, whole], { batchRunner: recorder });
    assert.deepEqual(
      new Map(result.aids.map((state) => [state.aid, state])),
      new Map(states.map((state) => [state.aid, state])),
    );
    const valid = recorder.checks.filter(({ key, signature, message }) =>
      verifySignature(key, signature, message),
    );
    // Wrong forecasts are few: events behind a recovery, or of replaced keys.
    assert.ok(
      valid.length >= 0.8 * recorder.checks.length,
      `${valid.length} of ${recorder.checks.length}`,
    );
  });
});

function flip(bytes: Uint8Array, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 1;
}

/** The pair agreement with everything that is random fixed: `fixtures/agreement/pair.json`. */
import assert from 'node:assert/strict';
import { createHash, createHmac, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import { describe, it } from 'mocha';
import type { AgreementDeps, LocalEnd, OtherEnd } from '#agent/tunnel/agreement/agreement';
import { chainAt, presharedKey } from '#agent/tunnel/agreement/chain';
import { Initiator, Responder } from '#agent/tunnel/agreement/machine';
import type { AgreementPolicy } from '#agent/tunnel/agreement/policy';
import type { PairEnd } from '#agent/tunnel/agreement/terms';
import type { VerificationKey } from '#kel/identifiers';
import type { CryptoSuite } from '#src/crypto/suite';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';

interface VectorEnd extends PairEnd {
  readonly signingSeed: string;
  readonly mlKemSeed: string;
}

interface Vector {
  readonly mesh: string;
  readonly initiator: VectorEnd;
  readonly responder: VectorEnd;
  readonly policy: AgreementPolicy;
  /** Randomness in the order of use: 32 (X25519), 64 (ML-KEM key), 32 (per encapsulation). */
  readonly random: {
    readonly initiator: readonly string[];
    readonly responder: readonly string[];
    readonly encapsulations: {
      readonly initiator: readonly string[];
      readonly responder: readonly string[];
    };
  };
  readonly sharedSecrets: Readonly<Record<string, string>>;
  readonly message1: string;
  readonly message2: string;
  readonly message3: string;
  readonly th: string;
  readonly chain0: string;
  readonly psk: Readonly<Record<string, string>>;
}

const vector = JSON.parse(readFileSync('fixtures/agreement/pair.json', 'utf8')) as Vector;
const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (value: Uint8Array) => Buffer.from(value).toString('hex');

/** Gives the listed values in order, each only for its own length. */
function scripted(values: readonly string[]): Rng {
  const left = [...values];
  return {
    bytes(length) {
      const next = bytes(left.shift() ?? '');
      assert.equal(next.length, length);
      return next;
    },
  };
}

function depsOf(suite: CryptoSuite, role: 'initiator' | 'responder'): AgreementDeps {
  const coins = scripted(vector.random.encapsulations[role]);
  return {
    suite: {
      ...suite,
      mlKem1024: {
        ...suite.mlKem1024,
        encapsulate(publicKey) {
          const { cipherText, sharedSecret } = ml_kem1024.encapsulate(publicKey, coins.bytes(32));
          return { ciphertext: cipherText, sharedSecret };
        },
      },
    },
    rng: scripted(vector.random[role]),
    verifySignature: (keys, _threshold, message, [signature]) =>
      signature !== undefined &&
      suite.ed25519.verify(signature.raw, message, bytes(keys[0] as string)),
  };
}

function endOf(suite: CryptoSuite, end: VectorEnd): LocalEnd & OtherEnd {
  const seed = bytes(end.signingSeed);
  return {
    aid: end.aid,
    establishment: end.establishment,
    tunnelRecord: end.tunnelRecord,
    keys: [hex(suite.ed25519.publicKey(seed)) as VerificationKey],
    signingThreshold: '1',
    mlKemSeed: new Secret(bytes(end.mlKemSeed)),
    mlKemPublicKey: suite.mlKem1024.publicKey(bytes(end.mlKemSeed)),
    sign: async (message) => [{ index: 0, raw: suite.ed25519.sign(message, seed) }],
  };
}

describe('pair agreement: known answers', () => {
  for (const name of ['fast', 'portable'] as const) {
    it(`messages, transcript hash and keys are those of the vector (${name})`, async () => {
      const suite = await loadCryptoSuite(name);
      const { mesh, policy } = vector;
      const one = endOf(suite, vector.initiator);
      const other = endOf(suite, vector.responder);
      const initiator = new Initiator(
        depsOf(suite, 'initiator'),
        { mesh, local: one, peer: other },
        policy,
      );
      const responder = new Responder(
        depsOf(suite, 'responder'),
        { mesh, local: other, peer: one },
        policy,
      );

      const message1 = initiator.start();
      assert.equal(hex(message1), vector.message1);
      const message2 = await responder.receive1(message1);
      assert.equal(hex(message2), vector.message2);
      const { message3, agreement } = await initiator.receive2(message2);
      assert.equal(hex(message3), vector.message3);
      await responder.receive3(message3);

      assert.equal(hex(agreement.th), vector.th);
      assert.equal(hex(agreement.chain.expose()), vector.chain0);
      let position = { epoch: policy.baseEpoch, chain: agreement.chain };
      for (const [epoch, psk] of Object.entries(vector.psk)) {
        position = chainAt(position, Number(epoch));
        assert.equal(hex(presharedKey(position.chain).expose()), psk);
      }
    });
  }

  it('the vector follows from its shared secrets by the formulas of the design', () => {
    const { message1, message2, policy, sharedSecrets } = vector;
    const counter = (value: number) => {
      const out = Buffer.alloc(8);
      out.writeBigUInt64BE(BigInt(value));
      return out;
    };
    const fields = (...list: readonly (string | Uint8Array)[]) =>
      Buffer.concat(
        list.flatMap((field) => {
          const body = Buffer.from(field as Uint8Array);
          const length = Buffer.alloc(4);
          length.writeUInt32BE(body.length);
          return [length, body];
        }),
      );
    const named = (text: string, ...list: readonly (string | Uint8Array)[]) =>
      Buffer.concat([Buffer.from(`kelmesh/1/${text}`), fields(...list)]);
    const end = ({ aid, establishment: { sn, said }, tunnelRecord }: PairEnd) => [
      aid,
      counter(sn),
      said,
      tunnelRecord,
    ];

    const head = bytes(message2).subarray(0, 2 + 4 + 32 + 4 + 1568 + 4 + 1568);
    const th = createHash('sha256')
      .update(
        fields(
          named('pair-transcript'),
          vector.mesh,
          ...end(vector.initiator),
          ...end(vector.responder),
          fields(counter(policy.epochSeconds), counter(policy.baseEpoch), ...policy.contributions),
          bytes(message1),
          head,
        ),
      )
      .digest();
    assert.equal(th.toString('hex'), vector.th);

    const order = [
      'ml-kem-1024-responder',
      'ml-kem-1024-initiator',
      'ml-kem-1024-ephemeral',
      'x25519',
    ];
    assert.deepEqual(Object.keys(sharedSecrets), order);
    const ikm = fields(
      ...order.flatMap((name) => [
        named('contribution', name),
        bytes(sharedSecrets[name] as string),
      ]),
    );
    const keys = Buffer.from(hkdfSync('sha256', ikm, th, named('pair'), 64));
    const expand = (key: Uint8Array, label: string) =>
      createHmac('sha256', key).update(named(label)).update(Uint8Array.of(1)).digest();
    const mac = createHmac('sha256', keys.subarray(32)).update(named('mac-responder')).digest();
    assert.equal(mac.toString('hex'), message2.slice(-64));

    let chain = expand(keys.subarray(0, 32), 'chain');
    assert.equal(chain.toString('hex'), vector.chain0);
    for (let epoch = policy.baseEpoch; epoch < policy.baseEpoch + 3; epoch++) {
      assert.equal(expand(chain, 'psk').toString('hex'), vector.psk[epoch]);
      chain = expand(chain, 'next');
    }
  });
});

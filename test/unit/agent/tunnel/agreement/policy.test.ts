import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Initiator } from '#agent/tunnel/agreement/machine';
import {
  type AgreementPolicy,
  decodePolicy,
  encodePolicy,
  type PairContribution,
  requiredContributions,
  sourcesOf,
} from '#agent/tunnel/agreement/policy';
import { lengthPrefixed, uint64be, utf8 } from '#src/bytes';
import { aView, depsOf, policy } from '../../../../support/kit/agreements.ts';

const make = (changed: Partial<AgreementPolicy>) =>
  new Initiator(depsOf('i'), aView, { ...policy, ...changed });

describe('pair policy', () => {
  it('has ML-KEM to both record keys and to the fresh key, and X25519, in every agreement', () => {
    assert.deepEqual(requiredContributions, [
      'ml-kem-1024-responder',
      'ml-kem-1024-initiator',
      'ml-kem-1024-ephemeral',
      'x25519',
    ]);
  });

  it('names what was mixed in as edge policy does: each once, in its order', () => {
    assert.deepEqual(sourcesOf(requiredContributions), ['ml-kem-1024', 'x25519']);
    const hqc = ['hqc-256-responder', 'hqc-256-initiator'] as const;
    assert.deepEqual(sourcesOf(['manual', 'hardware', ...hqc, ...requiredContributions]), [
      'ml-kem-1024',
      'x25519',
      'hqc-256',
      'hardware',
      'manual',
    ]);
  });

  it('refuses contributions that have a place but no driver', () => {
    for (const name of [
      'hqc-256-responder',
      'hardware',
      'broker',
      'qkd',
      'manual',
    ] satisfies PairContribution[]) {
      assert.throws(() => make({ contributions: [...requiredContributions, name] }), {
        code: 'AGREEMENT_CONTRIBUTION',
      });
    }
  });

  it('refuses unknown, missing, repeated and reordered contributions', () => {
    const unknown = 'rot13' as PairContribution;
    assert.throws(() => make({ contributions: [...requiredContributions, unknown] }), {
      code: 'AGREEMENT_CONTRIBUTION',
    });
    for (const contributions of [
      [],
      requiredContributions.slice(1),
      requiredContributions.toReversed(),
      [...requiredContributions, 'x25519' as const],
    ]) {
      assert.throws(() => make({ contributions }), { code: 'AGREEMENT_POLICY' });
    }
  });

  it('refuses epoch lengths and base epochs out of range', () => {
    for (const epochSeconds of [0, 119, 86_401, 120.5, Number.NaN]) {
      assert.throws(() => make({ epochSeconds }), { code: 'AGREEMENT_POLICY' });
    }
    for (const baseEpoch of [-1, 0.5, 100_000_001]) {
      assert.throws(() => make({ baseEpoch }), { code: 'AGREEMENT_POLICY' });
    }
  });

  it('decodes what it encodes, and nothing that a valid policy does not encode to', () => {
    assert.deepEqual(decodePolicy(encodePolicy(policy)), policy);
    const names = requiredContributions.map(utf8);
    const encoded = (seconds: bigint, base: bigint, ...list: readonly Uint8Array[]) =>
      lengthPrefixed(uint64be(seconds), uint64be(base), ...list);
    assert.throws(() => decodePolicy(encoded(60n, 1n, ...names)), { code: 'AGREEMENT_POLICY' });
    assert.throws(() => decodePolicy(encoded(3600n, 1n)), { code: 'AGREEMENT_POLICY' });
    assert.throws(() => decodePolicy(encoded(3600n, 1n, ...names, utf8('zz'))), {
      code: 'AGREEMENT_CONTRIBUTION',
    });
    assert.throws(() => decodePolicy(encoded(3600n, 2n ** 63n, ...names)), {
      code: 'AGREEMENT_BAD_MESSAGE',
    });
    assert.throws(() => decodePolicy(encoded(3600n, 1n, ...names, utf8('A B'))), {
      code: 'AGREEMENT_BAD_MESSAGE',
    });
  });
});

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  agreementStoreLabel,
  chainNext,
  chainPsk,
  chainStart,
  custodianCardLabel,
  dossierLabel,
  inviteCheckLabel,
  kekLabel,
  label,
  leafFieldLabel,
  leafSaltLabel,
  logKeyAtRest,
  meshPrefixLabel,
  mlKemLabel,
  overlayLabel,
  pairContributionLabel,
  pairInfo,
  pairMacLabel,
  pairSignatureLabel,
  pairTranscript,
  peerSeedLabel,
  tunnelKeyProofLabel,
  wireguardLabel,
} from '#src/crypto/labels';

const fields = fc.array(fc.uint8Array({ maxLength: 6 }), { maxLength: 4 });
const purpose = fc.string({
  unit: fc.constantFrom('a', 'b', '0', '-'),
  minLength: 1,
  maxLength: 4,
});

describe('label', () => {
  it('is the purpose and length-prefixed fields', () => {
    assert.equal(
      Buffer.from(wireguardLabel('EAbc', 258)).toString('hex'),
      `${Buffer.from('kelmesh/1/wireguard').toString('hex')}00000004${Buffer.from('EAbc').toString('hex')}000000080000000000000102`,
    );
    assert.equal(Buffer.from(chainNext).toString(), 'kelmesh/1/next');
  });

  it('has the length of the purpose too in an overlay address', () => {
    assert.equal(
      Buffer.from(overlayLabel('M', 'A')).toString('latin1'),
      '\0\0\0\x11kelmesh/1/overlay\0\0\0\x01M\0\0\0\x01A',
    );
    assert.equal(
      Buffer.from(meshPrefixLabel('M')).toString('latin1'),
      '\0\0\0\x15kelmesh/1/mesh-prefix\0\0\0\x01M',
    );
  });

  it('no two different (purpose, fields) give the same bytes', () => {
    fc.assert(
      fc.property(purpose, fields, purpose, fields, (p, f, q, g) => {
        const same = p === q && JSON.stringify(f) === JSON.stringify(g);
        assert.equal(Buffer.compare(label(p, ...f), label(q, ...g)) === 0, same);
      }),
      { numRuns: 500 },
    );
  });

  it('every label of the table is different from the others', () => {
    const hash = new Uint8Array(32);
    const all = [
      wireguardLabel('E', 0),
      tunnelKeyProofLabel(hash),
      mlKemLabel('E', 0),
      kekLabel('agreements'),
      kekLabel('audit-log'),
      kekLabel('peer-key'),
      pairInfo,
      chainStart,
      chainNext,
      chainPsk,
      pairContributionLabel('x25519'),
      pairContributionLabel('manual'),
      pairSignatureLabel('initiator', hash),
      pairSignatureLabel('responder', hash),
      pairMacLabel('initiator'),
      pairMacLabel('responder'),
      pairTranscript,
      peerSeedLabel(hash),
      agreementStoreLabel(hash),
      logKeyAtRest,
      custodianCardLabel(hash),
      dossierLabel(hash, 'E', 0, 'E'),
      leafSaltLabel('E'),
      leafFieldLabel('E', 'E', hash, hash),
      meshPrefixLabel('E'),
      overlayLabel('E', 'E'),
      inviteCheckLabel(hash),
    ].map((bytes) => Buffer.from(bytes).toString('hex'));
    assert.equal(new Set(all).size, all.length);
  });

  it('keys that seal data at rest keep the numbers under which 0.1 has sealed', () => {
    const numbers = { agreements: 1, 'audit-log': 2, 'peer-key': 3 } as const;
    for (const [name, number] of Object.entries(numbers))
      assert.deepEqual(
        Buffer.from(kekLabel(name as keyof typeof numbers)),
        Buffer.from(`kelmesh/1/kek\0\0\0\x08\0\0\0\0\0\0\0${String.fromCharCode(number)}`),
      );
  });

  it('refuses a purpose that could run into a field, and counters that are not whole numbers', () => {
    for (const bad of ['', 'A', 'a/b', 'a\0', 'ä'])
      assert.throws(() => label(bad), { code: 'CRYPTO_BAD_LENGTH' });
    for (const bad of [-1, 0.5, Number.NaN, 2 ** 53])
      assert.throws(() => mlKemLabel('E', bad), { code: 'CRYPTO_BAD_LENGTH' });
  });
});

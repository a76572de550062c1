import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { CaError } from '#agent/ca/errors';
import { type CaFile, encodeCaFile, parseCaFile, sealCa, unsealCa } from '#agent/ca/sealed-ca';
import { utf8 } from '#src/bytes';
import { Secret } from '#src/secret';
import { cheapCost } from '../../support/ca.ts';
import { SeededRng } from '../../support/seeded-rng.ts';

const passphrase = () => new Secret(utf8('correct horse'));
const content = { cost: cheapCost, algorithm: 'p384', certificate: 'PEM' } as const;
const sealed = () =>
  sealCa(content, new Secret(utf8('the key')), passphrase(), new SeededRng('sealed'));

const anyFile: fc.Arbitrary<CaFile> = fc.record({
  cost: fc.record({
    memory: fc.integer({ min: 128, max: 1000 }),
    passes: fc.integer({ min: 1, max: 64 }),
    lanes: fc.integer({ min: 1, max: 16 }),
  }),
  salt: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  algorithm: fc.constantFrom('p384', 'p256', 'ed25519'),
  certificate: fc.string({ unit: 'binary-ascii', maxLength: 400 }),
  sealed: fc.uint8Array({ minLength: 60, maxLength: 300 }),
});

describe('sealed CA file', () => {
  it('opens under its passphrase', async () => {
    using key = await unsealCa(parseCaFile(await sealed()), passphrase());
    assert.deepEqual(Buffer.from(key.expose()).toString(), 'the key');
  });

  it('does not open under another passphrase', async () => {
    const file = parseCaFile(await sealed());
    await assert.rejects(unsealCa(file, new Secret(utf8('wrong horse'))), {
      code: 'CA_WRONG_PASSPHRASE',
    });
  });

  it('binds the certificate, the algorithm and the cost to the key', async () => {
    const file = parseCaFile(await sealed());
    for (const change of [
      { certificate: 'PEN' },
      { algorithm: 'p256' },
      { cost: { ...cheapCost, passes: 2 } },
    ] as const) {
      const changed = parseCaFile(encodeCaFile({ ...file, ...change }));
      await assert.rejects(unsealCa(changed, passphrase()), { code: 'CA_WRONG_PASSPHRASE' });
    }
  });

  it('refuses an empty passphrase and a cost out of bounds', async () => {
    const rng = new SeededRng(1);
    const key = new Secret(utf8('k'));
    await assert.rejects(sealCa(content, key, new Secret(new Uint8Array()), rng), {
      code: 'CA_BAD_INPUT',
    });
    await assert.rejects(
      sealCa({ ...content, cost: { ...cheapCost, lanes: 0 } }, key, passphrase(), rng),
      { code: 'CA_BAD_INPUT' },
    );
  });

  it('is read back as it was written', () => {
    fc.assert(
      fc.property(anyFile, (file) => {
        const bytes = encodeCaFile(file);
        const read = parseCaFile(bytes);
        assert.deepEqual(encodeCaFile(read), bytes);
        assert.equal(read.certificate, file.certificate);
      }),
      { numRuns: 200 },
    );
  });

  it('refuses any change of a byte, any cut and anything appended', async () => {
    const bytes = await sealed();
    const refused = (changed: Uint8Array) =>
      assert.throws(() => parseCaFile(changed), { code: 'CA_CORRUPT' });
    for (let at = 0; at < bytes.length; at++) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      refused(changed);
      refused(bytes.subarray(0, at));
    }
    refused(Uint8Array.of(...bytes, 0));
  });

  it('throws nothing but its own error on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.throws(() => parseCaFile(bytes), CaError);
      }),
    );
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type CaFile, encodeCaFile, encodeCaHeader, parseCaFile } from '#agent/inner/ca/ca-file';
import { newCost, passphraseKey, sealCa, unsealCa } from '#agent/inner/ca/sealed-ca';
import { utf8 } from '#src/bytes';
import { seal } from '#src/crypto/aead';
import { Secret } from '#src/secret';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { cheapCost } from '../../../../support/kit/ca.ts';

const rng = new SeededRng('sealed');
const cost = newCost(cheapCost, rng);
const keyOf = (text = 'correct horse') => passphraseKey(new Secret(utf8(text)), cost);

const generation = (number: number) =>
  ({
    number,
    algorithm: 'p384',
    preparedAt: 1,
    activatedAt: 2,
    issuedUntil: 3,
    certificate: 'PEM',
    cross: 'CROSS',
  }) as const;
const content = { ...cost, issuing: 0, generations: [generation(1), generation(2)], retired: [] };
const keys = () => [new Secret(utf8('the key')), new Secret(utf8('the next'))];
const sealed = async () => sealCa(content, keys(), await keyOf(), rng);
const opened = (secrets: readonly Secret[]) =>
  secrets.map((key) => Buffer.from(key.expose()).toString());

describe('sealed CA file', () => {
  it('opens under its passphrase, with the key of each generation', async () => {
    assert.deepEqual(opened(unsealCa(parseCaFile(await sealed()), await keyOf())), [
      'the key',
      'the next',
    ]);
  });

  it('does not open under another passphrase', async () => {
    const file = parseCaFile(await sealed());
    const other = await keyOf('wrong horse');
    assert.throws(() => unsealCa(file, other), { code: 'CA_WRONG_PASSPHRASE' });
  });

  it('binds certificates, order, times, cost and what issues to the keys', async () => {
    const file = parseCaFile(await sealed());
    const key = await keyOf();
    const [first, second] = content.generations;
    for (const change of [
      { generations: [{ ...first, certificate: 'PEN' }, second] },
      { generations: [{ ...first, cross: '' }, second] },
      { generations: [first, { ...second, algorithm: 'p256' }] },
      { generations: [{ ...first, issuedUntil: 0 }, second] },
      { generations: [second, first] },
      { generations: [first] },
      { issuing: 1 },
      { cost: { ...cheapCost, passes: 2 } },
    ] as readonly Partial<CaFile>[]) {
      const changed = parseCaFile(encodeCaFile({ ...file, ...change }));
      assert.throws(() => unsealCa(changed, key), { code: 'CA_WRONG_PASSPHRASE' });
    }
  });

  it('refuses a sealed part with more or fewer keys than generations', async () => {
    const key = await keyOf();
    for (const wrong of [keys().slice(1), [...keys(), ...keys()]]) {
      const file = parseCaFile(sealCa(content, wrong, key, rng));
      assert.throws(() => unsealCa(file, key), { code: 'CA_CORRUPT' });
    }
  });

  it('refuses an empty passphrase and a cost out of bounds', async () => {
    await assert.rejects(keyOf(''), { code: 'CA_BAD_INPUT' });
    assert.throws(() => newCost({ ...cheapCost, lanes: 0 }, rng), { code: 'CA_BAD_INPUT' });
  });

  it('opens a file of version 1', async () => {
    const key = await keyOf();
    const { number, algorithm, certificate } = generation(1);
    const file = {
      version: 1,
      ...cost,
      issuing: 0,
      retired: [],
      generations: [
        {
          number,
          algorithm,
          certificate,
          preparedAt: 0,
          activatedAt: 0,
          issuedUntil: undefined,
          cross: '',
        },
      ],
    } as const;
    const bytes = encodeCaFile({
      ...file,
      sealed: seal(key, utf8('the key'), encodeCaHeader(file), rng),
    });
    assert.equal(Buffer.from(bytes.subarray(0, 19)).toString(), 'kelmesh inner ca 1\n');
    const read = parseCaFile(bytes);
    assert.deepEqual(read.generations, file.generations);
    assert.deepEqual(opened(unsealCa(read, key)), ['the key']);
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
});

/** Derivation (`prf`, 32 bytes) and signing: keys in this process against keys in a SoftHSM token in its own. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { wireguardLabel } from '#src/crypto/labels';
import type { KeyStore } from '#src/keystore/key-store';
import { Pkcs11KeyStore } from '#src/keystore/pkcs11/pkcs11-key-store';
import { provisionSoftHsm } from '#src/keystore/pkcs11/softhsm';
import { SealedFileKeyStore } from '#src/keystore/sealed-file';
import { Secret } from '#src/secret';

const DURATION_MS = 700;
const rng = { bytes: (length: number) => new Uint8Array(randomBytes(length)) };
const label = wireguardLabel('E'.padEnd(44, 'x'), 1);
const message = new Uint8Array(256);

const directory = await mkdtemp(join(tmpdir(), 'kelmesh-bench-'));
try {
  const secret = new Secret(Buffer.from('123456'));
  const software = await SealedFileKeyStore.create(join(directory, 'keys'), secret, rng);
  const hsm = await provisionSoftHsm(directory, 'bench', secret, secret);
  const token = await Pkcs11KeyStore.open({ ...hsm, tokenLabel: 'bench', pin: secret });
  try {
    await compare('prf', software, token, async (store) => {
      const root = await store.generateRoot();
      return () => store.prf(root, label, 32);
    });
    for (const algorithm of ['ed25519', 'p256'] as const) {
      await compare(`sign ${algorithm}`, software, token, async (store) => {
        const { id } = await store.generateSigningKey(algorithm);
        return () => store.sign(id, message);
      });
    }
  } finally {
    await token.close();
    await software.close();
  }
} finally {
  await rm(directory, { recursive: true });
}

async function compare(
  name: string,
  software: KeyStore,
  token: KeyStore,
  prepare: (store: KeyStore) => Promise<() => Promise<unknown>>,
): Promise<void> {
  const baseline = await rate(await prepare(software));
  const measured = await rate(await prepare(token));
  const ratio = (measured / baseline).toFixed(3);
  console.log(
    `${name}: sealed file ${Math.round(baseline)}/s, SoftHSM ${Math.round(measured)}/s, ratio ${ratio} of the sealed file`,
  );
}

/** Operations per second, one after the other, after a warm-up. */
async function rate(operation: () => Promise<unknown>): Promise<number> {
  for (let i = 0; i < 50; i++) await operation();
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < DURATION_MS) {
    await operation();
    count++;
  }
  return (1000 * count) / (performance.now() - start);
}

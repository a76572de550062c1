/**
 * Loses keys of the key store of a machine, whatever its tier: `node key-store-process.ts VERB KEY…` inside the machine.
 *
 *   destroy KEY…    the signing keys with these public keys, as the log names them
 *   keep DIGEST…    everything but the signing keys with these digests, as the log names next keys
 *
 * Prints how many keys are left.
 */
import { argv, stdout } from 'node:process';
import { openKeyStore } from '#agent/compose';
import { readConfig } from '#agent/organisation/config/config';
import { readSecretFile } from '#agent/organisation/config/secrets';
import { keyDigest } from '#kel/event/key-digest';
import { encodeVerificationKey } from '#kel/event/verification-key';

const [, , verb, ...names] = argv;
const config = readConfig('/etc/kelmesh/kelmesh.toml');
using secret = readSecretFile(config.keyStore.secretFile ?? '');
const keyStore = await openKeyStore(config, secret);
for (const { id, kind } of await keyStore.list()) {
  if (await isLost(id, kind)) await keyStore.destroy(id);
}
stdout.write(`${(await keyStore.list()).length}\n`);
await keyStore.close();

async function isLost(
  id: Parameters<typeof keyStore.signingKey>[0],
  kind: string,
): Promise<boolean> {
  if (kind === 'root') return verb === 'keep';
  const { algorithm, publicKey } = await keyStore.signingKey(id);
  const key = encodeVerificationKey(algorithm, publicKey);
  return verb === 'keep' ? !names.includes(keyDigest(key)) : names.includes(key);
}

/** The custodian of this machine, with its key store open. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { VerifySignature } from '#kel/state/key-signatures';
import { ensureTrustedDirectory } from '#src/files/trust';
import type { KeyStore } from '#src/keystore/key-store';
import type { Secret } from '#src/secret';
import { createKeyStore, hasKeyStore, openKeyStore } from '../compose.ts';
import { Custodian } from '../identity/custody/custodian.ts';
import { CustodyError } from '../identity/custody/errors.ts';
import type { Config } from '../organisation/config/config.ts';
import { askNewSecret } from '../organisation/config/secrets.ts';
import { keyStoreSecret } from './ask-at-rest.ts';
import type { Io } from './io.ts';
import { verifier } from './verifier.ts';

export function custodianFile(config: Config): string {
  return join(config.stateDir, 'custodian');
}

/** Throws CUSTODY_MISSING. */
export function withCustodian<T>(
  config: Config,
  io: Io,
  task: (custodian: Custodian, verifySignature: VerifySignature) => Promise<T>,
): Promise<T> {
  const path = custodianFile(config);
  if (!existsSync(path)) throw new CustodyError('CUSTODY_MISSING', `${path} does not exist`);
  return withKeyStore(config, io, false, async (keyStore, verifySignature) => {
    await using custodian = await Custodian.open({ keyStore, path, verifySignature });
    // Awaited here: the lock is held until it is done.
    return await task(custodian, verifySignature);
  });
}

/** @param mayCreate makes the key store when there is none */
export async function withKeyStore<T>(
  config: Config,
  io: Io,
  mayCreate: boolean,
  task: (keyStore: KeyStore, verifySignature: VerifySignature) => Promise<T>,
): Promise<T> {
  const isNew = mayCreate && !hasKeyStore(config);
  ensureTrustedDirectory(config.stateDir);
  using secret = isNew ? await newSecret(config, io) : await keyStoreSecret(config, io);
  const keyStore = await (isNew ? createKeyStore(config, secret) : openKeyStore(config, secret));
  try {
    return await task(keyStore, await verifier());
  } finally {
    await keyStore.close();
  }
}

async function newSecret(config: Config, io: Io): Promise<Secret> {
  if (config.keyStore.secretFile !== undefined) return keyStoreSecret(config, io);
  return askNewSecret('new passphrase or PIN', io.stdin, io.stderr);
}

/** A CA directory at work: locked, its keys in memory; what changes is written in one file, whole or not at all. */
import type { webcrypto } from 'node:crypto';
import { utf8 } from '#src/bytes';
import type { Clock } from '#src/clock';
import type { AtomicFileSteps } from '#src/files/atomic-file';
import type { Issuer } from '#src/mtls/certificate';
import { importPrivateKey } from '#src/mtls/key-algorithm';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import { type CaFile, type Generation, MAX_CA_FILE_LENGTH, parseCaFile } from './ca-file.ts';
import { CaError } from './errors.ts';
import { caCertificateFile, caFile, readBounded, withLock, writeFileSafely } from './files.ts';
import { onlyCertificate } from './generation.ts';
import { newCost, passphraseKey, sealCa, unsealCa } from './sealed-ca.ts';

/** The longest life of a certificate of a service, milliseconds. */
export const MAX_LEAF_LIFE = 30 * 86_400_000;

export interface CaAccess {
  readonly dir: string;
  readonly passphrase: Secret;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly steps?: AtomicFileSteps;
}

/** A generation with its key. */
export interface KeyedGeneration extends Generation {
  readonly issuedUntil: number;
  /** PKCS#8, DER. */
  readonly key: Secret;
}

export interface CaContent extends Pick<CaFile, 'issuing' | 'retired'> {
  readonly generations: readonly KeyedGeneration[];
}

/** Needs no passphrase. @throws CA_NOT_FOUND, CA_CORRUPT, CA_IO */
export async function readCa(dir: string): Promise<CaFile> {
  const bytes = await readBounded(caFile(dir), MAX_CA_FILE_LENGTH);
  if (bytes === undefined) throw new CaError('CA_NOT_FOUND', `${dir}: there is no CA`);
  return parseCaFile(bytes);
}

/**
 * Runs `action` while no other command changes the directory.
 * @throws CA_NOT_FOUND, CA_CORRUPT, CA_WRONG_PASSPHRASE, CA_LOCKED, CA_IO and what `action` throws
 */
export async function withOpenCa<T>(
  access: CaAccess,
  action: (ca: OpenCa) => Promise<T>,
): Promise<T> {
  const { dir, passphrase, clock } = access;
  const seen = await readCa(dir);
  // Outside the lock: it takes a second, and others may work meanwhile.
  using key = await passphraseKey(passphrase, seen);
  // Awaited here: the key is wiped when this returns.
  return await withLock(dir, async () => {
    const file = await readCa(dir);
    const keys = unsealCa(file, key);
    const generations = file.generations.map((generation, i) => ({
      ...generation,
      issuedUntil: generation.issuedUntil ?? latestLeaf(generation, clock.now()),
      key: keys[i] as Secret,
    }));
    const { issuing, retired } = file;
    using ca = new OpenCa(access, file, key, { issuing, generations, retired });
    return await action(ca);
  });
}

/** The latest that a certificate which was issued until now can last. */
function latestLeaf({ certificate }: Generation, now: number): number {
  return Math.min(onlyCertificate(certificate).notAfter, now + MAX_LEAF_LIFE);
}

/** Its keys are wiped when it is disposed of. */
export class OpenCa implements Disposable {
  readonly #access: CaAccess;
  #file: Pick<CaFile, 'cost' | 'salt'>;
  /** From the passphrase. */
  #key: Secret;
  readonly #kept: Secret[];
  #content: CaContent;

  constructor(
    access: CaAccess,
    file: Pick<CaFile, 'cost' | 'salt'>,
    key: Secret,
    content: CaContent,
  ) {
    this.#access = access;
    this.#file = file;
    this.#key = key;
    this.#content = content;
    this.#kept = content.generations.map((generation) => generation.key);
  }

  get content(): CaContent {
    return this.#content;
  }

  /** The generation that issues. */
  get issuing(): KeyedGeneration {
    return this.#content.generations[this.#content.issuing] as KeyedGeneration;
  }

  /** A key that lives as long as this. */
  keep(key: Secret): Secret {
    this.#kept.push(key);
    return key;
  }

  /** What is written from now on opens under this passphrase alone. @throws CA_BAD_INPUT when it is empty */
  async changePassphrase(passphrase: Secret): Promise<void> {
    this.#file = newCost(this.#file.cost, this.#access.rng);
    this.#key = this.keep(await passphraseKey(passphrase, this.#file));
  }

  /** Durable when it resolves; erases keys whose generation is not in `content` any more. @throws CA_IO */
  async write(content: CaContent): Promise<void> {
    const { dir, rng, steps } = this.#access;
    const { cost, salt } = this.#file;
    const keys = content.generations.map(({ key }) => key);
    const bytes = sealCa({ cost, salt, ...content }, keys, this.#key, rng);
    await writeFileSafely(caFile(dir), bytes, steps);
    this.#content = content;
    await this.writeCertificates();
  }

  /** @throws CA_IO */
  writeCertificates(): Promise<void> {
    return writeCertificates(this.#access.dir, this.#content.generations, this.#access.steps);
  }

  [Symbol.dispose](): void {
    for (const key of this.#kept) key[Symbol.dispose]();
  }
}

/** After a crash `ca.pem` may be behind; needs no passphrase. @throws CA_NOT_FOUND, CA_CORRUPT, CA_LOCKED, CA_IO */
export function refreshCertificates(dir: string): Promise<void> {
  return withLock(dir, async () => writeCertificates(dir, (await readCa(dir)).generations));
}

/** `ca.pem`: for services that take trust anchors from a file. */
async function writeCertificates(
  dir: string,
  generations: readonly Generation[],
  steps?: AtomicFileSteps,
): Promise<void> {
  const pem = utf8(generations.map(({ certificate }) => certificate).join(''));
  const path = caCertificateFile(dir);
  const present = await readBounded(path, MAX_CA_FILE_LENGTH).catch(() => undefined);
  if (present === undefined || Buffer.compare(present, pem) !== 0)
    await writeFileSafely(path, pem, steps);
}

/** @throws CA_CORRUPT when the key is not of the algorithm that the file says */
export function issuerOf({ certificate, algorithm, key }: KeyedGeneration): Issuer {
  let privateKey: webcrypto.CryptoKey;
  try {
    privateKey = importPrivateKey(algorithm, key.expose());
  } catch (cause) {
    throw new CaError('CA_CORRUPT', `CA file: a key is not of algorithm ${algorithm}`, { cause });
  }
  return { certificate, algorithm, privateKey };
}

/**
 * The file of an inner CA: its certificate in the clear, its private key sealed under a passphrase of its own.
 *
 *   file     = header || sealed || checksum
 *   header   = "kelmesh inner ca 1\n" || memory (u32, KiB) || passes (u32) || lanes (u32) || salt (16 bytes)
 *              || algorithm (1 byte) || length of certificate (u32) || certificate (PEM)
 *   sealed   = XChaCha20-Poly1305 of the PKCS#8 key (src/crypto/aead.ts), the header as associated data
 *   checksum = SHA-256 of all before it, 32 bytes
 *
 * Integers are big-endian. One file, so that certificate and key cannot come apart; the certificate is bound
 * to the key. The checksum has no key: it tells a damaged file from a wrong passphrase.
 */
import { argon2 } from 'node:crypto';
import { promisify } from 'node:util';
import { concatBytes, equalBytes, uint32be, utf8 } from '#src/bytes';
import { open, SEAL_OVERHEAD, seal } from '#src/crypto/aead';
import { sha256 } from '#src/crypto/hash';
import { costProblem, type PassphraseCost } from '#src/keystore/sealed-file-format';
import type { KeyAlgorithm } from '#src/mtls/key-algorithm';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { CaError } from './errors.ts';

export interface CaFile {
  readonly cost: PassphraseCost;
  /** 16 bytes. */
  readonly salt: Uint8Array;
  readonly algorithm: KeyAlgorithm;
  /** PEM. */
  readonly certificate: string;
  readonly sealed: Uint8Array;
}

export const MAX_CA_FILE_LENGTH = 32 * 1024;

const MAGIC = utf8('kelmesh inner ca 1\n');
const SALT_LENGTH = 16;
const CERTIFICATE_AT = MAGIC.length + 12 + SALT_LENGTH + 5;
const CHECKSUM_LENGTH = 32;
const MIN_LENGTH = CERTIFICATE_AT + SEAL_OVERHEAD + 1 + CHECKSUM_LENGTH;
const KEY_LENGTH = 32;

const algorithmCodes: Readonly<Record<KeyAlgorithm, number>> = { p384: 1, p256: 2, ed25519: 3 };

const deriveKey = promisify(argon2);

/** @param pkcs8 DER  @throws CA_BAD_INPUT for an empty passphrase or a cost out of bounds */
export async function sealCa(
  content: Pick<CaFile, 'cost' | 'algorithm' | 'certificate'>,
  pkcs8: Secret,
  passphrase: Secret,
  rng: Rng,
): Promise<Uint8Array> {
  const problem =
    costProblem(content.cost) ?? (passphrase.length === 0 ? 'passphrase: it is empty' : undefined);
  if (problem !== undefined) throw new CaError('CA_BAD_INPUT', problem);
  const file = { ...content, salt: rng.bytes(SALT_LENGTH) };
  using key = await passphraseKey(passphrase, file);
  return encodeCaFile({ ...file, sealed: seal(key, pkcs8.expose(), header(file), rng) });
}

/** @returns the PKCS#8 key, DER  @throws CA_WRONG_PASSPHRASE */
export async function unsealCa(file: CaFile, passphrase: Secret): Promise<Secret> {
  using key = await passphraseKey(passphrase, file);
  try {
    return Secret.take(open(key, file.sealed, header(file)));
  } catch (cause) {
    throw new CaError('CA_WRONG_PASSPHRASE', 'the passphrase does not open the key of this CA', {
      cause,
    });
  }
}

export function encodeCaFile(file: CaFile): Uint8Array {
  const body = concatBytes(header(file), file.sealed);
  return concatBytes(body, sha256(body));
}

/** Everything that needs no passphrase; accepts only what {@link encodeCaFile} gives. @throws CA_CORRUPT */
export function parseCaFile(bytes: Uint8Array): CaFile {
  if (bytes.length < MIN_LENGTH || bytes.length > MAX_CA_FILE_LENGTH) {
    throw corrupt(`expected ${MIN_LENGTH} to ${MAX_CA_FILE_LENGTH} bytes, got ${bytes.length}`);
  }
  if (!equalBytes(bytes.subarray(0, MAGIC.length), MAGIC)) {
    throw corrupt('it does not begin as a CA file of version 1');
  }
  const body = bytes.subarray(0, -CHECKSUM_LENGTH);
  if (!equalBytes(sha256(body), bytes.subarray(-CHECKSUM_LENGTH))) {
    throw corrupt('its checksum does not fit its content');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, body.length);
  const at = MAGIC.length;
  const cost = {
    memory: view.getUint32(at),
    passes: view.getUint32(at + 4),
    lanes: view.getUint32(at + 8),
  };
  const problem = costProblem(cost);
  if (problem !== undefined) throw corrupt(problem);
  const end = CERTIFICATE_AT + view.getUint32(CERTIFICATE_AT - 4);
  if (end > body.length - SEAL_OVERHEAD) throw corrupt('its certificate is longer than the file');
  return {
    cost,
    salt: bytes.slice(at + 12, at + 12 + SALT_LENGTH),
    algorithm: algorithmOfCode(bytes[CERTIFICATE_AT - 5]),
    certificate: decodeAscii(bytes.subarray(CERTIFICATE_AT, end)),
    sealed: body.slice(end),
  };
}

function header({ cost, salt, algorithm, certificate }: Omit<CaFile, 'sealed'>): Uint8Array {
  const text = utf8(certificate);
  return concatBytes(
    MAGIC,
    uint32be(cost.memory),
    uint32be(cost.passes),
    uint32be(cost.lanes),
    salt,
    Uint8Array.of(algorithmCodes[algorithm]),
    uint32be(text.length),
    text,
  );
}

function algorithmOfCode(code: number | undefined): KeyAlgorithm {
  const all = Object.keys(algorithmCodes) as KeyAlgorithm[];
  const algorithm = all.find((each) => algorithmCodes[each] === code);
  if (algorithm === undefined) throw corrupt(`unknown key algorithm ${code}`);
  return algorithm;
}

function decodeAscii(bytes: Uint8Array): string {
  if (bytes.some((byte) => byte > 127)) throw corrupt('its certificate is not PEM');
  return Buffer.from(bytes).toString('latin1');
}

async function passphraseKey(
  passphrase: Secret,
  { cost, salt }: Pick<CaFile, 'cost' | 'salt'>,
): Promise<Secret> {
  return Secret.take(
    await deriveKey('argon2id', {
      message: passphrase.expose(),
      nonce: salt,
      memory: cost.memory,
      passes: cost.passes,
      parallelism: cost.lanes,
      tagLength: KEY_LENGTH,
    }),
  );
}

function corrupt(reason: string): CaError {
  return new CaError('CA_CORRUPT', `CA file: ${reason}`);
}

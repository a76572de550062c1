/**
 * The bytes of a sealed key file.
 *
 *   file    = header || sealed || checksum
 *   header  = "kelmesh sealed keys 1\n" || memory (u32, KiB) || passes (u32) || lanes (u32) || salt (16 bytes)
 *   sealed  = XChaCha20-Poly1305 of the content (src/crypto/aead.ts), the header as associated data
 *   checksum = SHA-256 of all before it, 32 bytes
 *   content = count (u32) || count × (id, 16 bytes || kind, 1 byte || secret, 32 bytes), ids ascending
 *
 * Integers are big-endian. The checksum has no key: it tells a damaged file from a wrong passphrase, which
 * the authenticated encryption alone cannot. Whoever forges it gains nothing.
 */
import { ByteReader } from '#src/byte-reader';
import { concatBytes, equalBytes, uint32be, utf8 } from '#src/bytes';
import { SEAL_OVERHEAD } from '#src/crypto/aead';
import { sha256 } from '#src/crypto/hash';
import { costProblem, type PassphraseCost } from '#src/crypto/passphrase';
import { Secret } from '#src/secret';
import { KeyStoreError } from './errors.ts';
import { KEY_ID_LENGTH, keyIdBytes, keyIdOf } from './key-id.ts';
import { isP256Scalar } from './p256-form.ts';
import {
  SOFTWARE_SECRET_LENGTH,
  type SoftwareKey,
  type SoftwareKeyKind,
  SoftwareKeys,
} from './software-keys.ts';

export interface SealedFile {
  readonly cost: PassphraseCost;
  /** 16 bytes. */
  readonly salt: Uint8Array;
  /** All before `sealed`: its associated data. */
  readonly header: Uint8Array;
  readonly sealed: Uint8Array;
}

export const SALT_LENGTH = 16;

/** Far above what a node ever holds; bounds the work that a file can ask for. */
export const MAX_KEYS = 4096;

const MAGIC = utf8('kelmesh sealed keys 1\n');
const HEADER_LENGTH = MAGIC.length + 12 + SALT_LENGTH;
const CHECKSUM_LENGTH = 32;
const ENTRY_LENGTH = KEY_ID_LENGTH + 1 + SOFTWARE_SECRET_LENGTH;
const MIN_FILE_LENGTH = HEADER_LENGTH + SEAL_OVERHEAD + 4 + CHECKSUM_LENGTH;

/** Length of the largest file, in bytes. */
export const MAX_FILE_LENGTH = MIN_FILE_LENGTH + MAX_KEYS * ENTRY_LENGTH;

const kindCodes: Readonly<Record<SoftwareKeyKind, number>> = { ed25519: 1, p256: 2, root: 3 };

/** @param salt 16 bytes */
export function encodeHeader(cost: PassphraseCost, salt: Uint8Array): Uint8Array {
  return concatBytes(
    MAGIC,
    uint32be(cost.memory),
    uint32be(cost.passes),
    uint32be(cost.lanes),
    salt,
  );
}

export function encodeSealedFile(header: Uint8Array, sealed: Uint8Array): Uint8Array {
  const body = concatBytes(header, sealed);
  return concatBytes(body, sha256(body));
}

/** Everything that needs no passphrase. @throws KEYSTORE_CORRUPT */
export function parseSealedFile(bytes: Uint8Array): SealedFile {
  if (bytes.length < MIN_FILE_LENGTH || bytes.length > MAX_FILE_LENGTH) {
    throw corrupt(`expected ${MIN_FILE_LENGTH} to ${MAX_FILE_LENGTH} bytes, got ${bytes.length}`);
  }
  if (!equalBytes(bytes.subarray(0, MAGIC.length), MAGIC))
    throw corrupt('it does not begin as a sealed key file of version 1');
  const body = bytes.subarray(0, -CHECKSUM_LENGTH);
  if (!equalBytes(sha256(body), bytes.subarray(-CHECKSUM_LENGTH)))
    throw corrupt('its checksum does not fit its content');
  const reader = new ByteReader(bytes.subarray(MAGIC.length), corrupt);
  const cost = { memory: reader.uint32(), passes: reader.uint32(), lanes: reader.uint32() };
  const problem = costProblem(cost);
  if (problem !== undefined) throw corrupt(problem);
  return {
    cost,
    salt: bytes.slice(HEADER_LENGTH - SALT_LENGTH, HEADER_LENGTH),
    header: bytes.slice(0, HEADER_LENGTH),
    sealed: body.slice(HEADER_LENGTH),
  };
}

/** Canonical: one set of keys, one encoding. */
export function encodeKeys(keys: SoftwareKeys): Secret {
  const all = keys.all();
  const out = new Uint8Array(4 + all.length * ENTRY_LENGTH);
  out.set(uint32be(all.length));
  all.forEach(({ id, kind, secret }, index) => {
    const at = 4 + index * ENTRY_LENGTH;
    out.set(keyIdBytes(id), at);
    out[at + KEY_ID_LENGTH] = kindCodes[kind];
    out.set(secret.expose(), at + KEY_ID_LENGTH + 1);
  });
  return Secret.take(out);
}

/** Inverse of {@link encodeKeys}; accepts nothing else. @throws KEYSTORE_CORRUPT */
export function parseKeys(bytes: Uint8Array): SoftwareKeys {
  const reader = new ByteReader(bytes, corrupt);
  const count = reader.uint32();
  if (count > MAX_KEYS || reader.left !== count * ENTRY_LENGTH)
    throw corrupt(`content: ${bytes.length} bytes do not fit ${count} keys`);
  using onFailure = new DisposableStack();
  const keys: SoftwareKey[] = [];
  while (reader.left > 0) {
    const key = parseKey(reader.view(ENTRY_LENGTH));
    onFailure.use(key.secret);
    const last = keys.at(-1);
    if (last !== undefined && last.id >= key.id)
      throw corrupt(`content: key ids ${last.id} and ${key.id} do not ascend`);
    keys.push(key);
  }
  onFailure.move();
  return new SoftwareKeys(keys);
}

function parseKey(entry: Uint8Array): SoftwareKey {
  const id = keyIdOf(entry.subarray(0, KEY_ID_LENGTH));
  const code = entry[KEY_ID_LENGTH];
  const kind = (Object.keys(kindCodes) as SoftwareKeyKind[]).find(
    (name) => kindCodes[name] === code,
  );
  if (kind === undefined) throw corrupt(`content: key ${id} is of unknown kind ${code}`);
  const secret = entry.subarray(KEY_ID_LENGTH + 1);
  if (kind === 'p256' && !isP256Scalar(secret))
    throw corrupt(`content: key ${id} is not a P-256 scalar`);
  return { id, kind, secret: new Secret(secret) };
}

function corrupt(reason: string): KeyStoreError {
  return new KeyStoreError('KEYSTORE_CORRUPT', `sealed key file: ${reason}`);
}

/**
 * C2SP signed-note v1.0.0: a text with signature lines, and verifier key strings. Signature type 0x01 (Ed25519).
 *
 * Stricter than the specification where that costs nothing: base64 is canonical, and no (name, key ID) stands twice.
 */
import { createHash } from 'node:crypto';
import { concatBytes, uint32be, utf8 } from '#src/bytes';
import type { Ed25519 } from '#src/crypto/suite';
import { Secret } from '#src/secret';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { AuditError } from './errors.ts';

const maxNoteBytes = 1_000_000;
const maxSignatures = 100;
const ed25519Type = 0x01;

export interface NoteSignature {
  readonly name: string;
  /** Big-endian number of the 4-byte key ID. */
  readonly keyId: number;
  /** Without the key ID. */
  readonly signature: Uint8Array;
}

/** A well-formed note; nothing about it is verified. */
export interface Note {
  /** Ends in a line feed; the signed bytes are its UTF-8. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface NoteSigner {
  readonly name: string;
  readonly keyId: number;
  /** @param text the UTF-8 of the note text  @returns the signature without key ID */
  sign(text: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** An Ed25519 verifier key: `name+hash+base64` in text. */
export interface VerifierKey {
  readonly name: string;
  readonly keyId: number;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** @param seed 32 bytes, copied: the caller wipes its own */
export function ed25519NoteSigner(ed25519: Ed25519, name: string, seed: Uint8Array): NoteSigner {
  const { keyId } = verifierKey(name, ed25519.publicKey(seed));
  const secret = new Secret(seed);
  return { name, keyId, sign: (text) => ed25519.sign(text, secret.expose()) };
}

/** @throws AUDIT_BAD_KEY when the name is not a key name or the key is not 32 bytes */
export function verifierKey(name: string, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name))
    throw new AuditError('AUDIT_BAD_KEY', `not a key name: ${JSON.stringify(name)}`);
  if (publicKey.length !== 32) {
    throw new AuditError(
      'AUDIT_BAD_KEY',
      `key of ${name}: expected 32 bytes, got ${publicKey.length}`,
    );
  }
  return { name, keyId: keyIdOf(name, publicKey), publicKey };
}

export function formatVerifierKey(key: VerifierKey): string {
  const encoded = encodeBase64(concatBytes(Uint8Array.of(ed25519Type), key.publicKey));
  return `${key.name}+${key.keyId.toString(16).padStart(8, '0')}+${encoded}`;
}

/** Inverse of {@link formatVerifierKey}. @throws AUDIT_BAD_KEY */
export function parseVerifierKey(text: string): VerifierKey {
  const [, name, hash, encoded] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? [];
  const blob = encoded === undefined ? undefined : decodeBase64(encoded);
  if (name === undefined || hash === undefined || blob === undefined) {
    throw new AuditError(
      'AUDIT_BAD_KEY',
      `expected name+hash+base64, got ${JSON.stringify(text.slice(0, 200))}`,
    );
  }
  if (blob[0] !== ed25519Type) {
    throw new AuditError('AUDIT_BAD_KEY', `key of ${name}: expected type 1, got ${blob[0]}`);
  }
  const key = verifierKey(name, blob.subarray(1));
  if (key.keyId !== Number.parseInt(hash, 16)) {
    throw new AuditError('AUDIT_BAD_KEY', `key of ${name}: hash ${hash} is not that of the key`);
  }
  return key;
}

/**
 * The note with one signature line per signer, in that order.
 * @param text UTF-8 text ending in a line feed, without other control characters
 */
export async function signNote(text: string, signers: readonly NoteSigner[]): Promise<string> {
  const message = utf8(text);
  const signatures: NoteSignature[] = [];
  for (const signer of signers) {
    const { name, keyId } = signer;
    signatures.push({ name, keyId, signature: await signer.sign(message) });
  }
  const note = formatNote({ text, signatures });
  parseNote(note);
  return note;
}

export function formatNote(note: Note): string {
  const lines = note.signatures.map(({ name, keyId, signature }) => {
    return `\u2014 ${name} ${encodeBase64(concatBytes(uint32be(keyId), signature))}\n`;
  });
  return `${note.text}\n${lines.join('')}`;
}

/** Parses exactly what {@link formatNote} makes. @throws AUDIT_BAD_NOTE */
export function parseNote(note: string): Note {
  if (note.length > maxNoteBytes)
    throw bad(`note of ${note.length} characters, at most ${maxNoteBytes} accepted`);
  if (!note.isWellFormed()) throw bad('note is not Unicode text');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the specification forbids exactly these
  if (/[\u0000-\u0009\u000b-\u001f\u007f]/.test(note)) throw bad('note has a control character');
  const split = note.lastIndexOf('\n\n');
  if (split < 0 || !note.endsWith('\n')) throw bad('note has no signature block');
  const text = note.slice(0, split + 1);
  const lines = note.slice(split + 2, -1).split('\n');
  if (lines.length > maxSignatures)
    throw bad(`note has ${lines.length} signatures, at most ${maxSignatures} accepted`);
  const signatures = lines.map(parseSignatureLine);
  const seen = new Set(signatures.map(({ name, keyId }) => `${name} ${keyId}`));
  if (seen.size !== signatures.length) throw bad('note has two signatures of one key');
  return { text, signatures };
}

/**
 * The keys among `keys` that signed the note, at least one. Signatures of other keys are ignored.
 * @throws AUDIT_BAD_SIGNATURE when a signature under a known name and key ID does not verify
 * @throws AUDIT_NO_SIGNATURE when no known key signed
 */
export function verifyNote(
  note: Note,
  keys: readonly VerifierKey[],
  ed25519: Pick<Ed25519, 'verify'>,
): readonly VerifierKey[] {
  const message = utf8(note.text);
  const signedBy: VerifierKey[] = [];
  for (const { name, keyId, signature } of note.signatures) {
    const key = keys.find((candidate) => candidate.name === name && candidate.keyId === keyId);
    if (key === undefined) continue;
    if (!ed25519.verify(signature, message, key.publicKey)) {
      throw new AuditError('AUDIT_BAD_SIGNATURE', `signature of ${name} does not verify`);
    }
    signedBy.push(key);
  }
  if (signedBy.length === 0) {
    const names = note.signatures.map(({ name }) => name).join(', ');
    throw new AuditError(
      'AUDIT_NO_SIGNATURE',
      `note is signed by ${names}, none of the ${keys.length} known keys`,
    );
  }
  return signedBy;
}

function parseSignatureLine(line: string): NoteSignature {
  const [, name, encoded] = /^\u2014 ([^ ]+) ([A-Za-z0-9+/=]+)$/.exec(line) ?? [];
  if (name === undefined || encoded === undefined || !isKeyName(name)) {
    throw bad(`not a signature line: ${JSON.stringify(line.slice(0, 200))}`);
  }
  const blob = decodeBase64(encoded);
  if (blob === undefined || blob.length < 5)
    throw bad(`signature of ${name} is not base64 of key ID and signature`);
  const keyId = new DataView(blob.buffer, blob.byteOffset).getUint32(0);
  return { name, keyId, signature: blob.subarray(4) };
}

function isKeyName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a key name ends up in a note
  return /^[^\s+\u0000-\u001f\u007f]+$/u.test(name) && name.isWellFormed();
}

function keyIdOf(name: string, publicKey: Uint8Array): number {
  const material = concatBytes(utf8(`${name}\n`), Uint8Array.of(ed25519Type), publicKey);
  return createHash('sha256').update(material).digest().readUInt32BE(0);
}

function bad(message: string): AuditError {
  return new AuditError('AUDIT_BAD_NOTE', message);
}

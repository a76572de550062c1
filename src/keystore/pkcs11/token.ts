/**
 * One logged-in token, seen through the calls of PKCS#11; runs in the child process only.
 *
 * A login lives as long as the application has a session. So one session does nothing but keep it, and the
 * work goes through a second one that is thrown away after any error: a failed call may leave a session stuck.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Attribute, Handle, Mechanism, PKCS11, Template } from 'pkcs11js';
import { KEY_ID_LENGTH } from '../key-id.ts';
import type { SigningAlgorithm } from '../key-store.ts';
import { compressedPoint, lowS } from '../p256-form.ts';
import * as ck from './constants.ts';
import { faultOf, isSessionFault, returnValueOf, TokenFault } from './fault.ts';
import type { WireEntry, WireSigningKey } from './protocol.ts';

/** The calls that are made; a test puts a token with faults behind them. */
export type Cryptoki = Pick<
  PKCS11,
  | 'C_OpenSession'
  | 'C_CloseSession'
  | 'C_Logout'
  | 'C_GetTokenInfo'
  | 'C_GetMechanismList'
  | 'C_FindObjectsInit'
  | 'C_FindObjects'
  | 'C_FindObjectsFinal'
  | 'C_GetAttributeValue'
  | 'C_GenerateKey'
  | 'C_GenerateKeyPair'
  | 'C_DestroyObject'
  | 'C_SignInit'
  | 'C_Sign'
>;

/** CKA_LABEL of our objects: `list` shows these alone, a token may serve others too. */
const SIGNING_LABEL = 'kelmesh signing key';
const ROOT_LABEL = 'kelmesh derivation root';

/** CKA_EC_PARAMS: Ed25519 by name as a PrintableString, which every token with the mechanism takes; P-256 by OID. */
const ED25519_PARAMS = Buffer.from('130c656477617264733235353139', 'hex');
const P256_PARAMS = Buffer.from('06082a8648ce3d030107', 'hex');

const HASH_LENGTH = 32;
const FIND_BATCH = 64;

interface PrivateKeyHandle {
  readonly handle: Handle;
  readonly algorithm: SigningAlgorithm;
}

export class Token {
  readonly #cryptoki: Cryptoki;
  readonly #slot: Handle;
  readonly #mechanisms: ReadonlySet<number>;
  readonly #loginSession: Handle;
  #workSession: Handle | undefined;
  readonly #privateKeys = new Map<string, PrivateKeyHandle>();
  readonly #roots = new Map<string, Handle>();

  /** @param loginSession a read-write session on which the user is logged in; kept until `close` */
  constructor(cryptoki: Cryptoki, slot: Handle, loginSession: Handle) {
    this.#cryptoki = cryptoki;
    this.#slot = slot;
    this.#loginSession = loginSession;
    this.#mechanisms = new Set(cryptoki.C_GetMechanismList(slot));
  }

  /** Without an algorithm: Ed25519 where the token has it, else P-256. */
  generateSigningKey(algorithm?: SigningAlgorithm): WireSigningKey {
    const chosen = algorithm ?? (this.#mechanisms.has(ck.CKM_EDDSA) ? 'ed25519' : 'p256');
    const needed = chosen === 'ed25519' ? ck.CKM_EDDSA : ck.CKM_ECDSA;
    if (!this.#mechanisms.has(needed)) {
      throw new TokenFault(
        'KEYSTORE_UNSUPPORTED',
        `the token has no mechanism for ${chosen} signatures`,
      );
    }
    const id = randomBytes(KEY_ID_LENGTH);
    return this.#attempt(`generating a key pair (${chosen})`, true, (session) => {
      const { privateKey, publicKey } = this.#cryptoki.C_GenerateKeyPair(
        session,
        {
          mechanism: chosen === 'ed25519' ? ck.CKM_EC_EDWARDS_KEY_PAIR_GEN : ck.CKM_EC_KEY_PAIR_GEN,
        },
        publicTemplate(chosen, id),
        privateTemplate(chosen, id),
      );
      this.#requireUnreadable(session, privateKey, [privateKey, publicKey]);
      this.#privateKeys.set(hex(id), { handle: privateKey, algorithm: chosen });
      return { id, algorithm: chosen, publicKey: this.#publicKeyOf(session, publicKey, chosen) };
    });
  }

  signingKey(id: Uint8Array): WireSigningKey {
    return this.#attempt('reading a public key', false, (session) => {
      const { algorithm } = this.#privateKey(session, id);
      const publicKey = this.#findOne(session, ck.CKO_PUBLIC_KEY, id);
      if (publicKey === undefined) throw this.#noSuchKey('public key', id);
      return { id, algorithm, publicKey: this.#publicKeyOf(session, publicKey, algorithm) };
    });
  }

  sign(id: Uint8Array, message: Uint8Array): Uint8Array {
    return this.#attempt('signing', false, (session) => {
      const { handle, algorithm } = this.#privateKey(session, id);
      if (algorithm === 'ed25519') return this.#compute(session, ck.CKM_EDDSA, handle, message, 64);
      const digest = createHash('sha256').update(message).digest();
      return lowS(this.#compute(session, ck.CKM_ECDSA, handle, digest, 64));
    });
  }

  generateRoot(): Uint8Array {
    if (!this.#mechanisms.has(ck.CKM_SHA256_HMAC)) {
      throw new TokenFault(
        'KEYSTORE_UNSUPPORTED',
        'the token has no HMAC-SHA-256 for a derivation root',
      );
    }
    const id = randomBytes(KEY_ID_LENGTH);
    return this.#attempt('generating a derivation root', true, (session) => {
      const root = this.#generateSecret(session, id);
      this.#requireUnreadable(session, root, [root]);
      this.#roots.set(hex(id), root);
      return id;
    });
  }

  /** HKDF-Expand (RFC 5869 2.3) of HMAC calls: no token lets HKDF be reached through the binding. */
  prf(id: Uint8Array, label: Uint8Array, length: number): Uint8Array {
    return this.#attempt('deriving', false, (session) => {
      const root = this.#root(session, id);
      const out = new Uint8Array(length);
      let block = new Uint8Array(0);
      for (let at = 0, counter = 1; at < length; at += HASH_LENGTH, counter++) {
        const input = Buffer.concat([block, label, Uint8Array.of(counter)]);
        block.fill(0);
        block = new Uint8Array(
          this.#compute(session, ck.CKM_SHA256_HMAC, root, input, HASH_LENGTH),
        );
        out.set(block.subarray(0, length - at), at);
        input.fill(0);
      }
      block.fill(0);
      return out;
    });
  }

  destroy(id: Uint8Array): void {
    this.#attempt('destroying a key', false, (session) => {
      this.#privateKeys.delete(hex(id));
      this.#roots.delete(hex(id));
      for (const objectClass of [ck.CKO_PRIVATE_KEY, ck.CKO_SECRET_KEY, ck.CKO_PUBLIC_KEY]) {
        for (const handle of this.#find(session, [
          { type: ck.CKA_CLASS, value: objectClass },
          idAttribute(id),
        ])) {
          this.#cryptoki.C_DestroyObject(session, handle);
        }
      }
    });
  }

  list(): readonly WireEntry[] {
    return this.#attempt('listing keys', false, (session) => {
      const ofLabel = (objectClass: number, label: string): Handle[] =>
        this.#find(session, [
          { type: ck.CKA_CLASS, value: objectClass },
          { type: ck.CKA_LABEL, value: label },
        ]);
      const signing = ofLabel(ck.CKO_PRIVATE_KEY, SIGNING_LABEL).flatMap((handle): WireEntry[] => {
        const algorithm = this.#algorithmOf(session, handle);
        return algorithm === undefined
          ? []
          : [{ id: this.#idOf(session, handle), kind: 'signing', algorithm }];
      });
      const roots = ofLabel(ck.CKO_SECRET_KEY, ROOT_LABEL).map(
        (handle): WireEntry => ({
          id: this.#idOf(session, handle),
          kind: 'root',
          algorithm: undefined,
        }),
      );
      return [...signing, ...roots]
        .filter(({ id }) => id.length === KEY_ID_LENGTH)
        .sort((a, b) => Buffer.compare(a.id, b.id));
    });
  }

  /** Best effort: the process ends next, and a module may fail at anything after its token has gone. */
  close(): void {
    this.#dropWorkSession();
    try {
      this.#cryptoki.C_Logout(this.#loginSession);
      this.#cryptoki.C_CloseSession(this.#loginSession);
    } catch {
      // Nothing is left to save.
    }
  }

  #attempt<T>(doing: string, generating: boolean, work: (session: Handle) => T): T {
    try {
      return this.#run(work);
    } catch (error) {
      if (!isSessionFault(error)) throw faultOf(error, doing, generating);
    }
    try {
      return this.#run(work);
    } catch (error) {
      throw faultOf(error, doing, generating);
    }
  }

  #run<T>(work: (session: Handle) => T): T {
    try {
      this.#workSession ??= this.#cryptoki.C_OpenSession(
        this.#slot,
        ck.CKF_SERIAL_SESSION | ck.CKF_RW_SESSION,
      );
      return work(this.#workSession);
    } catch (error) {
      this.#dropWorkSession();
      throw error;
    }
  }

  #dropWorkSession(): void {
    const session = this.#workSession;
    this.#workSession = undefined;
    this.#privateKeys.clear();
    this.#roots.clear();
    if (session === undefined) return;
    try {
      this.#cryptoki.C_CloseSession(session);
    } catch {
      // A session that cannot be closed is gone already.
    }
  }

  #compute(
    session: Handle,
    mechanism: number,
    key: Handle,
    input: Uint8Array,
    length: number,
  ): Uint8Array {
    const parameters: Mechanism = { mechanism };
    this.#cryptoki.C_SignInit(session, parameters, key);
    const output = this.#cryptoki.C_Sign(session, asBuffer(input), Buffer.alloc(length));
    if (output.length !== length) {
      throw new TokenFault(
        'KEYSTORE_TOKEN_FAILED',
        `the token returned ${output.length} bytes instead of ${length}`,
      );
    }
    return new Uint8Array(output);
  }

  #generateSecret(session: Handle, id: Uint8Array): Handle {
    const template = (keyType: number): Template => [
      { type: ck.CKA_CLASS, value: ck.CKO_SECRET_KEY },
      { type: ck.CKA_KEY_TYPE, value: keyType },
      { type: ck.CKA_VALUE_LEN, value: HASH_LENGTH },
      { type: ck.CKA_VERIFY, value: false },
      ...unreadable,
      { type: ck.CKA_LABEL, value: ROOT_LABEL },
      idAttribute(id),
    ];
    const mechanism = { mechanism: ck.CKM_GENERIC_SECRET_KEY_GEN };
    try {
      return this.#cryptoki.C_GenerateKey(session, mechanism, template(ck.CKK_GENERIC_SECRET));
    } catch (error) {
      // Some tokens tie the key to its mechanism (YubiHSM 2, TPM); others know no such type (SoftHSM).
      if (returnValueOf(error) !== ck.CKR_TEMPLATE_INCONSISTENT) throw error;
      return this.#cryptoki.C_GenerateKey(session, mechanism, template(ck.CKK_SHA256_HMAC));
    }
  }

  /** A template is a wish: some modules ignore what they do not know. Destroys what does not keep it. */
  #requireUnreadable(session: Handle, key: Handle, created: readonly Handle[]): void {
    const isSensitive = this.#attribute(session, key, ck.CKA_SENSITIVE)[0] === 1;
    const isExtractable = this.#attribute(session, key, ck.CKA_EXTRACTABLE)[0] === 1;
    if (isSensitive && !isExtractable) return;
    for (const handle of created) this.#cryptoki.C_DestroyObject(session, handle);
    throw new TokenFault(
      'KEYSTORE_UNSUPPORTED',
      'the token made a key that could be read out; it was destroyed',
    );
  }

  #privateKey(session: Handle, id: Uint8Array): PrivateKeyHandle {
    const cached = this.#privateKeys.get(hex(id));
    if (cached !== undefined) return cached;
    const handle = this.#findOne(session, ck.CKO_PRIVATE_KEY, id);
    if (handle === undefined) throw this.#noSuchKey('signing key', id);
    const algorithm = this.#algorithmOf(session, handle);
    if (algorithm === undefined) throw this.#noSuchKey('Ed25519 or P-256 key', id);
    const found = { handle, algorithm };
    this.#privateKeys.set(hex(id), found);
    return found;
  }

  #root(session: Handle, id: Uint8Array): Handle {
    const cached = this.#roots.get(hex(id));
    if (cached !== undefined) return cached;
    const handle = this.#findOne(session, ck.CKO_SECRET_KEY, id);
    if (handle === undefined) throw this.#noSuchKey('derivation root', id);
    this.#roots.set(hex(id), handle);
    return handle;
  }

  /** A token that was pulled finds nothing either: ask it for a sign of life before saying so. */
  #noSuchKey(what: string, id: Uint8Array): TokenFault {
    try {
      this.#cryptoki.C_GetTokenInfo(this.#slot);
      this.#cryptoki.C_GetMechanismList(this.#slot);
    } catch (error) {
      return new TokenFault(
        'KEYSTORE_TOKEN_GONE',
        `looking for ${what} ${hex(id)}: the token does not answer (${returnValueOf(error)})`,
        'restart',
      );
    }
    return new TokenFault('KEYSTORE_NO_SUCH_KEY', `no ${what} ${hex(id)} in the token`);
  }

  #findOne(session: Handle, objectClass: number, id: Uint8Array): Handle | undefined {
    return this.#find(session, [{ type: ck.CKA_CLASS, value: objectClass }, idAttribute(id)])[0];
  }

  #find(session: Handle, template: Template): Handle[] {
    this.#cryptoki.C_FindObjectsInit(session, template);
    const found: Handle[] = [];
    for (;;) {
      const batch = this.#cryptoki.C_FindObjects(session, FIND_BATCH);
      found.push(...batch);
      if (batch.length === 0) break;
    }
    this.#cryptoki.C_FindObjectsFinal(session);
    return found;
  }

  #algorithmOf(session: Handle, handle: Handle): SigningAlgorithm | undefined {
    const keyType = Number(littleEndian(this.#attribute(session, handle, ck.CKA_KEY_TYPE)));
    if (keyType === ck.CKK_EC_EDWARDS) return 'ed25519';
    return keyType === ck.CKK_EC ? 'p256' : undefined;
  }

  #idOf(session: Handle, handle: Handle): Uint8Array {
    return new Uint8Array(this.#attribute(session, handle, ck.CKA_ID));
  }

  #publicKeyOf(session: Handle, handle: Handle, algorithm: SigningAlgorithm): Uint8Array {
    const point = unwrapOctetString(
      this.#attribute(session, handle, ck.CKA_EC_POINT),
      algorithm === 'ed25519' ? 32 : 65,
    );
    const publicKey = algorithm === 'ed25519' ? point : point && compressedPoint(point);
    if (publicKey === undefined)
      throw new TokenFault(
        'KEYSTORE_TOKEN_FAILED',
        `the token gave no valid ${algorithm} public key`,
      );
    return new Uint8Array(publicKey);
  }

  #attribute(session: Handle, handle: Handle, type: number): Buffer {
    return (
      this.#cryptoki.C_GetAttributeValue(session, handle, [{ type }])[0]?.value ?? Buffer.alloc(0)
    );
  }
}

const unreadable: Template = [
  { type: ck.CKA_TOKEN, value: true },
  { type: ck.CKA_PRIVATE, value: true },
  { type: ck.CKA_SENSITIVE, value: true },
  { type: ck.CKA_EXTRACTABLE, value: false },
  { type: ck.CKA_SIGN, value: true },
];

function privateTemplate(algorithm: SigningAlgorithm, id: Uint8Array): Template {
  return [
    { type: ck.CKA_CLASS, value: ck.CKO_PRIVATE_KEY },
    { type: ck.CKA_KEY_TYPE, value: algorithm === 'ed25519' ? ck.CKK_EC_EDWARDS : ck.CKK_EC },
    ...unreadable,
    { type: ck.CKA_LABEL, value: SIGNING_LABEL },
    idAttribute(id),
  ];
}

function publicTemplate(algorithm: SigningAlgorithm, id: Uint8Array): Template {
  return [
    { type: ck.CKA_CLASS, value: ck.CKO_PUBLIC_KEY },
    { type: ck.CKA_KEY_TYPE, value: algorithm === 'ed25519' ? ck.CKK_EC_EDWARDS : ck.CKK_EC },
    { type: ck.CKA_EC_PARAMS, value: algorithm === 'ed25519' ? ED25519_PARAMS : P256_PARAMS },
    { type: ck.CKA_TOKEN, value: true },
    { type: ck.CKA_PRIVATE, value: false },
    { type: ck.CKA_VERIFY, value: true },
    { type: ck.CKA_LABEL, value: SIGNING_LABEL },
    idAttribute(id),
  ];
}

function idAttribute(id: Uint8Array): Attribute {
  return { type: ck.CKA_ID, value: asBuffer(id) };
}

/** CKA_EC_POINT is a DER OCTET STRING by the standard; some modules give the bare point. */
function unwrapOctetString(value: Buffer, length: number): Buffer | undefined {
  if (value.length === length) return value;
  return value.length === length + 2 && value[0] === 0x04 && value[1] === length
    ? value.subarray(2)
    : undefined;
}

/** A CK_ULONG of this machine: little-endian on every platform that Node.js and the modules run on. */
function littleEndian(value: Buffer): bigint {
  return value.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * One logged-in token, seen through the calls of PKCS#11; runs in the child process only.
 *
 * A token that has ended the login by itself shows no private object, and answers a search as if there were none. So nothing is
 * missing before the login has been looked at; where a module lies about that too, not before a new one.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Handle, Mechanism, PKCS11, Template } from 'pkcs11js';
import { KEY_ID_LENGTH } from '../key-id.ts';
import type { SigningAlgorithm } from '../key-store.ts';
import { lowS } from '../p256-form.ts';
import type { WireEntry, WireSigningKey } from '../process/protocol.ts';
import * as ck from './constants.ts';
import { algorithmOf, CurveRefusal, curveForms, publicKeyOf, refusesCurve } from './curves.ts';
import { isSessionFault, returnValueOf, TokenFault } from './fault.ts';
import { type SessionCryptoki, TokenSessions } from './sessions.ts';
import {
  asBuffer,
  idAttribute,
  privateTemplate,
  publicTemplate,
  ROOT_LABEL,
  rootTemplate,
  SIGNING_LABEL,
} from './templates.ts';

/** The calls that are made; a test puts a token with faults behind them. */
export type Cryptoki = SessionCryptoki &
  Pick<
    PKCS11,
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
  readonly #sessions: TokenSessions;
  readonly #privateKeys = new Map<string, PrivateKeyHandle>();
  readonly #roots = new Map<string, Handle>();
  /** Private objects that this login has shown, and that we have not destroyed. */
  readonly #seen = new Set<string>();

  /** @param loginSession a read-write session on which the user is logged in; kept until `close` */
  constructor(cryptoki: Cryptoki, slot: Handle, loginSession: Handle) {
    this.#cryptoki = cryptoki;
    this.#slot = slot;
    this.#sessions = new TokenSessions(cryptoki, slot, loginSession, () => {
      this.#privateKeys.clear();
      this.#roots.clear();
    });
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
    let refusal = '';
    for (const curve of curveForms[chosen]) {
      try {
        return this.#generatePair(chosen, curve, id);
      } catch (error) {
        if (!(error instanceof CurveRefusal)) throw error;
        refusal = error.message;
      }
    }
    throw new TokenFault(
      'KEYSTORE_UNSUPPORTED',
      `the token takes the curve of ${chosen} in no form (${refusal})`,
    );
  }

  signingKey(id: Uint8Array): WireSigningKey {
    return this.#sessions.attempt('reading a public key', false, (session) => {
      const { algorithm } = this.#privateKey(session, id);
      const [publicKey] = this.#findAll(session, ck.CKO_PUBLIC_KEY, id);
      if (publicKey === undefined) throw this.#noSuchKey(session, 'public key', id);
      return { id, algorithm, publicKey: this.#publicKeyOf(session, publicKey, algorithm) };
    });
  }

  sign(id: Uint8Array, message: Uint8Array): Uint8Array {
    return this.#sessions.attempt('signing', false, (session) => {
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
    return this.#sessions.attempt('generating a derivation root', true, (session) => {
      const root = this.#generateSecret(session, id);
      this.#requireUnreadable(session, root, [root]);
      this.#roots.set(hex(id), root);
      this.#seen.add(hex(id));
      return id;
    });
  }

  /** HKDF-Expand (RFC 5869 2.3) of HMAC calls: no token lets HKDF be reached through the binding. */
  prf(id: Uint8Array, label: Uint8Array, length: number): Uint8Array {
    return this.#sessions.attempt('deriving', false, (session) => {
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
    this.#sessions.attempt('destroying a key', false, (session) => {
      this.#privateKeys.delete(hex(id));
      this.#roots.delete(hex(id));
      const ofClass = (objectClass: number) =>
        this.#find(session, [{ type: ck.CKA_CLASS, value: objectClass }, idAttribute(id)]);
      const secrets = [...ofClass(ck.CKO_PRIVATE_KEY), ...ofClass(ck.CKO_SECRET_KEY)];
      // Without login nothing private is found: the key would live on, and be called destroyed.
      if (secrets.length === 0)
        this.#requireLogin(`destroying ${hex(id)}`, this.#seen.has(hex(id)));
      for (const handle of [...secrets, ...ofClass(ck.CKO_PUBLIC_KEY)])
        this.#cryptoki.C_DestroyObject(session, handle);
      this.#seen.delete(hex(id));
    });
  }

  list(): readonly WireEntry[] {
    return this.#sessions.attempt('listing keys', false, (session) => {
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
      const entries = [...signing, ...roots]
        .filter(({ id }) => id.length === KEY_ID_LENGTH)
        .sort((a, b) => Buffer.compare(a.id, b.id));
      const listed = new Set(entries.map(({ id }) => hex(id)));
      this.#requireLogin(
        'listing keys',
        [...this.#seen].some((id) => !listed.has(id)),
      );
      for (const id of listed) this.#seen.add(id);
      return entries;
    });
  }

  /** @throws CurveRefusal when the token does not know the curve by this form of its name */
  #generatePair(algorithm: SigningAlgorithm, curve: Buffer, id: Uint8Array): WireSigningKey {
    return this.#sessions.attempt(`generating a key pair (${algorithm})`, true, (session) => {
      const { privateKey, publicKey } = this.#newPair(session, algorithm, curve, id);
      this.#requireUnreadable(session, privateKey, [privateKey, publicKey]);
      this.#privateKeys.set(hex(id), { handle: privateKey, algorithm });
      this.#seen.add(hex(id));
      return { id, algorithm, publicKey: this.#publicKeyOf(session, publicKey, algorithm) };
    });
  }

  #newPair(session: Handle, algorithm: SigningAlgorithm, curve: Buffer, id: Uint8Array) {
    const isEdwards = algorithm === 'ed25519';
    const mechanism = isEdwards ? ck.CKM_EC_EDWARDS_KEY_PAIR_GEN : ck.CKM_EC_KEY_PAIR_GEN;
    try {
      return this.#cryptoki.C_GenerateKeyPair(
        session,
        { mechanism },
        publicTemplate(algorithm, curve, id),
        privateTemplate(algorithm, id),
      );
    } catch (error) {
      const value = returnValueOf(error);
      if (refusesCurve(value)) throw new CurveRefusal(value);
      throw error;
    }
  }

  /** Best effort: the process ends next, and a module may fail at anything after its token has gone. */
  close(): void {
    this.#sessions.close();
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
    const mechanism = { mechanism: ck.CKM_GENERIC_SECRET_KEY_GEN };
    try {
      return this.#cryptoki.C_GenerateKey(
        session,
        mechanism,
        rootTemplate(ck.CKK_GENERIC_SECRET, id),
      );
    } catch (error) {
      // Some tokens tie the key to its mechanism (YubiHSM 2, TPM); others know no such type (SoftHSM).
      if (returnValueOf(error) !== ck.CKR_TEMPLATE_INCONSISTENT) throw error;
      return this.#cryptoki.C_GenerateKey(session, mechanism, rootTemplate(ck.CKK_SHA256_HMAC, id));
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
    // Another application's key may have the same identifier.
    for (const handle of this.#findAll(session, ck.CKO_PRIVATE_KEY, id)) {
      const algorithm = this.#algorithmOf(session, handle);
      if (algorithm === undefined) continue;
      const found = { handle, algorithm };
      this.#privateKeys.set(hex(id), found);
      this.#seen.add(hex(id));
      return found;
    }
    throw this.#noSuchKey(session, 'Ed25519 or P-256 key', id);
  }

  #root(session: Handle, id: Uint8Array): Handle {
    const cached = this.#roots.get(hex(id));
    if (cached !== undefined) return cached;
    const [handle] = this.#findAll(session, ck.CKO_SECRET_KEY, id);
    if (handle === undefined) throw this.#noSuchKey(session, 'derivation root', id);
    this.#roots.set(hex(id), handle);
    this.#seen.add(hex(id));
    return handle;
  }

  /**
   * A login that the token ended by itself is no missing key: a new one, and the question once more.
   * @param isMissed whether something does not show that was there in this login
   */
  #requireLogin(doing: string, isMissed: boolean): void {
    if (this.#sessions.isLoggedIn() && (this.#sessions.isFresh || !isMissed)) return;
    throw new TokenFault(
      'KEYSTORE_TOKEN_GONE',
      `${doing}: the token has ended the login`,
      'restart-and-retry',
    );
  }

  /** Whether this login shows nothing of what it must: then it says nothing of what else there is. */
  #isBlind(session: Handle, id: Uint8Array): boolean {
    const [known] = this.#seen;
    if (known === undefined || this.#seen.has(hex(id))) return true;
    const other = Buffer.from(known, 'hex');
    const classes = [ck.CKO_PRIVATE_KEY, ck.CKO_SECRET_KEY];
    return classes.every((each) => this.#findAll(session, each, other).length === 0);
  }

  /** A token that was pulled, or has ended the login, finds nothing either: ask it for a sign of life before saying so. */
  #noSuchKey(session: Handle, what: string, id: Uint8Array): TokenFault {
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
    this.#requireLogin(`looking for ${what} ${hex(id)}`, this.#isBlind(session, id));
    return new TokenFault('KEYSTORE_NO_SUCH_KEY', `no ${what} ${hex(id)} in the token`);
  }

  #findAll(session: Handle, objectClass: number, id: Uint8Array): readonly Handle[] {
    return this.#find(session, [{ type: ck.CKA_CLASS, value: objectClass }, idAttribute(id)]);
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
    return algorithmOf(keyType, this.#curveOf(session, handle));
  }

  /** Empty where the module gives it for public keys alone. */
  #curveOf(session: Handle, handle: Handle): Uint8Array {
    try {
      return this.#attribute(session, handle, ck.CKA_EC_PARAMS);
    } catch (error) {
      if (isSessionFault(error)) throw error;
      return new Uint8Array();
    }
  }

  #idOf(session: Handle, handle: Handle): Uint8Array {
    return new Uint8Array(this.#attribute(session, handle, ck.CKA_ID));
  }

  #publicKeyOf(session: Handle, handle: Handle, algorithm: SigningAlgorithm): Uint8Array {
    const value = this.#attribute(session, handle, ck.CKA_EC_POINT);
    const publicKey = publicKeyOf(algorithm, value);
    if (publicKey === undefined)
      throw new TokenFault(
        'KEYSTORE_TOKEN_FAILED',
        `the token gave no valid ${algorithm} public key`,
      );
    return publicKey;
  }

  #attribute(session: Handle, handle: Handle, type: number): Buffer {
    return (
      this.#cryptoki.C_GetAttributeValue(session, handle, [{ type }])[0]?.value ?? Buffer.alloc(0)
    );
  }
}

/** A CK_ULONG of this machine: little-endian on every platform that Node.js and the modules run on. */
function littleEndian(value: Buffer): bigint {
  return value.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

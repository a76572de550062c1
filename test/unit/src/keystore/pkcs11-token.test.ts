/** Faults that SoftHSM never shows: a token made of a table of return values. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import * as ck from '#src/keystore/pkcs11/constants';
import { returnValueOf, TokenFault } from '#src/keystore/pkcs11/fault';
import { initialiseToken, type LoginCryptoki, logIn } from '#src/keystore/pkcs11/login';
import { type Cryptoki, Token } from '#src/keystore/pkcs11/token';

const slot = Buffer.alloc(8);
const id = new Uint8Array(16).fill(1);
const message = new Uint8Array(3);
const USABLE = ck.CKF_TOKEN_INITIALIZED | ck.CKF_USER_PIN_INITIALIZED;

function ckr(value: number): Error {
  return Object.assign(new Error(`CKR_SOMETHING:${value}`), { code: value });
}

interface FakeToken {
  readonly cryptoki: Cryptoki;
  /** Names of the calls, in order. */
  readonly calls: string[];
  /** Errors for the coming calls of a function, taken from the front. */
  readonly faults: Partial<Record<keyof Cryptoki, (Error | undefined)[]>>;
}

type Answers = Partial<Record<keyof Cryptoki, (...args: never[]) => unknown>>;

/** Every key exists, is Ed25519, can be read out, and signs with zeros, unless `other` says otherwise. */
function fakeToken(other: Answers = {}): FakeToken {
  const calls: string[] = [];
  const faults: FakeToken['faults'] = {};
  let searching = false;
  const answers: Answers = {
    C_GetMechanismList: () => [ck.CKM_EDDSA, ck.CKM_SHA256_HMAC],
    C_OpenSession: () => Buffer.alloc(8, calls.length),
    C_FindObjectsInit: () => {
      searching = true;
    },
    C_FindObjects: () => {
      const found = searching ? [Buffer.alloc(8, 7)] : [];
      searching = false;
      return found;
    },
    C_GetAttributeValue: attributes((type) => (type === ck.CKA_KEY_TYPE ? ck.CKK_EC_EDWARDS : 1)),
    C_GenerateKey: () => Buffer.alloc(8, 9),
    C_GenerateKeyPair: () => ({ privateKey: Buffer.alloc(8, 5), publicKey: Buffer.alloc(8, 6) }),
    C_Sign: (_session: never, _data: never, output: never) => output,
    ...other,
  };
  const cryptoki = new Proxy({} as Cryptoki, {
    get: (_, property) => {
      const name = property as keyof Cryptoki;
      return (...args: never[]) => {
        calls.push(name);
        const fault = faults[name]?.shift();
        if (fault !== undefined) throw fault;
        return answers[name]?.(...args);
      };
    },
  });
  return { cryptoki, calls, faults };
}

/** C_GetAttributeValue of a token whose attributes are one byte each, but for the curve: that of Ed25519. */
function attributes(byteOf: (type: number) => number): (...args: never[]) => unknown {
  return (...[, , template]: [never, never, { type: number }[]]) =>
    template.map(({ type }) => ({
      type,
      value: type === ck.CKA_EC_PARAMS ? Buffer.from('06032b6570', 'hex') : Buffer.of(byteOf(type)),
    }));
}

function open(fake: FakeToken): Token {
  return new Token(fake.cryptoki, slot, Buffer.alloc(8, 0xff));
}

function failureOf(work: () => unknown): TokenFault['failure'] {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof TokenFault, String(error));
    return error.failure;
  }
  return assert.fail('no error');
}

describe('token', () => {
  it('reads the return value of an error from its code or its text', () => {
    assert.equal(returnValueOf(ckr(160)), 160);
    assert.equal(returnValueOf(new Error('CKR_PIN_LOCKED:164 at C_CreateObject')), 164);
    assert.equal(returnValueOf(new TypeError('argument 1')), undefined);
    assert.equal(returnValueOf('CKR_X:1'), undefined);
  });

  it('finds a key once, then signs with its handle in one session', () => {
    const fake = fakeToken();
    const token = open(fake);
    for (let i = 0; i < 3; i++) token.sign(id, message);
    assert.equal(fake.calls.filter((name) => name === 'C_FindObjectsInit').length, 1);
    assert.equal(fake.calls.filter((name) => name === 'C_OpenSession').length, 1);
  });

  it('throws the session away after any error, and finds the key anew', () => {
    const fake = fakeToken();
    const token = open(fake);
    token.sign(id, message);
    fake.faults.C_Sign = [ckr(ck.CKR_FUNCTION_FAILED)];
    assert.equal(failureOf(() => token.sign(id, message)).code, 'KEYSTORE_TOKEN_FAILED');
    assert.equal(fake.calls.at(-1), 'C_CloseSession');
    token.sign(id, message);
    assert.equal(fake.calls.filter((name) => name === 'C_OpenSession').length, 2);
    assert.equal(fake.calls.filter((name) => name === 'C_FindObjectsInit').length, 2);
  });

  for (const value of [
    ck.CKR_OPERATION_ACTIVE,
    ck.CKR_OPERATION_NOT_INITIALIZED,
    ck.CKR_SESSION_HANDLE_INVALID,
    ck.CKR_OBJECT_HANDLE_INVALID,
  ]) {
    it(`asks once more on a new session after 0x${value.toString(16)}, and only once`, () => {
      const fake = fakeToken();
      const token = open(fake);
      fake.faults.C_SignInit = [ckr(value)];
      token.sign(id, message);
      fake.faults.C_SignInit = [ckr(value), ckr(value), undefined];
      failureOf(() => token.sign(id, message));
      assert.equal(fake.faults.C_SignInit.length, 1, 'two attempts');
    });
  }

  it('says what to do after each class of error', () => {
    for (const [value, code, recovery] of [
      [ck.CKR_DEVICE_REMOVED, 'KEYSTORE_TOKEN_GONE', 'restart'],
      [ck.CKR_TOKEN_NOT_PRESENT, 'KEYSTORE_TOKEN_GONE', 'restart'],
      [ck.CKR_GENERAL_ERROR, 'KEYSTORE_TOKEN_GONE', 'restart'],
      [ck.CKR_DEVICE_ERROR, 'KEYSTORE_TOKEN_GONE', 'restart'],
      [ck.CKR_USER_NOT_LOGGED_IN, 'KEYSTORE_TOKEN_GONE', 'restart-and-retry'],
      [ck.CKR_DEVICE_MEMORY, 'KEYSTORE_FULL', 'none'],
      [ck.CKR_FUNCTION_FAILED, 'KEYSTORE_FULL', 'none'],
      [ck.CKR_MECHANISM_INVALID, 'KEYSTORE_UNSUPPORTED', 'none'],
      [0x1234, 'KEYSTORE_TOKEN_FAILED', 'none'],
    ] as const) {
      const fake = fakeToken();
      fake.faults.C_GenerateKey = [ckr(value)];
      const failure = failureOf(() => open(fake).generateRoot());
      assert.deepEqual([failure.code, failure.recovery], [code, recovery]);
      assert.match(failure.message, new RegExp(`0x${value.toString(16)}`));
    }
  });

  it('a key that is not found in a token that does not answer is not a missing key', () => {
    const fake = fakeToken({ C_FindObjects: () => [] });
    const token = open(fake);
    assert.equal(failureOf(() => token.sign(id, message)).code, 'KEYSTORE_NO_SUCH_KEY');
    fake.faults.C_GetMechanismList = [ckr(ck.CKR_GENERAL_ERROR)];
    assert.equal(failureOf(() => token.sign(id, message)).code, 'KEYSTORE_TOKEN_GONE');
  });

  it('destroys a new key that the token would give out', () => {
    const fake = fakeToken();
    assert.equal(failureOf(() => open(fake).generateRoot()).code, 'KEYSTORE_UNSUPPORTED');
    assert.equal(failureOf(() => open(fake).generateSigningKey()).code, 'KEYSTORE_UNSUPPORTED');
    assert.equal(fake.calls.filter((name) => name === 'C_DestroyObject').length, 3);
  });

  it('offers the other key type where a token ties an HMAC key to its mechanism', () => {
    const fake = fakeToken({
      C_GetAttributeValue: attributes((type) => (type === ck.CKA_SENSITIVE ? 1 : 0)),
    });
    fake.faults.C_GenerateKey = [ckr(ck.CKR_TEMPLATE_INCONSISTENT)];
    assert.equal(open(fake).generateRoot().length, 16);
    assert.equal(fake.calls.filter((name) => name === 'C_GenerateKey').length, 2);
  });

  it('closes without complaint when the token is gone', () => {
    const fake = fakeToken();
    const token = open(fake);
    token.sign(id, message);
    fake.faults.C_CloseSession = [ckr(ck.CKR_DEVICE_REMOVED)];
    fake.faults.C_Logout = [ckr(ck.CKR_DEVICE_REMOVED)];
    token.close();
  });
});

interface FakeReader {
  readonly cryptoki: LoginCryptoki;
  logins: number;
}

/** A reader with tokens of the given labels and flags; C_Login fails as told and then sets `flagsAfter`. */
function fakeReader(
  tokens: { label: string; flags: number }[],
  login?: Error,
  flagsAfter?: number,
): FakeReader {
  const reader: FakeReader = {
    logins: 0,
    cryptoki: {
      C_GetSlotList: () => tokens.map((_, index) => Buffer.of(index)),
      C_GetTokenInfo: (handle: Buffer) => {
        const token = tokens[handle[0] as number] as { label: string; flags: number };
        const flags = reader.logins > 0 ? (flagsAfter ?? token.flags) : token.flags;
        return { label: token.label, flags, model: 'Fake            ' };
      },
      C_OpenSession: () => Buffer.alloc(8),
      C_CloseSession: () => undefined,
      C_Logout: () => undefined,
      C_InitToken: () => '',
      C_InitPIN: () => undefined,
      C_Login: () => {
        reader.logins++;
        if (login !== undefined) throw login;
      },
    } as unknown as LoginCryptoki,
  };
  return reader;
}

describe('login', () => {
  it('takes the token of that label, padded with blanks or NUL, and strips the model', () => {
    for (const label of ['mesh', 'mesh'.padEnd(32), 'mesh'.padEnd(32, '\0')]) {
      const { cryptoki } = fakeReader([
        { label: 'other', flags: USABLE },
        { label, flags: USABLE },
      ]);
      const { slot: found, model, pinTriesLow } = logIn(cryptoki, 'mesh', '1234');
      assert.deepEqual([found[0], model, pinTriesLow], [1, 'Fake', false]);
    }
  });

  it('tells a missing and an ambiguous label, and an uninitialised token', () => {
    const two = fakeReader([
      { label: 'mesh', flags: USABLE },
      { label: 'mesh', flags: USABLE },
    ]);
    assert.equal(
      failureOf(() => logIn(two.cryptoki, 'mesh', '1')).code,
      'KEYSTORE_AMBIGUOUS_TOKEN',
    );
    const missing = failureOf(() => logIn(two.cryptoki, 'mash', '1'));
    assert.equal(missing.code, 'KEYSTORE_NO_TOKEN');
    assert.match(missing.message, /"mash"; present: "mesh", "mesh"/);
    const noPin = fakeReader([{ label: 'mesh', flags: ck.CKF_TOKEN_INITIALIZED }]);
    assert.equal(failureOf(() => logIn(noPin.cryptoki, 'mesh', '1')).code, 'KEYSTORE_NO_TOKEN');
    assert.equal(two.logins + noPin.logins, 0);
  });

  it('tries a PIN once, and says what is left of it', () => {
    for (const [after, expected] of [
      [USABLE, /wrong PIN$/],
      [USABLE | ck.CKF_USER_PIN_COUNT_LOW, /few tries are left/],
      [USABLE | ck.CKF_USER_PIN_COUNT_LOW | ck.CKF_USER_PIN_FINAL_TRY, /one try is left/],
      [USABLE | ck.CKF_USER_PIN_LOCKED, /locked now/],
    ] as const) {
      const reader = fakeReader(
        [{ label: 'mesh', flags: USABLE }],
        ckr(ck.CKR_PIN_INCORRECT),
        after,
      );
      const failure = failureOf(() => logIn(reader.cryptoki, 'mesh', '9876'));
      assert.equal(failure.code, 'KEYSTORE_WRONG_PIN');
      assert.match(failure.message, expected);
      assert.doesNotMatch(failure.message, /9876/);
      assert.equal(reader.logins, 1);
    }
  });

  it('never touches a PIN that is locked or has one try left', () => {
    for (const [flag, code] of [
      [ck.CKF_USER_PIN_LOCKED, 'KEYSTORE_PIN_LOCKED'],
      [ck.CKF_USER_PIN_FINAL_TRY, 'KEYSTORE_PIN_LAST_TRY'],
    ] as const) {
      const reader = fakeReader([{ label: 'mesh', flags: USABLE | flag }]);
      assert.equal(failureOf(() => logIn(reader.cryptoki, 'mesh', '1')).code, code);
      assert.equal(reader.logins, 0);
    }
    const locked = fakeReader([{ label: 'mesh', flags: USABLE }], ckr(ck.CKR_PIN_LOCKED));
    assert.equal(failureOf(() => logIn(locked.cryptoki, 'mesh', '1')).code, 'KEYSTORE_PIN_LOCKED');
  });

  it('warns when tries are low, and takes a login that is there already', () => {
    const low = fakeReader([{ label: 'mesh', flags: USABLE | ck.CKF_USER_PIN_COUNT_LOW }]);
    assert.equal(logIn(low.cryptoki, 'mesh', '1').pinTriesLow, true);
    const before = fakeReader(
      [{ label: 'mesh', flags: USABLE }],
      ckr(ck.CKR_USER_ALREADY_LOGGED_IN),
    );
    assert.equal(logIn(before.cryptoki, 'mesh', '1').model, 'Fake');
  });

  it('initialises only a free slot', () => {
    const full = fakeReader([{ label: 'mesh', flags: USABLE }]);
    assert.equal(
      failureOf(() => initialiseToken(full.cryptoki, 'new', '1', '2')).code,
      'KEYSTORE_NO_TOKEN',
    );
    assert.equal(
      failureOf(() => initialiseToken(full.cryptoki, 'mesh', '1', '2')).code,
      'KEYSTORE_TOKEN_EXISTS',
    );
  });
});

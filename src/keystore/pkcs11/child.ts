/**
 * The token process: loads the vendor's module, holds the login, answers one request at a time.
 *
 * It exists so that a crash of the module is not one of the agent, and so that the PIN, which the binding
 * takes only as a string that cannot be wiped, stays out of the agent's memory. It ends with its parent.
 */
import { unreachable } from '#src/errors';
import type { KeyStoreRequest, Results } from '../process/protocol.ts';
import { readSecret } from '../process/secret-channel.ts';
import { serveKeys } from '../process/serve.ts';
import { CKF_OS_LOCKING_OK, CKR_CRYPTOKI_ALREADY_INITIALIZED } from './constants.ts';
import { faultOf, returnValueOf, TokenFault } from './fault.ts';
import { initialiseToken, logIn } from './login.ts';
import { Token } from './token.ts';

type Module = InstanceType<typeof import('pkcs11js').PKCS11>;

let token: Token | undefined;

async function answer(request: KeyStoreRequest): Promise<Results[keyof Results]> {
  if (request.op === 'open') return openToken(request.module, request.tokenLabel);
  if (request.op === 'initialise') {
    const cryptoki = await loadModule(request.module);
    const soPin = nextPin();
    initialiseToken(cryptoki, request.tokenLabel, soPin, nextPin());
    return undefined;
  }
  if (request.op === 'openFile' || request.op === 'createFile' || request.op === 'backUp')
    throw new TokenFault('KEYSTORE_UNSUPPORTED', `${request.op}: this process holds a token`);
  if (token === undefined)
    throw new TokenFault('KEYSTORE_TOKEN_FAILED', `${request.op}: no token is open`);
  switch (request.op) {
    case 'generateSigningKey':
      return token.generateSigningKey(request.algorithm);
    case 'signingKey':
      return token.signingKey(request.id);
    case 'sign':
      return token.sign(request.id, request.message);
    case 'generateRoot':
      return token.generateRoot();
    case 'prf':
      return token.prf(request.id, request.label, request.length);
    case 'destroy':
      return token.destroy(request.id) as undefined;
    case 'list':
      return token.list();
    case 'close':
      return token.close() as undefined;
    default:
      return unreachable(request);
  }
}

async function openToken(path: string, tokenLabel: string): Promise<Results['open']> {
  const pin = nextPin();
  const cryptoki = await loadModule(path);
  const { slot, session, model, pinTriesLow } = logIn(cryptoki, tokenLabel, pin);
  token = new Token(cryptoki, slot, session);
  return { model, pinTriesLow };
}

async function loadModule(path: string): Promise<Module> {
  const { PKCS11 } = await loadBinding();
  const cryptoki = new PKCS11();
  try {
    cryptoki.load(path);
  } catch (error) {
    throw new TokenFault(
      'KEYSTORE_NO_MODULE',
      `PKCS#11 module: ${error instanceof Error ? error.message : path}`,
    );
  }
  try {
    cryptoki.C_Initialize({ flags: CKF_OS_LOCKING_OK });
  } catch (error) {
    if (returnValueOf(error) !== CKR_CRYPTOKI_ALREADY_INITIALIZED)
      throw faultOf(error, `initialising ${path}`, false);
  }
  return cryptoki;
}

async function loadBinding(): Promise<typeof import('pkcs11js')> {
  try {
    const binding = await import('pkcs11js');
    return binding.default as unknown as typeof import('pkcs11js');
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : '';
    throw new TokenFault('KEYSTORE_NO_PKCS11', `pkcs11js does not load: ${reason}`);
  }
}

/** PKCS#11 3.1: a PIN has at most 255 bytes with every module that is known. */
const MAX_PIN_LENGTH = 255;

/** A string, because the binding takes nothing else: this process is its last place. */
function nextPin(): string {
  using pin = readSecret();
  if (pin === undefined || pin.length > MAX_PIN_LENGTH)
    throw new TokenFault(
      'KEYSTORE_BAD_LENGTH',
      `PIN: expected at most ${MAX_PIN_LENGTH} bytes, got ${pin?.length ?? 'none'}`,
    );
  return Buffer.from(pin.expose().buffer, pin.expose().byteOffset, pin.length).toString('utf8');
}

serveKeys(answer, (error, request) => faultOf(error, request.op, false).failure);

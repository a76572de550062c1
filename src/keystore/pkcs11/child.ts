/**
 * The token process: loads the vendor's module, holds the login, answers one request at a time.
 *
 * It exists so that a crash of the module is not one of the agent, and so that the PIN, which the binding
 * takes only as a string that cannot be wiped, stays out of the agent's memory. It ends with its parent.
 */
import { unreachable } from '#src/errors';
import { CKF_OS_LOCKING_OK, CKR_CRYPTOKI_ALREADY_INITIALIZED } from './constants.ts';
import { faultOf, returnValueOf, TokenFault } from './fault.ts';
import { initialiseToken, logIn } from './login.ts';
import { parseRequest, type Reply, type Request, type Results } from './protocol.ts';
import { Token } from './token.ts';

type Module = InstanceType<typeof import('pkcs11js').PKCS11>;

let token: Token | undefined;

async function answer(request: Request): Promise<Results[keyof Results]> {
  if (request.op === 'open') return openToken(request.module, request.tokenLabel, request.pin);
  if (request.op === 'initialise') {
    const cryptoki = await loadModule(request.module);
    initialiseToken(cryptoki, request.tokenLabel, textOf(request.soPin), textOf(request.pin));
    return undefined;
  }
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

async function openToken(
  path: string,
  tokenLabel: string,
  pin: Uint8Array,
): Promise<Results['open']> {
  const cryptoki = await loadModule(path);
  const { slot, session, model, pinTriesLow } = logIn(cryptoki, tokenLabel, textOf(pin));
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

function textOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  bytes.fill(0);
  return text;
}

async function reply(message: unknown): Promise<Reply> {
  const request = parseRequest(message);
  if (request === undefined) {
    return {
      ok: false,
      failure: { code: 'KEYSTORE_TOKEN_FAILED', message: 'malformed request', recovery: 'restart' },
    };
  }
  try {
    return { ok: true, value: await answer(request) };
  } catch (error) {
    return { ok: false, failure: faultOf(error, request.op, false).failure };
  }
}

// A terminal's interrupt and the service manager's stop go to every process; the parent decides when this one ends.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit(0));
process.on('message', (message) => {
  void reply(message).then((answered) => process.send?.(answered));
});

/** The token process on a real SoftHSM, and processes that misbehave. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { after, afterEach, before, describe, it } from 'mocha';
import { hkdfExpand } from '#src/crypto/hash';
import type { KeyId } from '#src/keystore/key-store';
import {
  type Pkcs11Event,
  Pkcs11KeyStore,
  type Pkcs11Options,
} from '#src/keystore/pkcs11/pkcs11-key-store';
import { provisionSoftHsm } from '#src/keystore/pkcs11/softhsm';
import { findInMemory } from '../../../support/machines/process-memory.ts';
import {
  createTestToken,
  PIN,
  pinOf,
  softHsmProblem,
  type TestToken,
  TOKEN_LABEL,
} from '../../../support/machines/softhsm.ts';
import { skip } from '../../../support/skip.ts';

const run = promisify(execFile);
const repository = new URL('../../../..', import.meta.url);
const message = Buffer.from('message');

describe('PKCS#11 key store on SoftHSM', () => {
  let token: TestToken | undefined;
  const open: Pkcs11KeyStore[] = [];

  before(async function () {
    const problem = await softHsmProblem();
    if (problem !== undefined) skip(this, problem);
    token = await createTestToken();
  });
  afterEach(async () => {
    for (const store of open.splice(0)) await store.close();
  });
  after(() => token?.remove());

  /** Opens the token and notes what it reports. */
  async function start(
    options: Partial<Pkcs11Options> = {},
  ): Promise<{ store: Pkcs11KeyStore; events: Pkcs11Event[] }> {
    const events: Pkcs11Event[] = [];
    const store = await (token as TestToken).open({
      onEvent: (event) => events.push(event),
      ...options,
    });
    open.push(store);
    return { store, events };
  }

  it('makes a token whose files only the owner reads, and not a second one over it', async () => {
    const { directory, environment } = token as TestToken;
    assert.equal((await stat(join(directory, 'tokens'))).mode & 0o777, 0o700);
    assert.equal((await stat(environment['SOFTHSM2_CONF'] as string)).mode & 0o777, 0o600);
    await assert.rejects(provisionSoftHsm(directory, TOKEN_LABEL, pinOf('1234'), pinOf('1234')), {
      code: 'KEYSTORE_TOKEN_EXISTS',
    });
    await assert.rejects(
      provisionSoftHsm(directory, 'x'.repeat(33), pinOf('1234'), pinOf('1234')),
      {
        code: 'KEYSTORE_BAD_LENGTH',
      },
    );
  });

  it('shows the PIN neither in argv nor in the environment of its process', async () => {
    const { events } = await start();
    const pid = pidOf(events[0]);
    for (const file of ['cmdline', 'environ']) {
      const content = await readFile(`/proc/${pid}/${file}`, 'latin1');
      assert.ok(content.length > 0);
      assert.ok(!content.includes(PIN));
    }
  });

  /** A process that opens the token with the PIN of a file, signs, and waits. */
  async function holder(options: string): Promise<{ pid: number; end(): Promise<unknown> }> {
    const { module, environment, directory } = token as TestToken;
    const file = join(directory, 'pin');
    await writeFile(file, PIN, { mode: 0o600 });
    const program = `
      import { readSecretFile } from '#agent/organisation/config/secrets';
      import { Pkcs11KeyStore } from '#src/keystore/pkcs11/pkcs11-key-store';
      const pinAgain = () => readSecretFile(${JSON.stringify(file)});
      const pin = pinAgain();
      const store = await Pkcs11KeyStore.open({ module: ${JSON.stringify(module)}, tokenLabel: '${TOKEN_LABEL}', pin,
        environment: ${JSON.stringify(environment)}, ${options} });
      pin[Symbol.dispose]();
      await store.generateRoot();
      console.log('open');
      process.on('SIGTERM', async () => { await store.close(); process.exit(0); });`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: repository,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
    return {
      pid: child.pid as number,
      end: async () => {
        const exited = once(child, 'exit');
        child.kill();
        await exited;
      },
    };
  }

  it('keeps the PIN in its memory only when there is no other way to have it again', async function () {
    this.timeout(60_000);
    const wanted = { pin: Buffer.from(PIN) };
    for (const [options, expected] of [
      ['pinAgain', []],
      ['', ['pin']],
    ] as const) {
      const process = await holder(options);
      try {
        assert.deepEqual([...findInMemory(process.pid, wanted)], expected, options);
      } finally {
        await process.end();
      }
    }
  });

  it('logs in again with the PIN from its source', async () => {
    let asked = 0;
    const { store, events } = await start({
      pinAgain: () => {
        asked++;
        return pinOf(PIN);
      },
    });
    process.kill(pidOf(events[0]), 'SIGKILL');
    await until(() => events.some(({ kind }) => kind === 'process-ended'));
    await store.generateRoot();
    assert.equal(asked, 1);
  });

  it('prf equals HKDF-Expand in software, given the same root', async () => {
    const root = Buffer.from(
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      'hex',
    );
    const id = 'aa'.repeat(16);
    await inToken(
      token as TestToken,
      `cryptoki.C_CreateObject(session, [
        { type: p.CKA_CLASS, value: p.CKO_SECRET_KEY }, { type: p.CKA_KEY_TYPE, value: p.CKK_GENERIC_SECRET },
        { type: p.CKA_TOKEN, value: true }, { type: p.CKA_SIGN, value: true }, { type: p.CKA_ID, value: Buffer.from('${id}', 'hex') },
        { type: p.CKA_VALUE, value: Buffer.from('${root.toString('hex')}', 'hex') }]);`,
    );
    const { store } = await start();
    for (const length of [1, 32, 33, 64, 500, 8160]) {
      const derived = await store.prf(id as KeyId, message, length);
      assert.deepEqual(
        Buffer.from(derived.expose()),
        Buffer.from(hkdfExpand(root, message, length)),
      );
    }
  });

  it('generates keys that never were readable and never will be', async () => {
    const { store } = await start();
    const keys = [
      await store.generateSigningKey('ed25519'),
      await store.generateSigningKey('p256'),
    ].map(({ id }) => id);
    keys.push(await store.generateRoot());
    await store.close();
    const seen = await inToken(
      token as TestToken,
      `const seen = [];
      for (const id of ${JSON.stringify(keys)}) for (const type of [p.CKO_PRIVATE_KEY, p.CKO_SECRET_KEY]) {
        cryptoki.C_FindObjectsInit(session, [{ type: p.CKA_CLASS, value: type }, { type: p.CKA_ID, value: Buffer.from(id, 'hex') }]);
        const [key] = cryptoki.C_FindObjects(session, 1);
        cryptoki.C_FindObjectsFinal(session);
        if (key === undefined) continue;
        const flags = [p.CKA_TOKEN, p.CKA_PRIVATE, p.CKA_ALWAYS_SENSITIVE, p.CKA_NEVER_EXTRACTABLE, p.CKA_EXTRACTABLE];
        const values = flags.map((type) => cryptoki.C_GetAttributeValue(session, key, [{ type }])[0].value[0]);
        let read = 'read';
        try { cryptoki.C_GetAttributeValue(session, key, [{ type: p.CKA_VALUE }]); } catch (error) { read = error.code; }
        seen.push([...values, read]);
      }
      console.log(JSON.stringify(seen));`,
    );
    const sensitive = 0x11;
    assert.deepEqual(JSON.parse(seen), Array(3).fill([1, 1, 1, 1, 0, sensitive]));
  });

  it('a wrong PIN is told once, and without the PIN', async () => {
    await assert.rejects(start({ pin: pinOf('314159') }), (error: Error & { code: string }) => {
      assert.equal(error.code, 'KEYSTORE_WRONG_PIN');
      assert.doesNotMatch(error.message + error.stack, /314159/);
      return true;
    });
    // SoftHSM keeps the flag that a try failed until the right PIN comes.
    const { events } = await start();
    assert.ok(events.some(({ kind }) => kind === 'pin-tries-low'));
  });

  it('names what is missing: token, module, binding', async () => {
    await assert.rejects(start({ tokenLabel: 'other' }), {
      code: 'KEYSTORE_NO_TOKEN',
      message: /"other".*"kelmesh test"/,
    });
    await assert.rejects(start({ module: '/nowhere/module.so' }), {
      code: 'KEYSTORE_NO_MODULE',
      message: /nowhere/,
    });
    await assert.rejects(start({ module: '/proc/version' }), { code: 'KEYSTORE_NO_MODULE' });
    const childPath = join((token as TestToken).directory, 'without-binding.mjs');
    await writeFile(
      childPath,
      `import { registerHooks } from 'node:module';
      registerHooks({ resolve(name, context, next) { if (name === 'pkcs11js') throw new Error('not built'); return next(name, context); } });
      await import(${JSON.stringify(new URL('src/keystore/pkcs11/child.ts', repository).href)});`,
    );
    await assert.rejects(start({ childPath }), { code: 'KEYSTORE_NO_PKCS11' });
  });

  it('starts its process again when it was killed, at the next call', async () => {
    const { store, events } = await start();
    const key = await store.generateSigningKey();
    process.kill(pidOf(events[0]), 'SIGKILL');
    await until(() => events.some(({ kind }) => kind === 'process-ended'));
    assert.equal((await store.sign(key.id, message)).length, 64);
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['process-started', 'process-ended', 'process-started'],
    );
    assert.match(JSON.stringify(events[1]), /SIGKILL/);
  });

  it('ignores the interrupt of the terminal: its parent decides', async () => {
    const { store, events } = await start();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.kill(pidOf(events[0]), signal);
    await store.list();
    assert.equal(events.length, 1);
  });

  it('a token that is pulled is told, and found again when it is back', async () => {
    const { store, events } = await start();
    const key = await store.generateSigningKey();
    await store.sign(key.id, message);
    const tokens = join((token as TestToken).directory, 'tokens');
    await rename(tokens, `${tokens}.pulled`);
    try {
      await assert.rejects(store.generateRoot(), { code: 'KEYSTORE_TOKEN_GONE' });
      await assert.rejects(store.sign(key.id, message), { code: 'KEYSTORE_TOKEN_GONE' });
    } finally {
      await rename(`${tokens}.pulled`, tokens);
    }
    assert.equal((await store.sign(key.id, message)).length, 64);
    assert.ok(events.length >= 3);
  });

  it('ends its process when it closes, and when the parent is killed', async () => {
    const { store, events } = await start();
    const pid = pidOf(events[0]);
    await store.close();
    assert.throws(() => process.kill(pid, 0));
    const { module, environment } = token as TestToken;
    const program = `
      import { Pkcs11KeyStore } from '#src/keystore/pkcs11/pkcs11-key-store';
      import { Secret } from '#src/secret';
      const options = ${JSON.stringify({ module, environment, tokenLabel: TOKEN_LABEL })};
      await Pkcs11KeyStore.open({ ...options, pin: new Secret(Buffer.from('${PIN}')), onEvent: ({ pid }) => console.log(pid) });
      console.log('open');`;
    const parent = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: repository,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    for await (const chunk of parent.stdout) {
      output += chunk;
      if (output.includes('open')) break;
    }
    const orphan = Number.parseInt(output, 10);
    assert.ok(isAlive(orphan));
    parent.kill('SIGKILL');
    await until(() => !isAlive(orphan));
  });
});

describe('a token process that misbehaves', () => {
  let directory: string;
  let calls: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kelmesh-child-'));
    calls = join(directory, 'calls');
  });
  after(() => rm(directory, { recursive: true }));
  afterEach(() => rm(calls, { force: true }));

  /** A process that notes what it is asked; `behaviour` sees the request and how often it was made in all processes. */
  async function start(behaviour: string, timeout?: number): Promise<Pkcs11KeyStore> {
    const childPath = join(directory, 'child.mjs');
    await writeFile(
      childPath,
      `import { appendFileSync, readFileSync } from 'node:fs';
      const ok = (value) => process.send({ ok: true, value });
      const fail = (code, recovery = 'none') => process.send({ ok: false, failure: { code, message: code, recovery } });
      process.on('disconnect', () => process.exit());
      process.on('message', ({ op }) => {
        appendFileSync(${JSON.stringify(calls)}, op + ' ');
        const nth = readFileSync(${JSON.stringify(calls)}, 'utf8').split(' ').filter((one) => one === op).length;
        if (op === 'close') return ok();
        ${behaviour}
        if (op === 'open') return ok({ model: 'Fake', pinTriesLow: false });
        if (op === 'list') return ok([]);
      });`,
    );
    const options = timeout === undefined ? {} : { timeout };
    return Pkcs11KeyStore.open({
      module: childPath,
      tokenLabel: 'x',
      pin: pinOf('1'),
      childPath,
      ...options,
    });
  }

  const asked = async () => (await readFile(calls, 'utf8')).trim().split(' ');

  it('that ends in the middle of a request fails that request only', async () => {
    const store = await start(`if (op === 'list' && nth === 1) process.exit(3);`);
    await assert.rejects(store.list(), { code: 'KEYSTORE_CHILD_DIED', message: /exit code 3/ });
    assert.deepEqual(await store.list(), []);
    await store.close();
    assert.deepEqual(await asked(), ['open', 'list', 'open', 'list', 'close']);
  });

  it('that lost its login is started again within the call, once', async () => {
    const store = await start(
      `if (op === 'list') return fail('KEYSTORE_TOKEN_GONE', 'restart-and-retry');`,
    );
    await assert.rejects(store.list(), { code: 'KEYSTORE_TOKEN_GONE' });
    await store.close();
    assert.deepEqual(await asked(), ['open', 'list', 'open', 'list']);
  });

  for (const code of ['KEYSTORE_WRONG_PIN', 'KEYSTORE_PIN_LOCKED', 'KEYSTORE_PIN_LAST_TRY']) {
    it(`that answers ${code} is never sent the PIN again`, async () => {
      const store = await start(`
        if (op === 'list') process.exit(0);
        if (op === 'open' && nth > 1) return fail('${code}');`);
      await assert.rejects(store.list(), { code: 'KEYSTORE_CHILD_DIED' });
      for (let i = 0; i < 3; i++) await assert.rejects(store.list(), { code });
      await store.close();
      assert.deepEqual(await asked(), ['open', 'list', 'open']);
    });
  }

  it('that does not answer in time is ended', async () => {
    // Long enough for a process to start on a busy machine.
    const store = await start(`if (op === 'list') return;`, 2500);
    await assert.rejects(store.list(), { code: 'KEYSTORE_TOKEN_GONE', message: /no answer/ });
    await store.close();
    assert.deepEqual(await asked(), ['open', 'list'], 'there is nothing left to close');
  });

  for (const [what, value] of [
    ['nonsense', `'nonsense'`],
    ['a result of another form', `{ ok: true, value: [{ id: new Uint8Array(3), kind: 'root' }] }`],
    ['an unknown code', `{ ok: false, failure: { code: 'X', message: '', recovery: 'none' } }`],
  ] as const) {
    it(`that answers ${what} is ended`, async () => {
      const store = await start(`if (op === 'list' && nth === 1) return process.send(${value});`);
      await assert.rejects(store.list(), { code: 'KEYSTORE_CHILD_DIED', message: /reply/ });
      assert.deepEqual(await store.list(), []);
      await store.close();
    });
  }

  it('whose token was there before and is not now says gone, not unknown', async () => {
    const store = await start(`
      if (op === 'list' && nth === 1) process.exit(0);
      if (op === 'open' && nth === 2) return fail('KEYSTORE_NO_TOKEN', 'restart');`);
    await assert.rejects(store.list(), { code: 'KEYSTORE_CHILD_DIED' });
    await assert.rejects(store.list(), { code: 'KEYSTORE_TOKEN_GONE' });
    assert.deepEqual(await store.list(), []);
    await store.close();
  });

  it('that cannot be started at all is told', async () => {
    await assert.rejects(start('throw new Error("module crashed");'), {
      code: 'KEYSTORE_CHILD_DIED',
    });
  });
});

/** Runs statements in another process that is logged in to the token as the binding sees it. */
async function inToken({ module, environment }: TestToken, statements: string): Promise<string> {
  const program = `
    import p from 'pkcs11js';
    const cryptoki = new p.PKCS11();
    cryptoki.load(${JSON.stringify(module)});
    cryptoki.C_Initialize();
    const slot = cryptoki.C_GetSlotList(true).find((one) => cryptoki.C_GetTokenInfo(one).label.trim() === '${TOKEN_LABEL}');
    const session = cryptoki.C_OpenSession(slot, p.CKF_RW_SESSION | p.CKF_SERIAL_SESSION);
    cryptoki.C_Login(session, p.CKU_USER, '${PIN}');
    ${statements}`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: repository,
    env: { ...process.env, ...environment },
  });
  return stdout;
}

function pidOf(event: Pkcs11Event | undefined): number {
  assert.ok(event?.kind === 'process-started' && event.pid !== undefined);
  return event.pid;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Fails by the timeout of the test. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(10);
}

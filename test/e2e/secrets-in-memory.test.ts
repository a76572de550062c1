/** What a thief of memory gets: of a real agent with a tunnel, with the tier in which keys are a file. */
import assert from 'node:assert/strict';
import { argon2Sync } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { coreLimitOf } from '#src/confinement';
import { open } from '#src/crypto/aead';
import { parseKeys, parseSealedFile } from '#src/keystore/sealed-file-format';
import { Secret } from '#src/secret';
import {
  eventually,
  joinTwoMachines,
  type Machine,
  tunnelUp,
} from '../support/machines/federation.ts';
import { findInMemory } from '../support/machines/process-memory.ts';
import { withMachines } from '../support/machines/with-machines.ts';

const MAIN = fileURLToPath(new URL('../../agent/main.ts', import.meta.url));
/** 9229, as /proc/net/tcp writes it. */
const INSPECTOR = ':240D';

describe('secrets of a running agent', () => {
  let a: Machine;
  let b: Machine;

  withMachines(['a', 'b'], async (machines) => {
    a = machines.get('a');
    b = machines.get('b');
    await joinTwoMachines(a, b);
    await Promise.all([tunnelUp(a), tunnelUp(b)]);
  });

  const passphraseOf = (machine: Machine) =>
    Buffer.from(machine.read('/var/lib/kelmesh/secret').trim());

  /** Root, current and next seeds, as the sealed file has them now. */
  function secretsOf(machine: Machine): Readonly<Record<string, Uint8Array>> {
    const bytes = readFileSync(machine.path('/var/lib/kelmesh/keys.sealed'));
    const { cost, salt, header, sealed } = parseSealedFile(new Uint8Array(bytes));
    const message = passphraseOf(machine);
    const key = argon2Sync('argon2id', {
      ...{ message, nonce: salt, memory: cost.memory },
      ...{ passes: cost.passes, parallelism: cost.lanes, tagLength: 32 },
    });
    const keys = parseKeys(open(new Secret(key), sealed, header)).all();
    const named = keys.map(({ id, kind, secret }) => [`${kind} ${id}`, secret.expose()] as const);
    return { ...Object.fromEntries(named), passphrase: message, 'file key': key };
  }

  async function keyProcessOf(machine: Machine, agent: number): Promise<number> {
    for (const pid of await machine.processes()) {
      const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (Number(parent) === agent && command.includes('sealed-file-child')) return pid;
    }
    return assert.fail(`${machine.name}: the agent has no process for its keys`);
  }

  async function expectKeysOutside(machine: Machine): Promise<void> {
    const agent = await machine.agentPid();
    const secrets = secretsOf(machine);
    const kinds = Object.keys(secrets).map((name) => name.split(' ')[0]);
    assert.ok(kinds.filter((kind) => kind === 'ed25519').length >= 2, 'current and next');
    assert.ok(kinds.includes('root'));
    assert.deepEqual([...findInMemory(agent, secrets)], []);
    // The controls: the same search finds what is there, in the agent and in the process of its keys.
    const { aid } = await machine.json('status');
    const known = { aid: Buffer.from(aid as string), missing: Buffer.from('x7'.repeat(20)) };
    assert.deepEqual([...findInMemory(agent, known)], ['aid']);
    const { passphrase: _, ...keys } = secrets;
    const inKeyProcess = findInMemory(await keyProcessOf(machine, agent), keys);
    assert.deepEqual([...inKeyProcess].sort(), Object.keys(keys).sort());
  }

  it('are not in its memory: passphrase, root, current and next seeds', async function () {
    this.timeout(60_000);
    await expectKeysOutside(a);
    await expectKeysOutside(b);
  });

  it('are not in its memory after a rotation of the log, when all of them are others', async function () {
    this.timeout(60_000);
    const before = Object.keys(secretsOf(a));
    await a.ok('id', 'rotate');
    assert.notDeepEqual(Object.keys(secretsOf(a)), before);
    await expectKeysOutside(a);
  });

  it('stand in no argument and no environment', async () => {
    const agent = await a.agentPid();
    const environment = readFileSync(`/proc/${agent}/environ`);
    const passphrase = passphraseOf(a);
    for (const pid of [agent, await keyProcessOf(a, agent)])
      for (const file of ['environ', 'cmdline'])
        assert.equal(readFileSync(`/proc/${pid}/${file}`).includes(passphrase), false);
    assert.ok(environment.length > 0);
  });

  it('are used on when the key process was killed: it starts again from the secret file', async function () {
    this.timeout(60_000);
    const agent = await a.agentPid();
    const former = await keyProcessOf(a, agent);
    process.kill(former, 'SIGKILL');
    await eventually('the process is gone', async () => !existsSync(`/proc/${former}`));
    // The call that notices may fail; the next does not.
    await a.kelmesh('id', 'rotate');
    await a.ok('id', 'rotate');
    assert.equal(await a.agentPid(), agent);
    assert.notEqual(await keyProcessOf(a, agent), former);
    await expectKeysOutside(a);
  });

  const listens = (pid: number) =>
    ['tcp', 'tcp6'].some((table) =>
      readFileSync(`/proc/${pid}/net/${table}`, 'latin1')
        .split('\n')
        .some((line) => line.split(/\s+/)[2]?.endsWith(INSPECTOR) === true),
    );

  /** SIGUSR1 to everything on the machine. */
  async function signalAll(machine: Machine): Promise<readonly number[]> {
    const pids = [];
    for (const pid of await machine.processes()) {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('node')) continue;
      pids.push(pid);
      process.kill(pid, 'SIGUSR1');
    }
    return pids;
  }

  it('are not shown by a debugger: SIGUSR1 opens no port in any process, and ends none', async function () {
    this.timeout(60_000);
    const pids = await signalAll(a);
    assert.ok(pids.length >= 2, 'the agent and the process of its keys');
    await a.ok('status');
    for (const pid of pids) assert.equal(listens(pid), false);
    // The control: where nothing is done about it, the port opens.
    const plain = await a.script('console.log(1); setInterval(() => {}, 1000)');
    try {
      await signalAll(a);
      await eventually('the port is open', async () => listens(await a.agentPid()));
    } finally {
      await plain.stop();
    }
    await eventually('the port is closed', async () => !listens(await a.agentPid()));
  });

  /** Of every process of the machine that is a program of ours or was started by one. */
  async function expectNoCores(machine: Machine): Promise<void> {
    const agent = await machine.agentPid();
    const keys = await keyProcessOf(machine, agent);
    for (const pid of await machine.processes())
      assert.equal(coreLimitOf(pid), '0', readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    for (const pid of [agent, keys])
      assert.match(readFileSync(`/proc/${pid}/coredump_filter`, 'latin1'), /^0+\n$/);
  }

  it('reach no core file: the limit is 0 in every process, and the filter empty', async () => {
    await expectNoCores(a);
  });

  it('nor when the agent is started by hand, in the foreground, where the limit allows cores and the flag is missing', async function () {
    this.timeout(90_000);
    await b.ok('down');
    const command = `ulimit -c unlimited; exec ${process.execPath} ${MAIN} up --foreground`;
    const started = b.run('sh', '-c', command);
    await eventually('the agent serves', async () => (await b.kelmesh('status')).code === 0);
    await expectNoCores(b);
    await signalAll(b);
    await b.ok('status');
    assert.equal(listens(await b.agentPid()), false);
    await expectKeysOutside(b);
    await b.ok('down');
    assert.equal((await started).code, 0);
  });
});

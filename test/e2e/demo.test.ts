/** The demonstration as an outside check sees it: one run that keeps the mesh up, and one that is interrupted. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { verifyBundle } from '#agent/evidence/auditor/verify-bundle';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import { SeededRng } from '../support/doubles/seeded-rng.ts';
import { partOf } from '../support/kit/bundle-parts.ts';
import { eventually, type Json, type Outcome } from '../support/machines/federation.ts';
import { keripyMissing, keripyStates } from '../support/machines/keripy.ts';
import { namespacesUnavailable } from '../support/machines/namespace.ts';
import { softHsmProblem } from '../support/machines/softhsm.ts';
import { skip } from '../support/skip.ts';

const DEMO = fileURLToPath(new URL('../../demo/main.ts', import.meta.url));
const KELMESH = fileURLToPath(new URL('../../deploy/kelmesh.mjs', import.meta.url));
const NAMES = ['alpha', 'bravo', 'charlie'];
const STEPS = [
  ...['network', 'inception', 'agents', 'discovery', 'logs', 'psk', 'tunnels', 'traffic'],
  ...['inner-call', 'rotation', 'forgery', 'removal', 'rejoin', 'evidence', 'audit'],
];
const MUTATIONS = 1_000;

/** One run of the demonstration, with a directory for temporary files that only it uses. */
class Demo implements AsyncDisposable {
  readonly out: string;
  readonly #root: string;
  readonly #child: ChildProcess;
  #said = '';

  private constructor(root: string, args: readonly string[]) {
    this.#root = root;
    this.out = join(root, 'out');
    // A group of its own, as under a terminal: Ctrl-C goes to all of it.
    this.#child = spawn(process.execPath, [DEMO, '--out', this.out, ...args], {
      detached: true,
      env: { ...process.env, TMPDIR: join(root, 'tmp') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#said += chunk.toString();
      });
  }

  static async start(...args: readonly string[]): Promise<Demo> {
    const root = await mkdtemp(join(tmpdir(), 'kelmesh-demo-test-'));
    await mkdir(join(root, 'tmp'));
    return new Demo(root, args);
  }

  get said(): string {
    return this.#said;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** In the names of its namespaces and interfaces. */
  get tag(): string {
    return `km${(this.#child.pid ?? 0) % 1_000_000}`;
  }

  async until(what: string, condition: () => boolean, withinMs: number): Promise<void> {
    await eventually(
      what,
      async () => {
        if (this.hasEnded) throw new Error('the demonstration ended');
        return condition();
      },
      withinMs,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.#said}`);
    });
  }

  /** @param to the program alone, or its whole group  @returns the exit code */
  async end(signal: NodeJS.Signals, to: 'program' | 'group'): Promise<number | null> {
    const pid = this.#child.pid ?? 0;
    const exited = once(this.#child, 'exit');
    process.kill(to === 'group' ? -pid : pid, signal);
    await exited;
    return this.#child.exitCode;
  }

  /** Of one of its agents; undefined before it runs. */
  agent(name: string): number | undefined {
    const pid = this.#processes().find((one) => {
      const command = commandOf(one);
      return command.includes(' up --foreground ') && command.includes(`/${name}/kelmesh.toml`);
    });
    return pid === undefined ? undefined : Number(pid);
  }

  /** A signal to all that belongs to it, at one moment: agents, devices, and who waits to clear up. */
  endAll(signal: NodeJS.Signals): void {
    for (const pid of [...this.#processes(), ...this.#cleaners()])
      process.kill(Number(pid), signal);
  }

  #cleaners(): readonly string[] {
    const owner = `"pid":${this.#child.pid},`;
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => commandOf(pid).includes('ground-cleaner') && commandOf(pid).includes(owner));
  }

  #isMine(text: string): boolean {
    return text.includes(this.#root) || text.includes(this.tag);
  }

  #processes(): readonly string[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return pids.filter((pid) => this.#isMine(commandOf(pid)));
  }

  /** What a machine on which nothing was demonstrated would not have. */
  leftovers(): readonly string[] {
    const mine = (text: string) => this.#isMine(text);
    const processes = this.#processes().map(commandOf);
    const namespaces = spawnSync('ip', ['netns'], { encoding: 'utf8' }).stdout.split('\n');
    const links = spawnSync('ip', ['-o', 'link'], { encoding: 'utf8' }).stdout.split('\n');
    const sockets = existsSync('/var/run/wireguard') ? readdirSync('/var/run/wireguard') : [];
    const temporary = readdirSync(join(this.#root, 'tmp'));
    return [...processes, ...[...namespaces, ...links, ...sockets].filter(mine), ...temporary];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) await this.end('SIGTERM', 'program');
    // Only where a test has failed: what it found left behind goes.
    for (const pid of this.#processes()) process.kill(Number(pid), 'SIGKILL');
    for (const name of ['net', ...NAMES])
      spawnSync('ip', ['netns', 'del', `${this.tag}-${name}`], { stdio: 'ignore' });
    await rm(this.#root, { recursive: true, force: true });
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** In a directory and an environment that know nothing of the mesh. */
function kelmesh(...args: readonly string[]): Promise<Outcome> {
  return run(process.execPath, KELMESH, ...args);
}

function run(file: string, ...args: readonly string[]): Promise<Outcome> {
  const env = { PATH: process.env['PATH'] };
  return new Promise((done) => {
    execFile(file, args, { cwd: '/', env, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

async function verifier() {
  const { ed25519 } = await loadCryptoSuite();
  const verifySignature = createSignatureVerifier(ed25519);
  return (bundle: Uint8Array) => verifyBundle(bundle, { verifySignature });
}

function reportOf({ out }: Demo): Json {
  return JSON.parse(readFileSync(join(out, 'report.json'), 'utf8'));
}

async function requireAll(context: Mocha.Context): Promise<void> {
  const reason = namespacesUnavailable() ?? (await softHsmProblem());
  if (reason !== undefined) skip(context, reason);
}

describe('the demonstration', () => {
  let demo: Demo | undefined;
  let report: Json;
  let logs: readonly string[];
  let evidence: Buffer;

  before(async function () {
    this.timeout(150_000);
    await requireAll(this);
    demo = await Demo.start('--keep');
    const file = join(demo.out, 'report.json');
    await demo.until('report.json is there', () => existsSync(file), 140_000);
    report = reportOf(demo);
    logs = report.organisations.map(({ log }: Json) => resolve(demo?.out ?? '', log));
    evidence = readFileSync(resolve(demo.out, report.evidence));
  });

  after(async () => {
    await demo?.[Symbol.asyncDispose]();
  });

  it('reports every step, organisation and tunnel', () => {
    assert.equal(report.schema, 'kelmesh.demo/1');
    assert.equal(report.verdict, 'clean');
    assert.deepEqual(
      report.steps.map(({ name, ok }: Json) => [name, ok]),
      STEPS.map((name) => [name, true]),
    );
    for (const { ms } of report.steps) assert.ok(Number.isInteger(ms) && ms >= 0);
    assert.deepEqual(
      report.organisations.map(({ name }: Json) => name),
      NAMES,
    );
    for (const organisation of report.organisations) {
      const { aid, netns, interface: device, overlay, pid, config, socket } = organisation;
      assert.match(aid, /^E[A-Za-z0-9_-]{43}$/);
      assert.match(overlay[0], /^fd[0-9a-f:]+$/);
      assert.ok(commandOf(String(pid)).includes(config));
      for (const path of [config, socket]) assert.ok(existsSync(resolve(demo?.out ?? '', path)));
      assert.ok(netns.length > 0 && device.length > 0);
    }
    assert.deepEqual(
      report.tunnels.map(({ a, b }: Json) => `${a}-${b}`),
      ['alpha-bravo', 'alpha-charlie', 'bravo-charlie'],
    );
    for (const { epoch, level, rttMs, throughputMbps } of report.tunnels) {
      assert.ok(Number.isInteger(epoch) && epoch > 0);
      assert.equal(level, 'A');
      assert.ok(rttMs > 0 && throughputMbps > 0);
    }
  });

  it('leaves logs that verify offline, and that KERIpy reads to the same event', async function () {
    this.timeout(300_000);
    const { code, stdout } = await kelmesh('id', 'verify', ...logs, '--json');
    const verified = JSON.parse(stdout);
    assert.equal(code, 0);
    assert.deepEqual([verified.refused, verified.waiting], [[], []]);
    assert.deepEqual(
      verified.aids.map(({ aid }: Json) => aid).sort(),
      report.organisations.map(({ aid }: Json) => aid).sort(),
    );
    const bravo = report.organisations[1].aid;
    const rotated = verified.aids.find(({ aid }: Json) => aid === bravo);
    assert.ok(rotated.sn > 3);
    for (const { kind, keys, nextDigests } of verified.aids)
      assert.deepEqual([kind, keys.length, nextDigests.length], ['CBOR', 1, 1]);
    const reason = await keripyMissing();
    if (reason !== undefined) skip(this, reason);
    const states = await keripyStates(logs.map((log) => readFileSync(log)));
    const heads = (rows: readonly Json[]) =>
      rows.map(({ aid, sn, said }) => ({ aid, sn, said })).sort((x, y) => (x.aid < y.aid ? -1 : 1));
    assert.deepEqual(heads(states), heads(verified.aids));
  });

  it('leaves evidence of every tunnel that an auditor verifies offline', async () => {
    const file = resolve(demo?.out ?? '', report.evidence);
    const { code, stdout } = await kelmesh('audit', 'verify', file, '--json');
    const audit = JSON.parse(stdout);
    assert.equal(code, 0);
    assert.deepEqual([audit.verdict, audit.problems], ['clean', []]);
    assert.equal(audit.tunnelCount, audit.tunnels.length);
    const names = new Map(report.organisations.map(({ aid, name }: Json) => [aid, name]));
    const pairs = new Map<string, number>();
    for (const { a, b, epoch, level, interval } of audit.tunnels) {
      for (const end of [a, b]) {
        assert.ok(Number.isInteger(end.sn));
        assert.match(end.said, /^E[A-Za-z0-9_-]{43}$/);
      }
      assert.ok(Number.isInteger(epoch) && level === 'A');
      assert.ok(Date.parse(interval.from) <= Date.parse(interval.to));
      const pair = [names.get(a.aid), names.get(b.aid)].sort().join('-');
      pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
    }
    // At first, after bravo rotated, and after charlie came back.
    for (const [pair, least] of [
      ['alpha-bravo', 2],
      ['alpha-charlie', 2],
      ['bravo-charlie', 3],
    ] as const)
      assert.ok((pairs.get(pair) ?? 0) >= least, pair);
    assert.equal(pairs.size, 3);
    assert.match((await kelmesh('audit', 'verify', file)).stdout, /^verdict: clean, \d+ tunnels/);
  });

  it('leaves evidence in which no byte can be changed unseen', async function () {
    this.timeout(120_000);
    const rng = new SeededRng('evidence of the demonstration');
    const verify = await verifier();
    const part = partOf(evidence);
    const byPart = Map.groupBy(evidence.keys(), part);
    assert.deepEqual(
      [...byPart.keys()].sort(),
      [
        ...['checkpoints', 'dossier', 'envelope', 'header'],
        ...['kels', 'leaves', 'proofs', 'records', 'signature'],
      ].sort(),
    );
    const each = Math.ceil(MUTATIONS / byPart.size);
    for (const [name, positions] of byPart)
      for (let i = 0; i < each; i++) {
        const at = rng.pick(positions);
        const changed = Buffer.from(evidence);
        changed[at] = (changed[at] ?? 0) ^ (1 + rng.int(255));
        const { verdict, problems } = await verify(changed);
        assert.equal(verdict, 'failed', `byte ${at} in ${name}`);
        assert.equal(problems[0]?.section, name, `byte ${at} in ${name}`);
      }
  });

  it('leaves evidence that cannot be cut short', async () => {
    const verify = await verifier();
    const { length } = evidence;
    for (const end of [0, 1, 20, length >> 2, length >> 1, length - 1]) {
      const { verdict, problems } = await verify(evidence.subarray(0, end));
      assert.deepEqual([verdict, problems[0]?.code], ['failed', 'BUNDLE_ENVELOPE'], `${end} bytes`);
    }
    const longer = await verify(Buffer.concat([evidence, Buffer.of(0)]));
    assert.equal(longer.verdict, 'failed');
  });

  it('keeps the mesh running: wg and kelmesh show it from outside', async () => {
    const keys: string[] = [];
    for (const { netns, interface: device, config, aid } of report.organisations) {
      const shown = await run('ip', 'netns', 'exec', netns, 'wg', 'show', device, 'dump');
      assert.equal(shown.code, 0, shown.stderr);
      const [, ...peers] = shown.stdout
        .trim()
        .split('\n')
        .map((line) => line.split('\t'));
      assert.equal(peers.length, 2);
      for (const [, presharedKey = '', , allowed, handshake] of peers) {
        keys.push(presharedKey);
        assert.match(allowed ?? '', /^fd[0-9a-f:]+\/128$/);
        assert.ok(Number(handshake) > 0);
      }
      const file = resolve(demo?.out ?? '', config);
      for (const args of [
        ['--config', file, 'status', '--json'],
        ['status', '--json', '--config', file],
      ]) {
        const status = JSON.parse((await kelmesh(...args)).stdout);
        assert.deepEqual([status.aid, status.interface, status.peersUp], [aid, device, 2]);
      }
    }
    assert.deepEqual([new Set(keys).size, keys.length], [3, 6]);
  });

  it('tells nobody a WireGuard key', async () => {
    const told = [
      demo?.said ?? '',
      JSON.stringify(report),
      ...logs.map((log) => readFileSync(log, 'latin1')),
    ].join('\n');
    for (const { netns, interface: device } of report.organisations) {
      const { stdout } = await run('ip', 'netns', 'exec', netns, 'wg', 'show', device, 'dump');
      for (const text of stdout.match(/[A-Za-z0-9+/]{43}=/g) ?? []) {
        const key = Buffer.from(text, 'base64');
        for (const form of ['latin1', 'hex', 'base64url'] as const)
          assert.ok(!told.includes(key.toString(form)), form);
        assert.ok(!told.includes(text));
      }
    }
  });

  it('ends with status 0 on SIGTERM and leaves nothing behind', async () => {
    assert.ok(demo && !demo.hasEnded);
    assert.equal(await demo.end('SIGTERM', 'program'), 0);
    assert.deepEqual(demo.leftovers(), []);
  }).timeout(30_000);

  it('leaves nothing behind either when Ctrl-C ends it between two steps', async function () {
    this.timeout(90_000);
    await requireAll(this);
    await using interrupted = await Demo.start();
    await interrupted.until('agreements', () => interrupted.said.includes('[ 7/15]'), 60_000);
    assert.equal(await interrupted.end('SIGINT', 'group'), 1);
    assert.deepEqual(interrupted.leftovers(), []);
    const { steps, verdict } = reportOf(interrupted);
    assert.equal(verdict, 'not verified');
    assert.equal(steps.at(-1).ok, false);
  });

  for (const [how, end] of [
    ['SIGHUP to its group, as when a terminal closes', (demo) => demo.end('SIGHUP', 'group')],
    ['SIGTERM to everything of it at one moment', (demo) => demo.endAll('SIGTERM')],
    ['SIGKILL to the program', (demo) => demo.end('SIGKILL', 'program')],
  ] as readonly [string, (demo: Demo) => unknown][])
    it(`leaves nothing behind whatever ends it: ${how}`, async function () {
      this.timeout(120_000);
      await requireAll(this);
      await using interrupted = await Demo.start();
      await interrupted.until('tunnels', () => interrupted.said.includes('[ 8/15]'), 80_000);
      await end(interrupted);
      await eventually('all is gone', async () => interrupted.leftovers().length === 0);
    });

  it('takes away what a run left that was killed with its cleaner, and names it', async function () {
    this.timeout(180_000);
    await requireAll(this);
    await using killed = await Demo.start();
    await killed.until('tunnels', () => killed.said.includes('[ 8/15]'), 80_000);
    killed.endAll('SIGKILL');
    await eventually('it has ended', async () => killed.hasEnded);
    assert.ok(killed.leftovers().some((one) => one.includes(`${killed.tag}-alpha`)));
    await using next = await Demo.start();
    await next.until('step 1 is done', () => next.said.includes('[ 2/15]'), 60_000);
    assert.match(
      next.said,
      /a demonstration \(process \d+\) ended without clearing up: took away 4 /,
    );
    assert.ok(next.said.includes(`${killed.tag}-alpha`));
    assert.deepEqual(killed.leftovers(), []);
    assert.equal(await next.end('SIGTERM', 'program'), 1);
  });

  it('ends at once when an agent falls, and prints its last lines', async function () {
    this.timeout(120_000);
    await requireAll(this);
    await using failing = await Demo.start();
    await failing.until('agents run', () => failing.said.includes('[ 4/15]'), 60_000);
    const bravo = failing.agent('bravo');
    assert.ok(bravo !== undefined);
    process.kill(bravo, 'SIGKILL');
    await eventually('it has ended', async () => failing.hasEnded);
    assert.match(
      failing.said,
      /FAILED: the agent of bravo ended with SIGKILL; its last lines:\n +\| \S/,
    );
    assert.equal(reportOf(failing).steps.at(-1).ok, false);
    assert.deepEqual(failing.leftovers(), []);
  });

  for (const step of ['[ 1/15]', '[ 2/15]', '[ 3/15]'])
    it(`leaves nothing behind when SIGTERM comes at ${step}`, async function () {
      this.timeout(60_000);
      await requireAll(this);
      await using interrupted = await Demo.start();
      await interrupted.until(step, () => interrupted.said.includes(step), 40_000);
      assert.equal(await interrupted.end('SIGTERM', 'program'), 1);
      assert.deepEqual(interrupted.leftovers(), []);
      assert.equal(reportOf(interrupted).steps.at(-1).detail, 'interrupted');
    });
}).timeout(20_000);

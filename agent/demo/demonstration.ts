/** The steps of the demonstration, in order, each timed and told in plain words. */
import { type ChildProcess, execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildInteraction } from '#kel/event/interaction';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Said } from '#kel/identifiers';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import { systemRng } from '../compose.ts';
import type { AuditReport } from '../provenance/audit/report.ts';
import { eventTopic } from '../sync/gossip.ts';
import { DemoOrganisation, type Status, waitUntil } from './organisation.ts';
import { type Report, type StepReport, type TunnelReport, writeReport } from './report.ts';
import { World } from './world.ts';

const execute = promisify(execFile);
const probe = fileURLToPath(new URL('./probe.ts', import.meta.url));
const kelmesh = fileURLToPath(new URL('../main.ts', import.meta.url));

const NAMES = ['alpha', 'bravo', 'charlie'] as const;
type Name = (typeof NAMES)[number];
const PAIRS: readonly (readonly [Name, Name])[] = [
  ['alpha', 'bravo'],
  ['alpha', 'charlie'],
  ['bravo', 'charlie'],
];
const PROBE_PORT = 7_420;
const INNER_PORT = 7_443;
const STREAM_PER_SECOND = 1_000;
const STEPS = 15;

export interface DemonstrationOptions {
  /** Where the report goes. */
  readonly out: string;
  /** State of the organisations; the caller removes it. */
  readonly work: string;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export class Demonstration {
  readonly #options: DemonstrationOptions;
  readonly #steps: StepReport[] = [];
  readonly #organisations = new Map<Name, DemoOrganisation>();
  readonly #helpers = new Set<ChildProcess>();
  readonly #tunnels: TunnelReport[] = [];
  #world: World | undefined;
  /** Settles when the step under way, or the last one, does no more. */
  #underWay: Promise<unknown> = Promise.resolve();
  #mesh = '';
  #rotation: { readonly sent: number; readonly lost: number } | undefined;
  #verdict = 'not verified';

  constructor(options: DemonstrationOptions) {
    this.#options = options;
  }

  /** @returns whether every step did what it says */
  async run(): Promise<boolean> {
    const { say } = this.#options;
    say(
      'Three organisations, no common server. Each has a network namespace, a process, a key store, a log and a WireGuard interface of its own.\n',
    );
    const began = performance.now();
    const succeeded = await this.#all();
    await this.#report();
    if (!succeeded) {
      this.#keepAgentLogs();
      return false;
    }
    say(
      `\nverdict: ${this.#verdict}, in ${((performance.now() - began) / 1_000).toFixed(1)} s. Report, logs and evidence: ${this.#options.out}`,
    );
    say('\nWhat to try next:');
    say(
      `  npx kelmesh audit verify ${join(this.#options.out, 'evidence.kmb')}   the same audit, anywhere, offline`,
    );
    say(
      `  npx kelmesh id verify ${join(this.#options.out, 'logs', 'alpha.cesr')}   a key event log on its own`,
    );
    say(
      '  npm start -- --keep   leave the mesh running and look around: ip netns, wg show, kelmesh --config …',
    );
    say('  README.md   join two real machines');
    return true;
  }

  #keepAgentLogs(): void {
    const { out, say } = this.#options;
    for (const { name, dir } of this.#organisations.values()) {
      const log = join(dir, 'agent.log');
      if (existsSync(log)) copyFileSync(log, join(out, `${name}.log`));
    }
    say(`        what the agents wrote is in ${out}`);
  }

  async clean(): Promise<void> {
    await this.#stopAll();
    // An interrupted step has nothing to wait for any more, and may have started something in the meantime.
    await this.#underWay;
    await this.#stopAll();
    await this.#world?.remove();
  }

  async #stopAll(): Promise<void> {
    for (const helper of this.#helpers) helper.kill('SIGKILL');
    await this.#each((organisation) => organisation.stop());
  }

  async #all(): Promise<boolean> {
    try {
      await this.#step('network', 'three network namespaces with a switch between them', () =>
        this.#build(),
      );
      await this.#step(
        'inception',
        'each organisation makes its keys and incepts its key event log',
        () => this.#incept(),
      );
      await this.#step('agents', 'alpha founds the mesh, and the three agents start', () =>
        this.#startAgents(),
      );
      await this.#step(
        'discovery',
        'bravo and charlie ask to join with an invite line, alpha admits them',
        () => this.#admit(),
      );
      await this.#step('logs', 'each verifies the key event logs of the others', () =>
        this.#logs(),
      );
      await this.#step('psk', 'each pair agrees a preshared key with ML-KEM-1024 and X25519', () =>
        this.#agreed(),
      );
      await this.#step('tunnels', 'the tunnels come up and are proven by both ends', () =>
        this.#tunnelsUp(),
      );
      await this.#step('traffic', 'a ping and a throughput figure through each tunnel', () =>
        this.#traffic(),
      );
      await this.#step(
        'inner-call',
        'a service of alpha calls one of bravo over the inner mTLS layer, through the tunnel',
        () => this.#innerCall(),
      );
      await this.#step(
        'rotation',
        'bravo rotates its keys in the token while 1,000 packets a second run to it',
        () => this.#rotate(),
      );
      await this.#step('forgery', 'a stranger forges an event of charlie and gossips it', () =>
        this.#forge(),
      );
      await this.#step('removal', 'alpha removes charlie, and its tunnels go', () =>
        this.#remove(),
      );
      await this.#step('rejoin', 'charlie is admitted again, and its tunnels come back', () =>
        this.#rejoin(),
      );
      await this.#step('evidence', 'the three export their evidence, signed', () =>
        this.#evidence(),
      );
      await this.#step('audit', 'an auditor verifies all of it offline', () => this.#audit());
      return true;
    } catch {
      return false;
    }
  }

  async #step(name: string, words: string, act: () => Promise<string>): Promise<void> {
    const { say, signal } = this.#options;
    signal.throwIfAborted();
    const number = `[${String(this.#steps.length + 1).padStart(2)}/${STEPS}]`;
    say(`${number} ${words} ...`);
    const began = performance.now();
    const slow = setInterval(
      () => say(`        still at it, ${Math.round((performance.now() - began) / 1_000)} s`),
      5_000,
    );
    const interrupted = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
    );
    interrupted.catch(() => undefined);
    try {
      const acting = act();
      this.#underWay = acting.catch(() => undefined);
      const detail = await Promise.race([acting, interrupted]);
      const ms = Math.round(performance.now() - began);
      this.#steps.push({ name, ok: true, ms, detail });
      say(`        ${detail} (${(ms / 1_000).toFixed(1)} s)`);
    } catch (error) {
      const detail = (error as Error).message;
      this.#steps.push({ name, ok: false, ms: Math.round(performance.now() - began), detail });
      say(`        FAILED: ${detail}`);
      throw error;
    } finally {
      clearInterval(slow);
    }
  }

  #of(name: Name): DemoOrganisation {
    const organisation = this.#organisations.get(name);
    if (organisation === undefined) throw new Error(`there is no organisation ${name}`);
    return organisation;
  }

  async #each<T>(act: (organisation: DemoOrganisation) => Promise<T>): Promise<readonly T[]> {
    return Promise.all([...this.#organisations.values()].map(act));
  }

  async #build(): Promise<string> {
    const tag = `km${process.pid % 1_000_000}`;
    this.#world = await World.build(tag, NAMES);
    for (const [i, name] of NAMES.entries()) {
      const place = this.#world.places.get(name);
      if (place === undefined) throw new Error(`no place for ${name}`);
      this.#organisations.set(
        name,
        new DemoOrganisation(name, place, this.#options.work, {
          tier: name === 'bravo' ? 'softhsm' : 'sealed-file',
          interface: `${tag}${'abc'[i]}`,
        }),
      );
    }
    return [...this.#organisations.values()]
      .map(({ name, place }) => `${name} at ${place.address} in ${place.netns}`)
      .join(', ');
  }

  async #incept(): Promise<string> {
    await this.#each(async (organisation) => {
      const id = await organisation.kelmesh('init', '--generate-secret');
      organisation.aid = String(id['aid']);
    });
    return `${[...this.#organisations.values()].map(({ name, aid }) => `${name} is ${aid.slice(0, 12)}…`).join(', ')}; bravo's keys are in a SoftHSM token`;
  }

  async #startAgents(): Promise<string> {
    const result = await this.#of('alpha').kelmesh('mesh', 'create', 'demo');
    this.#mesh = (result['mesh'] as { mesh: string }).mesh;
    await this.#each((organisation) => organisation.start());
    const { driver } = await this.#of('alpha').status();
    return `mesh ${this.#mesh.slice(0, 12)}…, tunnels by ${driver}`;
  }

  async #admit(): Promise<string> {
    const alpha = this.#of('alpha');
    const { line } = await alpha.ask('mesh.invite');
    for (const name of ['bravo', 'charlie'] as const)
      await this.#of(name).ask('mesh.join', { line: String(line) });
    for (const name of ['bravo', 'charlie'] as const) {
      const { aid } = this.#of(name);
      await waitUntil(20_000, `${name} asks alpha to join`, async () =>
        (await alpha.status()).knocks.some((knock) => knock.aid === aid),
      );
      await alpha.ask('mesh.admit', { aid, name });
    }
    await waitUntil(20_000, 'all three are members of one charter', async () =>
      (await this.#statuses()).every(({ mesh }) => mesh?.isMember === true && mesh.version === 2),
    );
    return 'charter version 2, signed and sealed by alpha, names the three';
  }

  async #statuses(): Promise<readonly Status[]> {
    return this.#each((organisation) => organisation.status());
  }

  async #logs(): Promise<string> {
    await waitUntil(20_000, 'all logs are equal everywhere', async () => {
      const statuses = await this.#statuses();
      const heads = new Map(statuses.map(({ aid, said }) => [aid, said]));
      return statuses.every(
        ({ peers }) =>
          peers.length === 2 && peers.every(({ aid, said }) => heads.get(aid) === said),
      );
    });
    const statuses = await this.#statuses();
    return `equal everywhere: ${statuses.map(({ sn }, i) => `${NAMES[i]} at event ${sn}`).join(', ')}`;
  }

  async #agreed(): Promise<string> {
    await waitUntil(20_000, 'every pair has an agreement', async () =>
      (await this.#statuses()).every(({ peers }) =>
        peers.every(({ agreement }) => agreement !== null),
      ),
    );
    const epoch = (await this.#of('alpha').status()).peers[0]?.epoch;
    return `confirmed by both ends of all three pairs, key epoch ${epoch}`;
  }

  async #tunnelsUp(): Promise<string> {
    await this.#allUp();
    const keys = await this.#comparePresharedKeys();
    return `handshakes in all three, preshared keys equal at both ends (${keys} compared with wg show)`;
  }

  async #allUp(): Promise<void> {
    await waitUntil(40_000, 'every tunnel is up and proven', async () =>
      (await this.#statuses()).every(
        ({ peers, rotating }) =>
          !rotating &&
          peers.length === 2 &&
          peers.every(({ state, proof }) => state === 'up' && proof !== null),
      ),
    );
  }

  /** Independent of our own code: what `wg show` says at the two ends. @returns pairs compared */
  async #comparePresharedKeys(): Promise<number> {
    const held = await this.#each(async (organisation) => {
      const device = (await organisation.status()).interface ?? '';
      const { stdout } = await organisation.run(['wg', 'show', device, 'preshared-keys']);
      return stdout
        .trim()
        .split('\n')
        .map((line) => line.split('\t')[1] ?? '');
    });
    const counts = new Map<string, number>();
    for (const key of held.flat()) counts.set(key, (counts.get(key) ?? 0) + 1);
    if (counts.size !== PAIRS.length || [...counts.values()].some((count) => count !== 2))
      throw new Error('the preshared keys of the two ends of a tunnel differ');
    return counts.size;
  }

  async #overlay(name: Name): Promise<string> {
    return (await this.#of(name).status()).overlay[0] ?? '';
  }

  async #probe(name: Name, task: object): Promise<Readonly<Record<string, unknown>>> {
    const { stdout } = await this.#of(name).run([process.execPath, probe, JSON.stringify(task)]);
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>;
  }

  /** Starts a helper in a namespace and waits for its first line. @returns a function that ends it */
  async #serve(name: Name, task: object): Promise<() => Promise<void>> {
    const child = this.#of(name).spawn([process.execPath, probe, JSON.stringify(task)], 'pipe');
    this.#helpers.add(child);
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the helper of ${name} ended with ${code}`)));
    });
    return async () => {
      const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.stdin?.end();
      if (child.exitCode === null) await exited;
      this.#helpers.delete(child);
    };
  }

  async #traffic(): Promise<string> {
    const addresses = new Map(
      await Promise.all(NAMES.map(async (name) => [name, await this.#overlay(name)] as const)),
    );
    const stops = await Promise.all(
      (['bravo', 'charlie'] as const).map((name) =>
        this.#serve(name, { do: 'serve', address: addresses.get(name), port: PROBE_PORT }),
      ),
    );
    for (const [a, b] of PAIRS) {
      const { rttMs, mbps } = (await this.#probe(a, {
        do: 'measure',
        address: addresses.get(b),
        port: PROBE_PORT,
      })) as { rttMs?: number; mbps: number };
      if (rttMs === undefined) throw new Error(`no answer through the tunnel from ${a} to ${b}`);
      const peer = (await this.#of(a).status()).peers.find(({ name }) => name === b);
      this.#tunnels.push({
        a,
        b,
        epoch: peer?.epoch ?? 0,
        level: peer?.level ?? 'none',
        rttMs: round(rttMs),
        throughputMbps: round(mbps),
      });
    }
    await Promise.all(stops.map((stop) => stop()));
    return this.#tunnels
      .map(({ a, b, rttMs, throughputMbps }) => `${a}-${b} ${rttMs} ms, ${throughputMbps} Mb/s`)
      .join('; ');
  }

  async #innerCall(): Promise<string> {
    const dirs = new Map<Name, string>();
    await this.#each(async (organisation) => {
      const secret = join(organisation.dir, 'ca-secret');
      writeFileSync(secret, `${Buffer.from(systemRng.bytes(24)).toString('base64url')}\n`, {
        mode: 0o600,
      });
      await organisation.kelmesh('ca', 'init', '--secret-file', secret);
      await organisation.kelmesh('ca', 'issue', 'records', '--secret-file', secret);
      const { pem } = await organisation.kelmesh('ca', 'export');
      writeFileSync(join(organisation.dir, 'ca.pem'), String(pem));
      dirs.set(organisation.name as Name, join(organisation.dir, 'state', 'ca'));
    });
    // Trust is given by hand and one by one: alpha and bravo to each other; charlie trusts bravo, bravo does not trust charlie.
    for (const [who, whom] of [
      ['alpha', 'bravo'],
      ['bravo', 'alpha'],
      ['charlie', 'bravo'],
    ] as const) {
      await this.#of(who).kelmesh('ca', 'trust', join(this.#of(whom).dir, 'ca.pem'));
    }
    const address = await this.#overlay('bravo');
    const stop = await this.#serve('bravo', {
      do: 'inner-serve',
      address,
      port: INNER_PORT,
      dir: dirs.get('bravo'),
      service: 'records',
    });
    const call = (from: Name) =>
      this.#probe(from, {
        do: 'inner-call',
        address,
        port: INNER_PORT,
        dir: dirs.get(from),
        service: 'records',
        serverName: 'records.bravo.kelmesh.internal',
      });
    const answered = (await call('alpha')) as {
      reply?: string;
      refused?: string;
      server?: { group?: string; keyAgreement?: string };
    };
    const refused = (await call('charlie')) as { reply?: string; refused?: string };
    await stop();
    if (answered.reply === undefined)
      throw new Error(`the call of alpha was refused: ${answered.refused}`);
    if (refused.reply !== undefined)
      throw new Error('a client of a CA that bravo does not trust was served');
    return `TLS 1.3 with X25519MLKEM768, answer "${answered.reply}"; charlie, whose CA bravo does not trust: refused (${refused.refused})`;
  }

  async #rotate(): Promise<string> {
    const address = await this.#overlay('bravo');
    const stop = await this.#serve('bravo', { do: 'serve', address, port: PROBE_PORT });
    const seconds = 6;
    const stream = this.#probe('alpha', {
      do: 'stream',
      address,
      port: PROBE_PORT,
      perSecond: STREAM_PER_SECOND,
      seconds,
    });
    const before = await this.#of('bravo').status();
    await pause(500);
    const after = await this.#of('bravo').ask('id.rotate');
    await waitUntil(20_000, 'the tunnels of bravo are on its new keys', async () =>
      (await this.#of('bravo').status()).peers.every(
        ({ generation, state }) => generation >= 2 && state === 'up',
      ),
    );
    const { sent, lost } = (await stream) as { sent: number; lost: number };
    await stop();
    this.#rotation = { sent, lost };
    await this.#allUp();
    return `event ${before.sn} to ${after['sn']}; both tunnels moved to the new keys; ${lost} of ${sent} packets lost`;
  }

  async #forge(): Promise<string> {
    const [alpha, charlie] = [this.#of('alpha'), this.#of('charlie')];
    const before = await alpha.status();
    const known = before.peers.find(({ aid }) => aid === charlie.aid);
    const event = await forgedEvent(await charlie.ask('id.export'));
    await this.#probe('charlie', {
      do: 'forge',
      listen: `/ip4/${charlie.place.address}/tcp/0`,
      victim: before.addresses,
      topic: eventTopic(this.#mesh as Said),
      event: Buffer.from(event).toString('base64'),
    });
    const after = await alpha.status();
    const refused =
      (after.counters.gossip['refused'] ?? 0) - (before.counters.gossip['refused'] ?? 0);
    if (refused < 1) throw new Error('the forged event did not reach alpha, or was not refused');
    if (after.peers.find(({ aid }) => aid === charlie.aid)?.said !== known?.said)
      throw new Error('the forged event changed a log');
    return 'refused and counted by alpha; the log of charlie is unchanged';
  }

  async #remove(): Promise<string> {
    const [alpha, charlie] = [this.#of('alpha'), this.#of('charlie')];
    const began = performance.now();
    await alpha.ask('mesh.remove', { who: 'charlie', reason: 'demonstration of a removal' });
    await waitUntil(20_000, 'alpha and bravo have no tunnel to charlie', async () =>
      (await Promise.all([alpha.status(), this.#of('bravo').status()])).every(({ peers }) =>
        peers.every(({ name }) => name !== 'charlie'),
      ),
    );
    const ms = Math.round(performance.now() - began);
    await waitUntil(20_000, 'charlie has taken its device down', async () => {
      const { mesh, interface: device } = await charlie.status();
      return mesh?.isMember === false && mesh.revoked !== null && device === null;
    });
    return `gone at alpha and bravo after ${ms} ms; charlie knows why and has taken its device down`;
  }

  async #rejoin(): Promise<string> {
    const [alpha, charlie] = [this.#of('alpha'), this.#of('charlie')];
    await waitUntil(30_000, 'charlie asks alpha again', async () =>
      (await alpha.status()).knocks.some(({ aid }) => aid === charlie.aid),
    );
    await alpha.ask('mesh.admit', { aid: charlie.aid, name: 'charlie' });
    await this.#allUp();
    return 'three organisations and three proven tunnels again';
  }

  async #evidence(): Promise<string> {
    const { out } = this.#options;
    mkdirSync(join(out, 'logs'), { recursive: true });
    const files: string[] = [];
    for (const organisation of this.#organisations.values()) {
      const file = join(organisation.dir, 'evidence.kmb');
      await organisation.kelmesh('audit', 'export', '--out', file);
      files.push(file);
    }
    await this.#of('alpha').kelmesh(
      'audit',
      'export',
      ...files.slice(1),
      '--out',
      join(out, 'evidence.kmb'),
    );
    for (const organisation of this.#organisations.values()) {
      const { cesr } = await organisation.ask('id.export');
      writeFileSync(
        join(out, 'logs', `${organisation.name}.cesr`),
        Buffer.from(String(cesr), 'base64'),
      );
    }
    return 'evidence.kmb, and each log as a CESR stream that KERIpy reads';
  }

  /** In a process of its own that gets the bundle and nothing else. */
  async #audit(): Promise<string> {
    const bundle = join(this.#options.out, 'evidence.kmb');
    const { stdout } = await execute(
      process.execPath,
      [kelmesh, 'audit', 'verify', bundle, '--json'],
      { cwd: '/', env: { PATH: process.env['PATH'] }, maxBuffer: 64 << 20 },
    ).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? '{}' }));
    const report = JSON.parse(stdout) as AuditReport;
    this.#verdict = report.verdict;
    if (report.verdict !== 'clean')
      throw new Error(
        `verdict ${report.verdict}: ${report.problems
          .slice(0, 3)
          .map(({ code, section, where, message }) => `${code} in ${section}, ${where}: ${message}`)
          .join('; ')}`,
      );
    const { say } = this.#options;
    const names = new Map([...this.#organisations.values()].map(({ aid, name }) => [aid, name]));
    for (const { a, b, epoch, interval } of report.tunnels) {
      say(
        `        ${names.get(a.aid)} (event ${a.sn}) and ${names.get(b.aid)} (event ${b.sn}), key epoch ${epoch}, between ${interval.from} and ${interval.to}`,
      );
    }
    return `verdict clean: ${report.tunnels.length} tunnels, each with both identities, their events, epoch and interval`;
  }

  async #report(): Promise<void> {
    const organisations = await Promise.all(
      [...this.#organisations.values()].map(async (organisation) => {
        const status = await organisation.status().catch(() => undefined);
        return {
          name: organisation.name,
          aid: organisation.aid,
          netns: organisation.place.netns,
          interface: status?.interface ?? '',
          overlay: status?.overlay ?? [],
          pid: organisation.pid ?? 0,
          config: organisation.config,
          socket: organisation.socket,
          log: `logs/${organisation.name}.cesr`,
        };
      }),
    );
    const report: Report = {
      schema: 'kelmesh.demo/1',
      steps: this.#steps,
      organisations,
      tunnels: this.#tunnels,
      evidence: 'evidence.kmb',
      verdict: this.#verdict,
      ...(this.#rotation === undefined ? {} : { rotation: this.#rotation }),
    };
    writeReport(this.#options.out, report);
  }
}

/** The next event of a real log, well formed in every field, signed with a key that the log does not name. */
async function forgedEvent(exported: Readonly<Record<string, unknown>>): Promise<Uint8Array> {
  const { ed25519 } = await loadCryptoSuite();
  const verifier = new LogVerifier(createSignatureVerifier(ed25519));
  verifier.feed(Buffer.from(String(exported['cesr']), 'base64'));
  const [prior] = verifier.finish().aids;
  if (prior === undefined) throw new Error('there is no log to forge');
  const event = buildInteraction({ prior, anchors: [] });
  return encodeSignedEvent(event.bytes, [
    { index: 0, raw: ed25519.sign(event.bytes, systemRng.bytes(32)), algorithm: 'ed25519' },
  ]);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * `kelmesh rosenpass` beside the Rust program and the Go program, over UDP that loses a fifth of the datagrams, doubles and reorders
 * them. Each pair once with either end beginning, with a preshared key. `npm run test:rosenpass` builds the two programs, which
 * takes minutes, and goes on for two rekeys; `npm test` takes what is there and stops after the first key.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { before, describe, it } from 'mocha';
import { cli } from '../../support/machines/cli.ts';
import { skip } from '../../support/skip.ts';
import { BadWire, freePort } from './bad-wire.ts';
import { findOther, type OtherProgram, otherPrograms, RunningExchange } from './programs.ts';

const isLong = process.env['KELMESH_SLOW'] === '1';
/** More than two rekeys. */
const HOLD_MS = 290_000;
const FIRST_KEY_MS = 90_000;

const ends = ['ours', 'other'] as const;

interface Side {
  readonly name: (typeof ends)[number];
  /** Undefined: this project's. */
  readonly program: string | undefined;
}

describe('kelmesh rosenpass and', () => {
  /** All run at once: each waits most of the time. */
  const runs = new Map<string, Promise<void>>();

  before(() => {
    for (const name of otherPrograms)
      for (const begins of ends) {
        const program = findOther(name);
        if (program === undefined) continue;
        const run = exchange(program, name, begins);
        run.catch(() => undefined);
        runs.set(`${name} ${begins}`, run);
      }
  });

  for (const name of otherPrograms)
    for (const begins of ends)
      it(`${name}: ${begins === 'ours' ? 'this end' : 'that end'} begins${isLong ? ', two rekeys' : ''}`, async function () {
        this.timeout(FIRST_KEY_MS + (isLong ? HOLD_MS + FIRST_KEY_MS : 0) + 60_000);
        const run = runs.get(`${name} ${begins}`);
        if (run === undefined) skip(this, `${name} is not here: npm run test:rosenpass builds it`);
        await run;
      });
});

async function exchange(program: string, name: OtherProgram, begins: Side['name']): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'kelmesh-rosenpass-'));
  const sides: readonly Side[] = [
    { name: 'ours', program: undefined },
    { name: 'other', program },
  ];
  try {
    writeFileSync(join(dir, 'psk'), randomBytes(32).toString('base64'), { mode: 0o600 });
    for (const { name: side, program: path } of sides) await makeKeys(dir, side, path);
    const [port, ownPort] = [await freePort(), await freePort()];
    await using wire = await BadWire.to(port, `${name}/${begins}`);
    const answers: Side['name'] = begins === 'ours' ? 'other' : 'ours';
    writeConfig(dir, answers, begins, port, undefined);
    writeConfig(dir, begins, answers, ownPort, wire.port);
    const start = (side: Side['name']) =>
      new RunningExchange(sides.find((one) => one.name === side)?.program, `${side}.toml`, dir);
    await using responder = start(answers);
    await sleep(1_000);
    await using initiator = start(begins);
    const both = [responder, initiator];
    const explain = () =>
      `${wire.passed} passed, ${wire.lost} lost\n${both.map(({ lines, said }) => `${lines.join('\n')}\n${said}`).join('\n--\n')}`;
    await until(() => isAgreed(dir, both, 1), FIRST_KEY_MS, explain);
    if (isLong) {
      await sleep(HOLD_MS);
      await until(() => isAgreed(dir, both, 3), FIRST_KEY_MS, explain);
    }
    const lines = both.flatMap((one) => one.lines);
    assert.deepEqual(
      lines.filter((line) => !/^output-key peer \S{44} key-file ".*" exchanged$/.test(line)),
      [],
    );
    assert.equal(statSync(join(dir, 'ours.key')).mode & 0o777, 0o600);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function makeKeys(
  dir: string,
  side: Side['name'],
  program: string | undefined,
): Promise<void> {
  const keys = ['--public-key', join(dir, `${side}.pk`), '--secret-key', join(dir, `${side}.sk`)];
  if (program === undefined) {
    const { code, stderr } = await cli('rosenpass', 'gen-keys', ...keys);
    assert.equal(code, 0, stderr);
  } else await promisify(execFile)(program, ['gen-keys', ...keys]);
}

function writeConfig(
  dir: string,
  own: Side['name'],
  peer: Side['name'],
  listen: number,
  endpoint: number | undefined,
): void {
  const lines = [
    `public_key = "${own}.pk"`,
    `secret_key = "${own}.sk"`,
    `listen = ["127.0.0.1:${listen}"]`,
    'verbosity = "Verbose"',
    '[[peers]]',
    `public_key = "${peer}.pk"`,
    'pre_shared_key = "psk"',
    `key_out = "${own}.key"`,
    ...(endpoint === undefined ? [] : [`endpoint = "127.0.0.1:${endpoint}"`]),
  ];
  writeFileSync(join(dir, `${own}.toml`), `${lines.join('\n')}\n`);
}

/** Each end has put out so many keys, and holds the same one as the other. */
function isAgreed(dir: string, ends: readonly RunningExchange[], count: number): boolean {
  for (const end of ends) assert.ok(!end.hasEnded, end.said);
  const files = ['ours', 'other'].map((side) => join(dir, `${side}.key`));
  if (ends.some(({ exchanged }) => exchanged < count) || !files.every(existsSync)) return false;
  const [ours, other] = files.map((file) => readFileSync(file, 'utf8').trim());
  return ours?.length === 44 && ours === other;
}

async function until(condition: () => boolean, ms: number, explain: () => string): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    assert.ok(performance.now() < end, explain());
    await sleep(200);
  }
}

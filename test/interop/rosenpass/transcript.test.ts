/**
 * This project's machine, with all its randomness from a seed, beside the Rust and the Go program. `KELMESH_ROSENPASS_RECORD=1` keeps
 * what passed in `fixtures/rosenpass`, for machines without the programs: `test/vectors/rosenpass-transcripts.test.ts` plays it again.
 */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { rosenpassKeys } from '../../support/kit/rosenpass-pair.ts';
import { type Transcript, TranscriptEnd } from '../../support/kit/rosenpass-transcript.ts';
import { readRosenpassVector } from '../../support/kit/rosenpass-vector.ts';
import { skip } from '../../support/skip.ts';
import { freePort } from './bad-wire.ts';
import { findOther, type OtherProgram, otherPrograms, RunningExchange } from './programs.ts';

const FIXTURES = fileURLToPath(new URL('../../../fixtures/rosenpass/', import.meta.url));
const VERSIONS: Readonly<Record<OtherProgram, string>> = {
  rosenpass: 'rosenpass 0.2.3',
  'go-rosenpass': 'go-rosenpass 0.5.42',
};
const WAIT_MS = 30_000;

describe('the machine, seeded, and', () => {
  for (const name of otherPrograms)
    for (const role of ['initiator', 'responder'] as const)
      it(`${name}: as ${role}`, async function () {
        this.timeout(2 * WAIT_MS);
        const program = findOther(name);
        if (program === undefined)
          skip(this, `${name} is not here: npm run test:rosenpass builds it`);
        const transcript = await converse(program, name, role);
        if (process.env['KELMESH_ROSENPASS_RECORD'] === '1')
          writeFileSync(
            join(FIXTURES, `${name}-${role}.json`),
            `${JSON.stringify(transcript, undefined, 2)}\n`,
          );
      });
});

async function converse(
  program: string,
  name: OtherProgram,
  role: Transcript['role'],
): Promise<Transcript> {
  const dir = await mkdtemp(join(tmpdir(), 'kelmesh-transcript-'));
  const seed = `${name}/${role}`;
  const head = { program: VERSIONS[name], role, version: 'V02', seed } as const;
  const psk = new Uint8Array(32).fill(name.length).toBase64();
  const socket = createSocket('udp4');
  try {
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const port = await freePort();
    writeFiles(dir, name, psk, port, role === 'responder' ? socket.address().port : undefined);
    await using other = new RunningExchange(program, 'other.toml', dir);
    if (role === 'initiator') await sleep(1_000);
    const end = new TranscriptEnd({ ...head, psk });
    const start = performance.now();
    const now = () => Math.floor(performance.now() - start);
    const send = (datagrams: readonly Uint8Array[]) => {
      for (const datagram of datagrams) socket.send(datagram, port, '127.0.0.1');
    };
    socket.on('message', (datagram) => send(end.take(datagram, now())));
    const isDone = () => end.keys.length > 0 && existsSync(join(dir, 'key')) && other.exchanged > 0;
    while (!isDone()) {
      assert.ok(now() < WAIT_MS, other.said);
      if (end.machine.wakeAt() <= now()) send(end.poll(now()));
      await sleep(10);
    }
    const [key = assert.fail()] = end.keys;
    assert.equal(readFileSync(join(dir, 'key'), 'utf8').trim(), key);
    return { ...head, psk, steps: end.steps, key };
  } finally {
    socket.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** The program has the keys of B; those of the Go program are in the form of round 4. */
function writeFiles(
  dir: string,
  name: OtherProgram,
  psk: string,
  port: number,
  endpoint: number | undefined,
): void {
  const [ours, theirs] = rosenpassKeys();
  const round4 = readRosenpassVector()[2] ?? assert.fail();
  const put = (file: string, content: Uint8Array | string) =>
    writeFileSync(join(dir, file), content, { mode: 0o600 });
  put('a.pk', ours.publicKey);
  put('b.pk', theirs.publicKey);
  put('b.sk', name === 'rosenpass' ? theirs.secretKey : round4);
  put('psk', psk);
  const lines = [
    ...['public_key = "b.pk"', 'secret_key = "b.sk"', `listen = ["127.0.0.1:${port}"]`],
    ...['verbosity = "Verbose"', '[[peers]]', 'public_key = "a.pk"', 'pre_shared_key = "psk"'],
    'key_out = "key"',
    ...(endpoint === undefined ? [] : [`endpoint = "127.0.0.1:${endpoint}"`]),
  ];
  put('other.toml', `${lines.join('\n')}\n`);
}

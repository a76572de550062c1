/**
 * Coverage-guided fuzzing of the state machine of Rosenpass, as that of the log reader: `KELMESH_FUZZ_SECONDS=36000
 * KELMESH_FUZZ_SAVE=1 npm run test:slow -- test/fuzz/rosenpass.test.ts` runs for hours and keeps what it finds in `fixtures/fuzz/rosenpass`.
 */
import assert from 'node:assert/strict';
import { createHash, randomInt } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { SeededRng } from '../support/doubles/seeded-rng.ts';
import { BlockCoverage } from './coverage.ts';
import { runRosenpass } from './rosenpass.ts';

const CORPUS = fileURLToPath(new URL('../../fixtures/fuzz/rosenpass/', import.meta.url));
const PART = '/src/rosenpass/';
const SECONDS = Number(
  process.env['KELMESH_FUZZ_SECONDS'] ?? (process.env['KELMESH_SLOW'] === '1' ? 300 : 5),
);
/** A look at the coverage costs as much as some inputs. */
const BATCH = 8;
const MAX_LENGTH = 257;

describe('fuzzing of the state machine of Rosenpass', function () {
  this.timeout((SECONDS + 120) * 1000);
  const seed = process.env['KELMESH_SEED'] ?? String(randomInt(2 ** 32));

  it(`${SECONDS} s of actions that no one has written, KELMESH_SEED=${seed}`, async () => {
    const corpus = [...seeds(), ...saved()];
    using coverage = await BlockCoverage.start(PART);
    for (const input of corpus) check(input);
    await coverage.fresh();
    const start = coverage.size;
    const rng = new SeededRng(seed);
    const end = performance.now() + SECONDS * 1000;
    let [runs, found] = [0, 0];
    while (performance.now() < end) {
      const batch = Array.from({ length: BATCH }, () => mutate(rng, corpus));
      for (const input of batch) check(input);
      runs += batch.length;
      if ((await coverage.fresh()) === 0) continue;
      // One of them is news; which one, later batches show.
      corpus.push(...batch);
      found++;
      if (process.env['KELMESH_FUZZ_SAVE'] === '1') await save(batch);
    }
    console.log(
      `      ${runs} inputs, ${coverage.size - start} new blocks beside ${start}, in ${found} batches`,
    );
    assert.ok(runs > 0);
  });
});

/** A handshake that passes; one whose datagrams are doubled and changed; ends that wait. */
function seeds(): Uint8Array[] {
  const passes = [1, 0, 0, 0];
  return [
    [0, ...passes, ...passes, ...passes, ...passes],
    [3, ...passes, ...passes, ...passes, 2, 1, 0, 0, 2, 2, 0, 0, 0, 130, 0, 0, ...passes],
    [6, ...passes, 1, 1, 0, 0, ...passes, 1, 1, 0, 0, 0, 255, 0, 0, ...passes],
    [0, 20, 0, 90, 3, ...passes, 52, 0, 1, 1, ...passes, 116, 1, 7, 2, ...passes, 84, 2, 9, 0],
  ].map((bytes) => Uint8Array.from(bytes));
}

function mutate(rng: SeededRng, corpus: readonly Uint8Array[]): Uint8Array {
  let bytes = [...rng.pick(corpus)];
  for (let left = 1 + rng.int(6); left > 0; left--) {
    const at = rng.int(bytes.length + 1);
    switch (rng.int(4)) {
      case 0:
        bytes[rng.int(bytes.length)] = rng.int(256);
        break;
      case 1:
        bytes.splice(at, 0, ...rng.bytes(4));
        break;
      case 2:
        bytes = [...bytes.slice(0, at), ...rng.pick(corpus).slice(at)];
        break;
      default:
        bytes.push(...bytes.slice(at, at + 16));
    }
  }
  return Uint8Array.from(bytes.slice(0, MAX_LENGTH));
}

function check(input: Uint8Array): void {
  try {
    runRosenpass(input);
  } catch (error) {
    throw new Error(`input ${Buffer.from(input).toString('base64')}`, { cause: error });
  }
}

function saved(): Uint8Array[] {
  mkdirSync(CORPUS, { recursive: true });
  return readdirSync(CORPUS)
    .filter((name) => name.endsWith('.bin'))
    .sort()
    .map((name) => readFileSync(join(CORPUS, name)));
}

/** Keeps those of a batch that reach something by themselves which the corpus does not. */
async function save(batch: readonly Uint8Array[]): Promise<void> {
  using coverage = await BlockCoverage.start(PART);
  for (const input of [...seeds(), ...saved()]) check(input);
  await coverage.fresh();
  for (const input of batch) {
    check(input);
    if ((await coverage.fresh()) === 0) continue;
    const name = createHash('sha256').update(input).digest('hex').slice(0, 16);
    writeFileSync(join(CORPUS, `${name}.bin`), input);
  }
}

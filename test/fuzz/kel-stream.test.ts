/**
 * Coverage-guided fuzzing of the log reader: inputs that reach new code join the corpus and are changed further. A
 * short fixed time here; `KELMESH_FUZZ_SECONDS=36000 KELMESH_FUZZ_SAVE=1 npm run test:slow -- test/fuzz/kel-stream.test.ts`
 * runs for hours and keeps what it finds in `fixtures/fuzz/kel`.
 */
import assert from 'node:assert/strict';
import { createHash, randomInt } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { parseBody } from '#kel/cesr/body';
import { parseStream } from '#kel/cesr/stream';
import { randomFederation } from '../interop/keripy/random-federation.ts';
import { SeededRng } from '../support/doubles/seeded-rng.ts';
import { BlockCoverage } from './coverage.ts';
import { checkStream } from './kel-stream.ts';
import { Mutator } from './mutator.ts';

const CORPUS = fileURLToPath(new URL('../../fixtures/fuzz/kel/', import.meta.url));
const SECONDS = Number(
  process.env['KELMESH_FUZZ_SECONDS'] ?? (process.env['KELMESH_SLOW'] === '1' ? 300 : 5),
);
/** Inputs between two looks at the coverage, which costs as much as some of them. */
const BATCH = 64;

describe('fuzzing of the log reader', function () {
  this.timeout((SECONDS + 60) * 1000);
  const seed = process.env['KELMESH_SEED'] ?? String(randomInt(2 ** 32));

  it(`${SECONDS} s of inputs that no one has written, KELMESH_SEED=${seed}`, async () => {
    const [signed, corpus] = [seeds(), saved()];
    corpus.push(...signed);
    const known = new Set(signed.flatMap(saidsOf));
    using coverage = await BlockCoverage.start('/kel/');
    for (const input of corpus) check(input, known);
    await coverage.fresh();
    const start = coverage.size;
    const mutator = new Mutator(new SeededRng(seed));
    const end = performance.now() + SECONDS * 1000;
    let runs = 0;
    let found = 0;
    while (performance.now() < end) {
      const batch = Array.from({ length: BATCH }, () =>
        mutator.mutate(mutator.pick(corpus), mutator.pick(corpus)),
      );
      for (const input of batch) check(input, known);
      runs += batch.length;
      if ((await coverage.fresh()) === 0) continue;
      // One of them is news; which one, later batches show.
      corpus.push(...batch);
      found++;
      if (process.env['KELMESH_FUZZ_SAVE'] === '1') await save(batch, known);
      if (corpus.length > 4096) corpus.splice(64, BATCH);
    }
    console.log(
      `      ${runs} inputs, ${coverage.size - start} new blocks beside ${start}, in ${found} batches`,
    );
    assert.ok(runs > 0);
  });
});

function check(input: Uint8Array, known: ReadonlySet<string>): void {
  try {
    checkStream(input, known);
  } catch (error) {
    throw new Error(`input ${Buffer.from(input).toString('base64')}`, { cause: error });
  }
}

/** The first messages of small logs of every kind, each event of which is signed. */
function seeds(): Uint8Array[] {
  return (['JSON', 'CBOR', 'MGPK'] as const).flatMap((kind) =>
    randomFederation(`fuzz/${kind}`, [kind], 6).streams.map((stream, i) => {
      const end = [...parseStream(stream)][1 + (i % 3)]?.offset;
      return stream.slice(0, end);
    }),
  );
}

function saidsOf(stream: Uint8Array): string[] {
  return [...parseStream(stream)].flatMap((item) => {
    if (item.type !== 'message') return [];
    const said = parseBody(item.body, 'KERI').fields.get('d');
    return typeof said === 'string' ? [said] : [];
  });
}

function saved(): Uint8Array[] {
  mkdirSync(CORPUS, { recursive: true });
  return readdirSync(CORPUS)
    .filter((name) => name.endsWith('.bin'))
    .sort()
    .map((name) => readFileSync(join(CORPUS, name)));
}

/** Keeps those of a batch that reach something by themselves which the corpus does not. */
async function save(batch: readonly Uint8Array[], known: ReadonlySet<string>): Promise<void> {
  using coverage = await BlockCoverage.start('/kel/');
  for (const input of [...seeds(), ...saved()]) check(input, known);
  await coverage.fresh();
  for (const input of batch) {
    check(input, known);
    if ((await coverage.fresh()) === 0) continue;
    const name = createHash('sha256').update(input).digest('hex').slice(0, 16);
    writeFileSync(join(CORPUS, `${name}.bin`), input);
  }
}

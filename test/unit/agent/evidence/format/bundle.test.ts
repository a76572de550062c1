import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import type { ProblemSection } from '#agent/evidence/auditor/report';
import {
  decodeBundle,
  encodeBundle,
  mergeBundles,
  sectionNames,
} from '#agent/evidence/format/bundle';
import { concatBytes } from '#src/bytes';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { partOf } from '../../../../support/kit/bundle-parts.ts';
import { verify, World } from '../../../../support/kit/evidence-federation.ts';

const rng = new SeededRng('one-byte changes');
let alphaBundle: Uint8Array;
let betaBundle: Uint8Array;

before(async () => {
  const world = new World('bundle');
  const [alpha, beta] = [await world.add('alpha'), await world.add('beta')];
  await world.adopt([alpha, beta]);
  await world.tunnel(alpha, beta);
  await alpha.anchor();
  await beta.anchor();
  await alpha.anchor();
  const own = [alpha, beta].map(({ kel }) => ({ aid: kel.aid, stream: kel.stream }));
  [alphaBundle, betaBundle] = [
    await alpha.export((sources) => ({ ...sources, kels: own })),
    await beta.export(),
  ] as [Uint8Array, Uint8Array];
});

async function assertNamed(bundle: Uint8Array, at: number, flip: number): Promise<ProblemSection> {
  const expected = partOf(bundle)(at);
  const changed = Uint8Array.from(bundle);
  changed[at] = (changed[at] ?? 0) ^ flip;
  const report = await verify(changed);
  assert.equal(report.verdict, 'failed', `byte ${at} ^ ${flip} in ${expected}`);
  const [first] = report.problems;
  assert.equal(first?.section, expected, `byte ${at} ^ ${flip}: ${JSON.stringify(first)}`);
  return expected;
}

describe('a changed bundle', () => {
  it('is detected, and the part named, for every byte of the envelope, the heads, header and signature', async () => {
    const part = partOf(alphaBundle);
    const counts = new Map<string, number>();
    for (let at = 0; at < alphaBundle.length; at++) {
      if (!['envelope', 'dossier', 'header', 'signature'].includes(part(at))) continue;
      const found = await assertNamed(alphaBundle, at, 1 + rng.int(255));
      counts.set(found, (counts.get(found) ?? 0) + 1);
    }
    assert.deepEqual([...counts.keys()].sort(), ['dossier', 'envelope', 'header', 'signature']);
  }).timeout(20_000);

  it('is detected, and the part named, for a thousand bytes of the sections', async () => {
    const counts = new Map<string, number>();
    const part = partOf(alphaBundle);
    const positions = sectionNames.map((name) =>
      Array.from(alphaBundle.keys()).filter((at) => part(at) === name),
    );
    for (let i = 0; i < 1_000; i++) {
      const found = await assertNamed(
        alphaBundle,
        rng.pick(positions[i % 5] as number[]),
        1 + rng.int(255),
      );
      counts.set(found, (counts.get(found) ?? 0) + 1);
    }
    assert.deepEqual([...counts.values()], [200, 200, 200, 200, 200]);
  }).timeout(20_000);

  it('is detected in a bundle of two dossiers', async () => {
    const merged = mergeBundles([alphaBundle, betaBundle]);
    assert.equal((await verify(merged)).verdict, 'clean');
    for (let i = 0; i < 100; i++)
      await assertNamed(merged, rng.int(merged.length), 1 + rng.int(255));
  }).timeout(20_000);

  it('is detected when it is cut anywhere or continued', async () => {
    for (let i = 0; i < 200; i++) {
      const report = await verify(alphaBundle.subarray(0, rng.int(alphaBundle.length)));
      assert.deepEqual([report.verdict, report.problems[0]?.code], ['failed', 'BUNDLE_ENVELOPE']);
    }
    const longer = await verify(concatBytes(alphaBundle, Uint8Array.of(0)));
    assert.deepEqual([longer.verdict, longer.problems[0]?.section], ['failed', 'envelope']);
  });
});

describe('merging bundles', () => {
  it('keeps the dossiers as they are, each once', async () => {
    const merged = mergeBundles([alphaBundle, betaBundle, alphaBundle]);
    assert.deepEqual(decodeBundle(merged), [
      ...decodeBundle(alphaBundle),
      ...decodeBundle(betaBundle),
    ]);
    assert.equal((await verify(merged)).organisations.length, 2);
  });

  it('refuses two different dossiers of one organisation', () => {
    const [dossier] = decodeBundle(alphaBundle);
    assert.ok(dossier !== undefined);
    const changed = Uint8Array.from(dossier);
    const last = changed.length - 10;
    changed[last] = (changed[last] ?? 0) ^ 1;
    assert.throws(() => mergeBundles([alphaBundle, encodeBundle([changed])]), {
      code: 'BUNDLE_DUPLICATE_DOSSIER',
    });
  });

  it('refuses what is no bundle', () => {
    assert.throws(() => mergeBundles([new Uint8Array(4)]), { code: 'BUNDLE_ENVELOPE' });
    assert.throws(() => mergeBundles([encodeBundle([new Uint8Array(4)])]), {
      code: 'BUNDLE_DOSSIER',
    });
  });
});

describe('a bundle', () => {
  it('with one dossier twice fails', async () => {
    const [dossier] = decodeBundle(alphaBundle);
    assert.ok(dossier !== undefined);
    const report = await verify(encodeBundle([dossier, dossier]));
    assert.deepEqual(
      [report.verdict, report.problems[0]?.code],
      ['failed', 'BUNDLE_DUPLICATE_DOSSIER'],
    );
  });

  it('without dossiers, or of nothing, fails', async () => {
    for (const bytes of [encodeBundle([]), new Uint8Array()]) {
      const report = await verify(bytes);
      assert.deepEqual([report.verdict, report.problems[0]?.code], ['failed', 'BUNDLE_ENVELOPE']);
      assert.deepEqual(report.tunnels, []);
    }
  });
});

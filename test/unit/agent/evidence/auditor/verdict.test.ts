/** The verdict: what it is a function of, and that nothing which the whole bundle shows is passed over. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { AuditReport } from '#agent/evidence/auditor/report';
import { verdictOf } from '#agent/evidence/auditor/verdict';
import { mergeBundles } from '#agent/evidence/format/bundle';
import {
  type BundleProblemCode,
  bundleContradictions,
  bundleGaps,
} from '#agent/evidence/format/errors';
import { buildInteraction } from '#kel/event/interaction';
import { digestSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { MAX_OTHER_REFUSALS, MAX_SUPERSEDED } from '#kel/verify/refusals';
import { formatDateTime } from '#src/clock';
import {
  type Alteration,
  audit,
  type Member,
  verify,
  World,
} from '../../../../support/kit/evidence-federation.ts';
import type { Organisation } from '../../../../support/kit/key-log.ts';

const DAY = 86_400_000;

/** Alpha governs; beta and gamma are members. */
async function mesh(seed: string) {
  const world = new World(seed);
  const alpha = await world.add('alpha');
  const beta = await world.add('beta');
  const gamma = await world.add('gamma');
  await world.adopt([alpha, beta, gamma]);
  return { world, alpha, beta, gamma };
}

function outcome({ verdict, problems }: AuditReport): readonly string[] {
  return [verdict, ...new Set(problems.map(({ code }) => code))];
}

function revoke(by: Member, k: 'node' | 'epoch' | 'organisation', who: string): void {
  const from = formatDateTime(by.world.clock.now());
  by.seal('rvk', { k, who, from, why: 'test' });
}

describe('verdict', () => {
  const contradictions = Object.keys(bundleContradictions) as BundleProblemCode[];
  const gaps = Object.keys(bundleGaps) as BundleProblemCode[];
  const problems = (codes: readonly BundleProblemCode[]) => codes.map((code) => ({ code }));

  it('is clean for tunnels without any problem or missing word, and for nothing else: every set of findings', () => {
    const findings = fc.record({
      problems: fc
        .array(fc.constantFrom(...contradictions, ...gaps), { maxLength: 4 })
        .map(problems),
      tunnels: fc.array(
        fc.record({ missing: fc.array(fc.constantFrom('log-a', 'dossier-b'), { maxLength: 2 }) }),
        { maxLength: 3 },
      ),
    });
    fc.assert(
      fc.property(findings, (found) => {
        const isContradicted = found.problems.some(({ code }) => contradictions.includes(code));
        const isWhole =
          found.tunnels.length > 0 &&
          found.tunnels.every(({ missing }) => missing.length === 0) &&
          found.problems.length === 0;
        const expected = isContradicted ? 'failed' : isWhole ? 'clean' : 'incomplete';
        assert.equal(verdictOf(found), expected);
      }),
    );
  });
});

/** Each brings up a tunnel that the bundle shows to be wrong somewhere, often in a dossier of neither end. */
const wrongs: readonly (readonly [
  string,
  'failed' | 'incomplete',
  BundleProblemCode,
  (it: Awaited<ReturnType<typeof mesh>>) => Promise<readonly Member[]>,
])[] = [
  [
    'under a key epoch that its owner revoked',
    'failed',
    'BUNDLE_REVOKED',
    async ({ world, beta, gamma }) => {
      revoke(gamma, 'epoch', gamma.tun.said);
      await gamma.anchor();
      await world.tunnel(beta, gamma);
      return [beta, gamma];
    },
  ],
  [
    'under a key epoch that its owner revoked two minutes before, as the times say',
    'failed',
    'BUNDLE_REVOKED',
    async ({ world, beta, gamma }) => {
      const own = gamma.end();
      revoke(gamma, 'epoch', gamma.tun.said);
      world.clock.ms += 120_000;
      const hs = formatDateTime(world.clock.now());
      await world.tunnel(beta, gamma, { ends: [beta.end(), { ...own, hs }] });
      return [beta, gamma];
    },
  ],
  [
    'with an organisation that the governor revoked thirty days before, in a dossier of neither end',
    'failed',
    'BUNDLE_REVOKED',
    async ({ world, alpha, beta, gamma }) => {
      revoke(alpha, 'organisation', gamma.aid);
      world.clock.ms += 30 * DAY;
      await gamma.newTunnelKey();
      await beta.newTunnelKey();
      await world.tunnel(beta, gamma);
      return [alpha, beta, gamma];
    },
  ],
  [
    'with an organisation that a charter removed thirty days before, in a dossier of neither end',
    'failed',
    'BUNDLE_MEMBERSHIP',
    async ({ world, alpha, beta, gamma }) => {
      const old = world.charter;
      await world.adopt([alpha, beta], {}, [alpha]);
      world.clock.ms += 30 * DAY;
      await gamma.newTunnelKey();
      await beta.newTunnelKey();
      await world.tunnel(beta, gamma, { change: { ch: old.said } });
      return [alpha, beta, gamma];
    },
  ],
  [
    'of the governor itself with an organisation that its own log had removed, whatever the times say',
    'failed',
    'BUNDLE_MEMBERSHIP',
    async ({ world, alpha, beta, gamma }) => {
      const old = world.charter;
      const before = formatDateTime(world.clock.now());
      await world.adopt([alpha, beta], {}, []);
      await alpha.anchor();
      const ends = [
        { ...alpha.end(), hs: before },
        { ...gamma.end(), hs: before },
      ] as const;
      await world.tunnel(alpha, gamma, { change: { ch: old.said }, ends, at: before });
      return [alpha, gamma];
    },
  ],
  [
    'within a minute of the charter that removed an end, where no log shows the order',
    'incomplete',
    'BUNDLE_ORDER',
    async ({ world, alpha, beta, gamma }) => {
      const old = world.charter;
      await world.adopt([alpha, beta], {}, []);
      await world.tunnel(beta, gamma, { change: { ch: old.said } });
      return [alpha, beta, gamma];
    },
  ],
  [
    'that both ends have dated back together, keys and leaves included',
    'incomplete',
    'BUNDLE_TIMES',
    async ({ world, beta, gamma }) => {
      await beta.anchor();
      await gamma.anchor();
      world.clock.ms -= 30 * DAY;
      await beta.newTunnelKey();
      await gamma.newTunnelKey();
      await world.tunnel(beta, gamma);
      world.clock.ms += 30 * DAY;
      return [beta, gamma];
    },
  ],
  [
    'whose leaf one end has dated back',
    'incomplete',
    'BUNDLE_TIMES',
    async ({ world, beta, gamma }) => {
      const wait = gamma.record.bind(gamma);
      gamma.record = async (type, values) => {
        world.clock.ms -= 2 * DAY;
        const index = await wait(type, values);
        world.clock.ms += 2 * DAY;
        return index;
      };
      await world.tunnel(beta, gamma);
      return [beta, gamma];
    },
  ],
  [
    'with a node that its organisation revoked',
    'failed',
    'BUNDLE_REVOKED',
    async ({ world, alpha, beta }) => {
      const node = await world.add('node', alpha);
      revoke(alpha, 'node', node.aid);
      world.clock.ms += 120_000;
      await world.tunnel(beta, node);
      return [alpha, beta, node];
    },
  ],
  [
    'with a tun record past its end',
    'failed',
    'BUNDLE_TUNNEL_KEY',
    async ({ world, beta, gamma }) => {
      world.clock.ms += 2 * DAY;
      await beta.newTunnelKey();
      await world.tunnel(beta, gamma);
      return [beta, gamma];
    },
  ],
  [
    'with a tun record that begins later',
    'failed',
    'BUNDLE_TUNNEL_KEY',
    async ({ world, beta, gamma }) => {
      world.clock.ms += DAY;
      await gamma.newTunnelKey();
      await beta.newTunnelKey();
      world.clock.ms -= DAY / 2;
      await world.tunnel(beta, gamma);
      world.clock.ms += DAY;
      return [beta, gamma];
    },
  ],
  [
    'with the keys of a later rotation and the record of the inception',
    'failed',
    'BUNDLE_TUNNEL_KEY',
    async ({ world, beta, gamma }) => {
      const { tun } = gamma;
      await gamma.rotate();
      gamma.tun = tun;
      await world.tunnel(beta, gamma);
      return [beta, gamma];
    },
  ],
  [
    'to a peer whose fork the log had recorded and nobody resolved',
    'failed',
    'BUNDLE_TUNNEL',
    async ({ world, beta, gamma }) => {
      const [first, second] = [gamma.kel.state.said, gamma.tun.said];
      await beta.record('duplicity', { peer: gamma.aid, sn: 1, first, second });
      await world.tunnel(beta, gamma);
      return [beta, gamma];
    },
  ],
  [
    'of an end whose fork a third log records and the bundle does not show',
    'incomplete',
    'BUNDLE_FORK_CLAIMED',
    async ({ world, alpha, beta, gamma }) => {
      await world.tunnel(beta, gamma);
      const [first, second] = [gamma.kel.state.said, gamma.tun.said];
      await alpha.record('duplicity', { peer: gamma.aid, sn: 1, first, second });
      return [alpha, beta, gamma];
    },
  ],
  [
    'while a sealed charter follows one that is not there',
    'incomplete',
    'BUNDLE_RECORD_MISSING',
    async ({ world, alpha, beta, gamma }) => {
      await world.tunnel(beta, gamma);
      const hidden = await world.adopt([alpha, beta], {}, []);
      await world.adopt([alpha, beta], {}, []);
      alpha.records.splice(alpha.records.indexOf(hidden.message), 1);
      return [alpha, beta, gamma];
    },
  ],
  [
    'while the governor sealed two charters after one',
    'failed',
    'BUNDLE_CHARTER',
    async ({ world, alpha, beta, gamma }) => {
      const first = world.charter;
      await world.adopt([alpha, beta, gamma], {}, []);
      world.charter = first;
      await world.adopt([alpha, beta], {}, []);
      await world.tunnel(beta, gamma);
      return [alpha, beta, gamma];
    },
  ],
];

describe('verdict on what the whole bundle shows', () => {
  for (const [what, verdict, code, build] of wrongs) {
    it(`is ${verdict} for a tunnel ${what}`, async () => {
      const it = await mesh(what);
      const report = await audit(...(await build(it)));
      assert.equal(report.verdict, verdict, outcome(report).join());
      assert.ok(outcome(report).includes(code), outcome(report).join());
      assert.equal(report.tunnelCount, 1);
    });
  }

  it('is clean for tunnels from before a revocation, and after a governor took the organisation in again', async () => {
    const { world, alpha, beta, gamma } = await mesh('readmitted');
    await world.tunnel(beta, gamma);
    for (const member of [beta, gamma]) await member.anchor();
    world.clock.ms += DAY / 4;
    revoke(alpha, 'organisation', gamma.aid);
    await world.adopt([alpha, beta], {}, [alpha, beta]);
    await world.tunnel(alpha, beta);
    await world.adopt([alpha, beta, gamma]);
    await world.tunnel(alpha, gamma);
    assert.deepEqual(outcome(await audit(alpha, beta, gamma)), ['clean']);
  });

  it('does not heed a revocation by whoever may not say it', async () => {
    const { world, beta, gamma } = await mesh('usurper');
    revoke(beta, 'organisation', gamma.aid);
    revoke(beta, 'epoch', gamma.tun.said);
    revoke(beta, 'node', gamma.aid);
    world.clock.ms += 120_000;
    await world.tunnel(beta, gamma);
    assert.deepEqual(outcome(await audit(beta, gamma)), ['clean']);
  });

  it('is incomplete when the leaf that records a fork stays closed', async () => {
    const { world, beta, gamma } = await mesh('closed fork');
    await world.tunnel(beta, gamma);
    const said = gamma.tun.said;
    const at = await beta.record('duplicity', {
      peer: gamma.aid,
      sn: 1,
      first: said,
      second: said,
    });
    for (const member of [beta, gamma]) await member.anchor();
    const closed: Alteration = (sources) => ({
      ...sources,
      openings: (index) => (index === at ? new Map() : sources.openings(index)),
    });
    const bundles = [await beta.export(closed), await gamma.export()];
    const report = await verify(mergeBundles(bundles));
    assert.deepEqual(outcome(report), ['incomplete', 'BUNDLE_NOT_OPENED']);
  });
});

describe('verdict on evidence in a crowd', () => {
  /** Superseded interactions of `org`, which anyone with its former keys can make for nothing. */
  function* superseded(org: Organisation, count: number): Generator<Uint8Array> {
    const before = org.fork(org.steps.length - 1);
    for (let i = 0; i < count; i++) {
      const anchors = [digestSeal(`E${String(i).padStart(43, '0')}` as Said)];
      const event = buildInteraction({ prior: before.state, anchors });
      yield before.step(event, before.keys(before.generation)).message;
    }
  }

  it('finds the contradiction behind any number of harmless refusals, and what a bound drops is never clean', async function () {
    this.timeout(120_000);
    const { world, alpha, beta, gamma } = await mesh('crowd');
    await world.tunnel(beta, gamma);
    // An organisation that the tunnel has nothing to do with, with a recovery, and another with a fork.
    alpha.kel.rotate();
    alpha.generation++;
    const noise = [...superseded(alpha.kel, MAX_OTHER_REFUSALS + 1)];
    const fork = beta.kel.fork(beta.kel.steps.length - 1);
    fork.anchor([digestSeal(gamma.tun.said)]);
    for (const member of [beta, gamma]) await member.anchor();
    const crowd =
      (count: number, extra: Uint8Array): Alteration =>
      (sources) => ({
        ...sources,
        kels: sources.kels.map((kel) => {
          if (kel.aid === alpha.aid)
            return { ...kel, stream: Buffer.concat([kel.stream, ...noise.slice(0, count)]) };
          return kel.aid === beta.aid
            ? { ...kel, stream: Buffer.concat([kel.stream, extra]) }
            : kel;
        }),
      });
    const others = await gamma.export();
    const harmless = await verify(
      mergeBundles([await beta.export(crowd(MAX_SUPERSEDED + 1, Buffer.alloc(0))), others]),
    );
    assert.deepEqual(outcome(harmless), ['incomplete', 'BUNDLE_LIMIT']);
    const hidden = await verify(
      mergeBundles([await beta.export(crowd(noise.length, fork.stream)), others]),
    );
    assert.equal(hidden.verdict, 'failed');
    assert.ok(outcome(hidden).includes('BUNDLE_DUPLICITY'));
  });
});

describe('interval of a tunnel', () => {
  it('of a third party with one of them is not moved by two ends that date back together', async () => {
    const { world, alpha, beta, gamma } = await mesh('colluding');
    const honest = await world.tunnel(alpha, beta);
    const before = (await audit(alpha, beta)).tunnels[0]?.interval;
    world.clock.ms -= 30 * DAY;
    await beta.newTunnelKey();
    await gamma.newTunnelKey();
    const dated = await world.tunnel(beta, gamma);
    world.clock.ms += 30 * DAY;
    const report = await audit(alpha, beta, gamma);
    const rowOf = (said: string) => report.tunnels.find(({ proof }) => proof === said);
    assert.deepEqual(rowOf(honest.said)?.interval, before);
    assert.deepEqual(outcome(report), ['incomplete', 'BUNDLE_TIMES']);
    const named = report.problems.map(({ message }) => message).join();
    assert.ok(named.includes(dated.said) && !named.includes(honest.said), named);
  });

  it('is bounded by the entries beside it and not by the export: a year later it is the same', async () => {
    const { world, beta, gamma } = await mesh('interval');
    await beta.record('gap', { reason: 'before' });
    const tunnel = await world.tunnel(beta, gamma);
    await beta.record('gap', { reason: 'after' });
    const soon = await audit(beta, gamma);
    world.clock.ms += 365 * DAY;
    const late = await audit(beta, gamma);
    const [row] = soon.tunnels;
    assert.deepEqual(late.tunnels[0]?.interval, row?.interval);
    assert.ok(row !== undefined);
    const side = row.a.aid === beta.aid ? 'a' : 'b';
    const { leaf, neighbours, checkpoint, anchoredAt } = row.evidence[side];
    assert.ok(leaf !== null && checkpoint !== null && anchoredAt !== null);
    assert.deepEqual(
      [neighbours.before?.leaf, neighbours.after?.leaf, checkpoint > leaf],
      [leaf - 1, leaf + 1, true],
    );
    const { from, to, after, before, claimed } = row.interval;
    assert.ok(from !== null && to !== null && from <= claimed.a && claimed.b <= to);
    assert.ok(to <= (neighbours.after?.time ?? ''));
    assert.match(`${after} ${before}`, /^(leaf|tunnel key record|charter) .* leaf \d+ of E/);
    assert.deepEqual([row.a.name, row.b.name].sort(), ['beta', 'gamma']);
    assert.equal(row.proof, tunnel.said);
  });
});

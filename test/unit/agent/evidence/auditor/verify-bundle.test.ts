import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { AuditReport } from '#agent/evidence/auditor/report';
import { mergeBundles } from '#agent/evidence/format/bundle';
import { buildInteraction } from '#kel/event/interaction';
import { digestSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { parseRecord } from '#kel/record/parse';
import type { TunRecord } from '#kel/record/record';
import { signNote } from '#src/audit/note';
import { formatDateTime } from '#src/clock';
import {
  type Alteration,
  audit,
  type Member,
  resigned,
  verify,
  World,
} from '../../../../support/kit/evidence-federation.ts';
import { sign } from '../../../../support/kit/key-log.ts';
import { criticalRecord } from '../../../../support/kit/later-record.ts';

async function pair(seed: string) {
  const world = new World(seed);
  const [alpha, beta] = [await world.add('alpha'), await world.add('beta')];
  await world.adopt([alpha, beta]);
  return { world, alpha, beta };
}

/** One tunnel, both anchored, `alpha` exports with a change. */
async function withTunnel(seed: string) {
  const { world, alpha, beta } = await pair(seed);
  const tunnel = await world.tunnel(alpha, beta);
  await alpha.anchor();
  await beta.anchor();
  const exported = async (alter: Alteration) => verify(await alpha.export(alter));
  return { world, alpha, beta, tunnel, exported };
}

/** The verdict and the codes of the problems, each once. */
function outcome({ verdict, problems }: AuditReport): readonly [string, ...string[]] {
  return [verdict, ...new Set(problems.map(({ code }) => code))];
}

function sides(report: AuditReport, member: Member) {
  const [row] = report.tunnels;
  assert.ok(row !== undefined);
  return row.a.aid === member.aid ? (['a', 'b'] as const) : (['b', 'a'] as const);
}

describe('audit of honest logs', () => {
  it('is clean for a tunnel that both ends logged, and tells what that proves', async () => {
    const { world, alpha, beta } = await pair('clean');
    const tunnel = await world.tunnel(alpha, beta);
    const report = await audit(alpha, beta);
    assert.deepEqual(outcome(report), ['clean']);
    const [row, ...others] = report.tunnels;
    assert.ok(row !== undefined);
    assert.equal(others.length, 0);
    const ends = ['a', 'b'].flatMap((side) =>
      ['tunnel-key', 'log', 'anchor', 'history'].map((word) => `${word}-${side}`),
    );
    assert.deepEqual(row.proven, ['identities', 'membership', 'psk-epoch', ...ends]);
    assert.deepEqual(row.missing, []);
    assert.deepEqual(row.logged, { a: true, b: true });
    assert.equal(row.proof, tunnel.said);
    const { from, to, claimed } = row.interval;
    assert.ok(from !== null && to !== null && from < claimed.a && claimed.b < to);
    assert.deepEqual(
      report.organisations.map(({ name, leaves, checkpointSize, anchored }) => [
        name,
        leaves,
        checkpointSize,
        anchored,
      ]),
      [
        ['alpha', 3, 3, true],
        ['beta', 3, 3, true],
      ],
    );
    assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
  });

  it('is incomplete without the dossier of the other end, and says that it is missing', async () => {
    const { world, alpha, beta } = await pair('one side');
    await world.tunnel(alpha, beta);
    const report = await audit(alpha);
    assert.deepEqual(outcome(report), ['incomplete']);
    const [own, other] = sides(report, alpha);
    assert.equal(report.tunnels[0]?.logged[own], true);
    assert.equal(report.tunnels[0]?.logged[other], false);
    assert.deepEqual(report.tunnels[0]?.missing, [`dossier-${other}`]);
    assert.equal(report.organisations.length, 1);
  });

  it('is clean for a mesh that moved to records of version 2 between its tunnels, end by end', async () => {
    const { world, alpha, beta } = await pair('moved');
    await world.tunnel(alpha, beta);
    world.recordVersion = 2;
    await world.adopt([alpha, beta]);
    await world.tunnel(alpha, beta);
    await alpha.rotate();
    await world.tunnel(alpha, beta);
    await beta.rotate();
    await world.tunnel(alpha, beta);
    const report = await audit(alpha, beta);
    assert.deepEqual(outcome(report), ['clean']);
    assert.equal(report.tunnels.length, 4);
  });

  it('is incomplete with a record of a later version, and says so', async () => {
    const { alpha, exported } = await withTunnel('later');
    const { bytes } = criticalRecord(alpha.aid);
    const report = await exported((sources) => ({
      ...sources,
      records: [...sources.records, bytes],
    }));
    assert.ok(report.problems.some(({ code }) => code === 'BUNDLE_RECORD_UNKNOWN'));
    assert.equal(report.verdict, 'incomplete');
  });

  it('fails for tunnel keys of version 2 that nobody has shown to hold', async () => {
    const { world, alpha, beta } = await pair('not possessed');
    world.recordVersion = 2;
    await world.adopt([alpha, beta]);
    await alpha.rotate();
    const {
      i: _,
      d: _d,
      v: _v,
      t: _t,
      u: _u,
      dt: _dt,
      x: _x,
      cr: _cr,
      ...fields
    } = parseRecord(alpha.tun.message).record as TunRecord;
    alpha.seal('tun', fields, { extensions: { x: { pop: new Uint8Array(64) }, cr: [] } });
    const report = await audit(alpha, beta);
    assert.deepEqual(outcome(report).slice(0, 2), ['failed', 'BUNDLE_RECORD']);
  });

  it('fails for a charter that takes the mesh back to an earlier version of records', async () => {
    const { world, alpha, beta } = await pair('set back');
    world.recordVersion = 2;
    await world.adopt([alpha, beta]);
    await world.tunnel(alpha, beta);
    world.recordVersion = 1;
    await world.adopt([alpha, beta], {}, []);
    const [verdict, ...codes] = outcome(await audit(alpha, beta));
    assert.equal(verdict, 'failed');
    assert.ok(codes.includes('BUNDLE_CHARTER'), codes.join());
  });

  it('is clean for several tunnels of one pair with a rotation between them', async () => {
    const { world, alpha, beta } = await pair('rotation');
    await world.tunnel(alpha, beta);
    await world.tunnel(alpha, beta);
    await beta.rotate();
    await world.tunnel(alpha, beta);
    await alpha.rotate();
    await alpha.rotate();
    await world.tunnel(alpha, beta, { change: { g: 1 } });
    const report = await audit(alpha, beta);
    assert.deepEqual(outcome(report), ['clean']);
    const [own] = sides(report, alpha);
    assert.equal(report.tunnels.length, 4);
    const sns = report.tunnels.map((row) => row[own].sn);
    assert.deepEqual([sns[0], sns[1], sns[2]], [0, 0, 0]);
    assert.ok((sns[3] ?? 0) > 0);
  });

  it('accepts a proof signed before a rotation and logged after it', async () => {
    const { world, alpha, beta } = await pair('late');
    const [own, peer] = [alpha.end(), beta.end()];
    const proof = await world.tunnel(alpha, beta, { ends: [own, peer], loggedBy: [beta] });
    await alpha.anchor();
    alpha.generation++;
    alpha.kel.rotate();
    await alpha.recordTunnel(proof, own, peer);
    assert.deepEqual(outcome(await audit(alpha, beta)), ['clean']);
  });

  it('is clean for an organisation that was removed and came back', async () => {
    const { world, alpha, beta } = await pair('rejoin');
    const gamma = await world.add('gamma');
    await world.adopt([alpha, beta, gamma]);
    await world.tunnel(alpha, gamma);
    await world.adopt([alpha, beta]);
    await world.tunnel(alpha, beta);
    await world.adopt([alpha, beta, gamma]);
    await world.tunnel(alpha, gamma);
    const report = await audit(alpha, beta, gamma);
    assert.deepEqual(outcome(report), ['clean']);
    assert.equal(report.tunnels.length, 3);
  });

  it('is incomplete for an organisation without any leaf: nothing is no clean record', async () => {
    const { alpha } = await pair('no leaf');
    const report = await verify(await alpha.export((sources) => ({ ...sources, checkpoints: [] })));
    assert.deepEqual(outcome(report), ['incomplete', 'BUNDLE_NO_TUNNEL']);
    assert.equal(report.tunnelCount, 0);
    assert.equal(report.organisations[0]?.checkpointSize, 0);
  });
});

describe('audit of members', () => {
  it('fails for a tunnel with an organisation that the named charter does not name', async () => {
    const { world, alpha } = await pair('outsider');
    const gamma = await world.add('gamma');
    await world.tunnel(alpha, gamma);
    assert.deepEqual(outcome(await audit(alpha, gamma)), ['failed', 'BUNDLE_MEMBERSHIP']);
  });

  it('fails for a tunnel under an old charter after the log knew that the peer was removed', async () => {
    const { world, alpha, beta } = await pair('removed');
    const gamma = await world.add('gamma');
    const old = await world.adopt([alpha, beta, gamma]);
    await world.adopt([alpha, beta]);
    await world.tunnel(alpha, gamma, { change: { ch: old.said } });
    assert.deepEqual(outcome(await audit(alpha, gamma)), ['failed', 'BUNDLE_MEMBERSHIP']);
  });

  it('fails for a charter that nobody sealed, and for one that no governor signed', async () => {
    for (const [seed, issue] of [
      ['unsealed', (world: World, fields: never) => world.members[0]?.signRecord('chr', fields)],
      ['usurper', (world: World, fields: never) => world.members[1]?.seal('chr', fields)],
    ] as const) {
      const { world, alpha, beta } = await pair(seed);
      const fields = {
        ...{ m: world.mesh, p: world.charter.said, n: 1, name: 'x', edge: { min: 'A' } },
        ...{ gov: [alpha.aid], ep: { len: 86_400, base: 0 } },
        mem: [alpha, beta].map(({ aid, name }) => ({
          i: aid,
          n: name,
          role: 'server',
          region: '',
        })),
      };
      const charter = issue(world, fields as never);
      assert.ok(charter !== undefined);
      alpha.records.push(charter.message);
      await world.tunnel(alpha, beta, { change: { ch: charter.said } });
      assert.deepEqual(outcome(await audit(alpha, beta)), ['failed', 'BUNDLE_CHARTER']);
    }
  });

  it('is incomplete without a charter of the chain', async () => {
    const { world, alpha, beta } = await pair('chain');
    const first = world.charter;
    await world.adopt([alpha, beta]);
    await world.tunnel(alpha, beta);
    await alpha.anchor();
    const bundle = await alpha.export((sources) => ({
      ...sources,
      records: sources.records.filter((message) => !Buffer.from(message).equals(first.message)),
    }));
    const report = await verify(bundle);
    assert.deepEqual(outcome(report), ['incomplete', 'BUNDLE_RECORD_MISSING']);
    assert.ok(report.tunnels[0]?.missing.includes('charter'));
  });

  it('fails below the least protection that the charter demands', async () => {
    const { world, alpha, beta } = await pair('level');
    await world.adopt([alpha, beta], { edge: { min: 'AB' } });
    await world.tunnel(alpha, beta, { change: { lv: 'AC' } });
    assert.deepEqual(outcome(await audit(alpha)), ['failed', 'BUNDLE_TUNNEL']);
  });
});

describe('audit of a tunnel proof', () => {
  it('fails when the other end does not show a tunnel that it signed for', async () => {
    const { world, alpha, beta } = await pair('unlogged');
    await world.tunnel(alpha, beta, { loggedBy: [alpha] });
    const report = await audit(alpha, beta);
    assert.deepEqual(outcome(report), ['failed', 'BUNDLE_UNLOGGED']);
    assert.equal(report.problems[0]?.where, `dossier of ${beta.aid}`);
    assert.ok(report.tunnels[0]?.missing.includes(`log-${sides(report, beta)[0]}`));
  });

  it('is incomplete when the other end exported before the tunnel, or while the proof was on its way', async () => {
    const { world, alpha, beta } = await pair('early');
    await beta.anchor();
    const early = await beta.export();
    await world.tunnel(alpha, beta, { loggedBy: [alpha] });
    await alpha.anchor();
    const own = await alpha.export();
    for (const other of [early, await beta.export()]) {
      const report = await verify(mergeBundles([own, other]));
      assert.deepEqual(outcome(report), ['incomplete', 'BUNDLE_NOT_YET_LOGGED']);
    }
    world.clock.ms += 60_000;
    const late = await verify(mergeBundles([own, await beta.export()]));
    assert.deepEqual(outcome(late), ['failed', 'BUNDLE_UNLOGGED']);
  });

  it('fails for a PSK epoch of another day', async () => {
    const { world, alpha, beta } = await pair('epoch');
    const day = Math.floor(world.clock.ms / 86_400_000);
    await world.tunnel(alpha, beta, { change: { ep: day + 1 } });
    assert.deepEqual(outcome(await audit(alpha, beta)), ['clean']);
    await world.tunnel(alpha, beta, { change: { ep: day + 2 } });
    assert.deepEqual(outcome(await audit(alpha, beta)), ['failed', 'BUNDLE_EPOCH']);
  });

  it('is incomplete without a tunnel key record and fails with one that is not sealed', async () => {
    const { alpha, exported, beta } = await withTunnel('tunnel key');
    const report = await exported((sources) => ({
      ...sources,
      records: sources.records.filter((message) => !Buffer.from(message).equals(beta.tun.message)),
    }));
    assert.deepEqual(outcome(report), ['incomplete', 'BUNDLE_RECORD_MISSING']);
    assert.ok(report.tunnels[0]?.missing.includes(`tunnel-key-${sides(report, beta)[0]}`));

    const { world } = beta;
    const { sn: s, said: d } = beta.establishment;
    const now = formatDateTime(world.clock.now());
    const fields = {
      e: 0,
      es: { s, d },
      wg: new Uint8Array(32),
      kem: { 'ml-kem-1024': new Uint8Array(1568) },
    };
    beta.tun = beta.signRecord('tun', {
      ...fields,
      nb: now,
      na: formatDateTime(world.clock.now()),
    });
    beta.records.push(beta.tun.message);
    await world.tunnel(alpha, beta);
    assert.deepEqual(outcome(await audit(alpha)), ['failed', 'BUNDLE_TUNNEL_KEY']);
  });

  it('fails for a tunnel key that was sealed after the tunnel was logged and anchored', async () => {
    const { world, alpha, beta } = await pair('sealed late');
    const { sn: s, said: d } = beta.establishment;
    const now = world.clock.now();
    beta.tun = beta.signRecord('tun', {
      ...{
        e: 1,
        es: { s, d },
        wg: new Uint8Array(32),
        kem: { 'ml-kem-1024': new Uint8Array(1568) },
      },
      ...{ nb: formatDateTime(now), na: formatDateTime(now + 1_000) },
    });
    beta.records.push(beta.tun.message);
    await world.tunnel(alpha, beta);
    await beta.anchor();
    beta.anchorSeals([digestSeal(beta.tun.said)]);
    assert.deepEqual(outcome(await audit(alpha, beta)), ['failed', 'BUNDLE_TUNNEL_KEY']);
  });

  it('fails for keys that were rotated away before the leaf', async () => {
    const { world, alpha, beta } = await pair('old keys');
    const old = beta.end();
    const generation = beta.generation;
    await beta.rotate();
    await beta.anchor();
    const now = beta.generation;
    beta.generation = generation;
    await world.tunnel(alpha, beta, { ends: [alpha.end(), old] });
    beta.generation = now;
    assert.deepEqual(outcome(await audit(alpha, beta)), ['failed', 'BUNDLE_TUNNEL']);
  });

  it('fails when the leaf says something else than the proof in it', async () => {
    const { world, alpha, beta } = await pair('leaf');
    const proof = await world.tunnel(alpha, beta, { loggedBy: [beta] });
    const epoch = Math.floor(world.clock.ms / 86_400_000);
    const values = {
      proof: proof.message,
      peer: beta.aid,
      epoch,
      level: 'ABC',
      handshake: formatDateTime(0),
    };
    await alpha.record('tunnel-up', values);
    assert.deepEqual(outcome(await audit(alpha)), ['failed', 'BUNDLE_TUNNEL', 'BUNDLE_UNLOGGED']);
  });

  it('fails when the proof in a leaf is not signed by both', async () => {
    const { world, alpha, beta } = await pair('signature');
    const proof = await world.tunnel(alpha, beta, { loggedBy: [beta] });
    const forged = Uint8Array.from(proof.message);
    const last = forged.length - 5;
    forged[last] = forged[last] === 65 ? 66 : 65;
    const values = {
      proof: forged,
      peer: beta.aid,
      epoch: 1,
      level: 'A',
      handshake: formatDateTime(0),
    };
    await alpha.record('tunnel-up', values);
    assert.deepEqual(outcome(await audit(alpha)), ['failed', 'BUNDLE_RECORD']);
  });
});

describe('audit of a log', () => {
  it('fails when a peer holds another root, another origin or a larger log', async () => {
    for (const [why, change, expected] of [
      ['root', { r: new Uint8Array(32) }, 'BUNDLE_FORK'],
      ['origin', { o: 'kelmesh/other' }, 'BUNDLE_FORK'],
      ['size', { n: 1000 }, 'BUNDLE_TRUNCATED_LOG'],
    ] as const) {
      const { world, alpha, beta } = await pair(`shown ${why}`);
      await beta.anchor();
      const end = beta.end();
      await world.tunnel(alpha, beta, {
        ends: [alpha.end(), { ...end, c: { ...end.c, ...change } }],
      });
      const found = outcome(await audit(alpha, beta));
      assert.equal(found[0], 'failed');
      assert.ok(found.includes(expected), found.join());
    }
  });

  it('checks what peers hold between two checkpoints against the leaves', async () => {
    const { world, alpha, beta } = await pair('between');
    for (let i = 0; i < 6; i++) await beta.record('gap', { reason: `${i}` });
    await beta.anchor();
    const size = 5;
    const good = await beta.provenance.log.root(size);
    for (const [r, expected] of [
      [good, ['clean']],
      [new Uint8Array(32), ['failed', 'BUNDLE_FORK']],
    ] as const) {
      const own = { ...beta.end(), c: { o: beta.origin, n: size, r } };
      await world.tunnel(alpha, beta, { ends: [alpha.end(), own] });
      assert.deepEqual(outcome(await audit(alpha, beta)), expected);
    }
  });

  it('is incomplete while the last checkpoint is not anchored', async () => {
    const { alpha } = await withTunnel('not anchored');
    await alpha.record('gap', { reason: 'x' });
    await alpha.provenance.checkpoint([alpha.signer]);
    const report = await verify(await alpha.export());
    assert.deepEqual(outcome(report), ['incomplete', 'BUNDLE_NOT_ANCHORED']);
    assert.equal(report.organisations[0]?.anchored, false);
  });

  it('fails when a checkpoint that the key event log anchors is held back', async () => {
    const { alpha, exported } = await withTunnel('held back');
    await alpha.anchor();
    const report = await exported((sources) => ({
      ...sources,
      checkpoints: sources.checkpoints.slice(0, -1),
    }));
    assert.ok(outcome(report).includes('BUNDLE_ANCHOR'));
    assert.equal(report.verdict, 'failed');
  });

  it('fails for a checkpoint signed by another key, or changed', async () => {
    const { alpha, beta, exported } = await withTunnel('log key');
    const resign = async (note: string) =>
      signNote(note.slice(0, note.indexOf('\n\n') + 1), [beta.signer]);
    const [note = ''] = await alpha.provenance.checkpoints();
    const foreign = await resign(note);
    for (const wrong of [
      foreign,
      note.replace('\n3\n', '\n2\n'),
      note.replace('kelmesh/', 'kelmesh.'),
    ]) {
      const found = outcome(await exported((sources) => ({ ...sources, checkpoints: [wrong] })));
      assert.equal(found[0], 'failed');
      assert.ok(found.includes('BUNDLE_CHECKPOINT'), found.join());
    }
  });

  it('fails when no sealed record announces the log key', async () => {
    const { alpha, exported } = await withTunnel('announcement');
    const report = await exported((sources) => ({
      ...sources,
      records: sources.records.filter(
        (message) => !Buffer.from(message).equals(alpha.records[0] as Uint8Array),
      ),
    }));
    assert.ok(outcome(report).includes('BUNDLE_LOG_KEY'));
    assert.equal(report.verdict, 'failed');
  });

  it('is incomplete when a leaf that records a tunnel stays closed, whether hidden or erased', async () => {
    const { alpha, beta, exported } = await withTunnel('closed');
    const hidden = await exported((sources) => ({
      ...sources,
      openings: (index) => (index === 2 ? new Map() : sources.openings(index)),
    }));
    assert.deepEqual(outcome(hidden), ['incomplete', 'BUNDLE_NOT_OPENED']);
    await alpha.provenance.erase(2, 'request');
    const report = await audit(alpha, beta);
    assert.deepEqual(outcome(report), ['incomplete', 'BUNDLE_NOT_OPENED']);
    assert.equal(report.tunnels.length, 1);
  });

  it('stays clean when leaves of other types stay closed', async () => {
    const { alpha, beta } = await withTunnel('privacy');
    const own = await alpha.export((sources) => ({
      ...sources,
      openings: (index) => (index === 2 ? sources.openings(index) : new Map()),
    }));
    const report = await verify(mergeBundles([own, await beta.export()]));
    assert.deepEqual(outcome(report), ['clean']);
  });

  it('fails when a leaf names a key event that is not in the log', async () => {
    const { alpha } = await withTunnel('kel leaf');
    await alpha.record('kel-event', { sn: 1, said: alpha.kel.state.said });
    assert.deepEqual(outcome(await audit(alpha)), ['failed', 'BUNDLE_LEAF']);
  });
});

describe('audit of a dossier that its exporter signed with other contents', () => {
  for (const [why, expected, change] of [
    [
      'a leaf left out',
      ['incomplete', 'BUNDLE_LEAF_MISSING'],
      (it) => ({ ...it, leaves: it.leaves.filter(({ index }) => index !== 1) }),
    ],
    [
      'an inclusion proof left out',
      ['incomplete', 'BUNDLE_PROOF_MISSING'],
      (it) => ({ ...it, proofs: { ...it.proofs, inclusion: it.proofs.inclusion.slice(1) } }),
    ],
    [
      'the consistency proof left out',
      ['incomplete', 'BUNDLE_PROOF_MISSING'],
      (it) => ({ ...it, proofs: { ...it.proofs, consistency: [] } }),
    ],
    [
      'a wrong inclusion proof',
      ['failed', 'BUNDLE_INCLUSION'],
      (it) => ({
        ...it,
        proofs: {
          ...it.proofs,
          inclusion: it.proofs.inclusion.map((proof, i) =>
            i === 0 ? { ...proof, hashes: proof.hashes.slice(1) } : proof,
          ),
        },
      }),
    ],
    [
      'a wrong consistency proof',
      ['failed', 'BUNDLE_CONSISTENCY'],
      (it) => ({
        ...it,
        proofs: {
          ...it.proofs,
          consistency: it.proofs.consistency.map((proof) => ({
            ...proof,
            hashes: [...proof.hashes, new Uint8Array(32)],
          })),
        },
      }),
    ],
    [
      'two leaves exchanged',
      ['failed', 'BUNDLE_LEAF', 'BUNDLE_INCLUSION'],
      (it) => ({
        ...it,
        leaves: it.leaves.map((leaf, i) => ({
          ...(it.leaves[i < 2 ? 1 - i : i] ?? leaf),
          index: leaf.index,
        })),
      }),
    ],
    [
      'a leaf beyond the checkpoint',
      ['failed', 'BUNDLE_LEAF', 'BUNDLE_PROOF_MISSING'],
      (it) => ({ ...it, leaves: [...it.leaves, { ...it.leaves[0], index: 99 } as never] }),
    ],
    [
      'a leaf that is no leaf',
      ['failed', 'BUNDLE_LEAF', 'BUNDLE_INCLUSION'],
      (it) => ({
        ...it,
        leaves: it.leaves.map((leaf, i) =>
          i === 0 ? { ...leaf, leaf: new Uint8Array(3), openings: new Map() } : leaf,
        ),
      }),
    ],
    [
      'an opening of another leaf',
      ['failed', 'BUNDLE_OPENING'],
      (it) => ({
        ...it,
        leaves: it.leaves.map((leaf, i) =>
          i === 0
            ? {
                ...leaf,
                openings: new Map([['record', it.leaves[1]?.openings.get('charter') as never]]),
              }
            : leaf,
        ),
      }),
    ],
    [
      'checkpoints in falling order',
      ['failed', 'BUNDLE_CHECKPOINT', 'BUNDLE_LEAF'],
      (it) => ({ ...it, checkpoints: it.checkpoints.toReversed() }),
    ],
    [
      'a record cut short',
      ['failed', 'BUNDLE_RECORD', 'BUNDLE_LOG_KEY'],
      (it) => ({
        ...it,
        records: it.records.map((record, i) => (i === 0 ? record.slice(0, -4) : record)),
      }),
    ],
    [
      'its key event log cut short',
      ['failed', 'BUNDLE_KEL'],
      (it) => ({
        ...it,
        kels: it.kels.map(({ aid, stream }) => ({
          aid,
          stream: stream.slice(0, stream.length - 4),
        })),
      }),
    ],
    ['its key event log missing', ['failed', 'BUNDLE_SIGNATURE'], (it) => ({ ...it, kels: [] })],
  ] as readonly [string, readonly string[], Parameters<typeof resigned>[2]][]) {
    it(`with ${why}: ${expected.join(', ')}`, async () => {
      const { alpha } = await withTunnel('resigned');
      await alpha.anchor();
      const report = await verify(resigned(await alpha.export(), alpha, change));
      const found = outcome(report);
      assert.equal(found[0], expected[0], found.join());
      for (const code of expected) assert.ok(found.includes(code), `${code} in ${found.join()}`);
      for (const { message, where } of report.problems)
        assert.ok(message.length > 0 && where.length > 0);
    });
  }

  it('fails when it is signed with keys that were rotated away', async () => {
    const { alpha, exported } = await withTunnel('exporter');
    const old = alpha.establishment;
    await alpha.rotate();
    await alpha.anchor();
    const generation = alpha.generation;
    alpha.generation = 0;
    const report = await exported((sources) => ({ ...sources, establishment: old }));
    alpha.generation = generation;
    assert.deepEqual(outcome(report), ['failed', 'BUNDLE_SIGNATURE']);
  });

  it('fails when it is signed with the keys of another', async () => {
    const { alpha, beta } = await withTunnel('impostor');
    assert.deepEqual(outcome(await verify(resigned(await alpha.export(), beta, (it) => it))), [
      'failed',
      'BUNDLE_SIGNATURE',
    ]);
  });
});

describe('audit of key event logs', () => {
  it('fails when two dossiers show two histories of one organisation', async () => {
    const { alpha, beta } = await withTunnel('duplicity');
    const fork = alpha.kel.fork(alpha.kel.steps.length - 1);
    const event = buildInteraction({
      prior: fork.state,
      anchors: [digestSeal(alpha.tun.said as Said)],
    });
    fork.push(event, fork.keys(0), { signatures: (bytes) => sign(bytes, fork.keys(0)) });
    const other = await beta.export((sources) => ({
      ...sources,
      kels: sources.kels.map((kel) =>
        kel.aid === alpha.aid ? { aid: kel.aid, stream: fork.stream } : kel,
      ),
    }));
    const report = await verify(mergeBundles([await alpha.export(), other]));
    assert.equal(report.verdict, 'failed');
    assert.ok(outcome(report).includes('BUNDLE_DUPLICITY'));
  });

  it('is not misled when a peer holds a newer log than the exporter showed', async () => {
    const { alpha, beta } = await withTunnel('newer');
    const early = await alpha.export();
    await alpha.record('gap', { reason: 'x' });
    await alpha.anchor();
    const report = await verify(mergeBundles([early, await beta.export()]));
    assert.deepEqual(outcome(report), ['clean']);
    const row = report.organisations.find(({ aid }) => aid === alpha.aid);
    assert.equal(row?.sn, alpha.kel.state.sn);
  });

  it('finds no fault when the log of a peer ends before its last anchor, and one when it has a hole', async () => {
    const { beta, exported } = await withTunnel('holes');
    const without = (sn: number) =>
      exported((sources) => ({
        ...sources,
        kels: sources.kels.map(({ aid, stream }) => {
          const kept = beta.kel.steps.filter((step) => step.sn !== sn);
          return {
            aid,
            stream: aid === beta.aid ? Buffer.concat(kept.map(({ message }) => message)) : stream,
          };
        }),
      }));
    assert.deepEqual((await without(beta.kel.state.sn)).problems, []);
    assert.ok(outcome(await without(1)).includes('BUNDLE_KEL_WAITING'));
  });

  it('counts a delegated node as the member that delegates it', async () => {
    const { world, alpha, beta } = await pair('node');
    const node = await world.add('node', alpha);
    await world.tunnel(node, beta);
    const report = await audit(alpha, beta, node);
    assert.deepEqual(outcome(report), ['clean']);
    assert.equal(report.tunnels[0]?.[sides(report, node)[0]].aid, node.aid);
  });
});

import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { before, describe, it } from 'mocha';
import { openedValues, parseLeaf, wrongOpenings } from '#agent/evidence/format/leaf';
import { ProvenanceLog } from '#agent/evidence/log/provenance-log';
import type { Aid, Said } from '#kel/identifiers';
import { checkpointOfNote } from '#src/audit/checkpoint';
import { AuditLog } from '#src/audit/log';
import { ed25519NoteSigner, type NoteSigner } from '#src/audit/note';
import type { Clock } from '#src/clock';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { Rng } from '#src/rng';
import type { Database } from '#src/store/durable-table';
import { type Fault, MemoryLogFiles } from '../../../../support/kit/audit-log.ts';

const aid = 'EAAA' as Aid;
const clock: Clock = {
  now: () => 1_767_225_600_000,
  monotonic: () => 0,
  sleep: () => Promise.resolve(),
};
let signer: NoteSigner;

before(async () => {
  const { ed25519 } = await loadCryptoSuite();
  signer = ed25519NoteSigner(ed25519, 'origin', new Uint8Array(32).fill(1));
});

/** Each call gives other bytes. */
function countingRng(): Rng {
  let count = 0;
  return { bytes: (length) => new Uint8Array(length).fill(++count) };
}

interface Disk {
  readonly files: Map<string, Uint8Array>;
  readonly db: Database;
}

const newDisk = (): Disk => ({ files: new Map(), db: new MemoryLevel() as unknown as Database });

async function openOn({ files, db }: Disk, fault?: Fault): Promise<ProvenanceLog> {
  const log = await AuditLog.open('origin', new MemoryLogFiles(files, fault));
  return ProvenanceLog.open(aid, { log, db, rng: countingRng(), clock });
}

const event = (sn: number) => ({ sn, said: `E${sn}` as Said });

describe('provenance log', () => {
  it('numbers leaves as the log does, also those recorded together', async () => {
    const provenance = await openOn(newDisk());
    const indices = await Promise.all(
      [0, 1, 2, 3].map((sn) => provenance.record('kel-event', event(sn))),
    );
    indices.push(await provenance.record('kel-event', event(4)));
    assert.deepEqual(indices, [0, 1, 2, 3, 4]);
    for (const index of indices) {
      const leaf = parseLeaf(await provenance.log.leaf(index));
      assert.equal(leaf.sequence, index);
      assert.deepEqual(wrongOpenings(leaf, provenance.openings(index)), []);
      assert.deepEqual(openedValues('kel-event', provenance.openings(index)), event(index));
    }
  });

  it('refuses a bad value before anything is written', async () => {
    const disk = newDisk();
    const provenance = await openOn(disk);
    const bad = { sn: -1, said: 'E' as Said };
    await assert.rejects(provenance.record('kel-event', bad), { code: 'PROVENANCE_BAD_VALUE' });
    assert.equal(disk.files.size, 0);
    assert.equal(await provenance.record('kel-event', event(0)), 0);
  });

  it('erases the openings of one leaf, says so, and leaves the log as it was', async () => {
    const provenance = await openOn(newDisk());
    await provenance.record('kel-event', event(0));
    const bytes = await provenance.log.leaf(0);
    assert.equal(await provenance.erase(0, 'request 12'), 1);
    assert.equal(provenance.openings(0).size, 0);
    assert.deepEqual(await provenance.log.leaf(0), bytes);
    assert.deepEqual(openedValues('erasure', provenance.openings(1)), {
      leaf: 0,
      reason: 'request 12',
    });
  });

  it('keeps every checkpoint it signed over a restart', async () => {
    const disk = newDisk();
    const provenance = await openOn(disk);
    const notes: string[] = [];
    for (let sn = 0; sn < 11; sn++) {
      await provenance.record('kel-event', event(sn));
      notes.push(await provenance.checkpoint([signer]));
    }
    const again = await openOn(disk);
    assert.deepEqual(await again.checkpoints(), notes);
    assert.deepEqual(
      notes.map((note) => checkpointOfNote(note).size),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    );
  });

  it('has the right openings for every leaf after a write that failed in part', async () => {
    for (const persisted of [0, 0.5, 1]) {
      const disk = newDisk();
      const provenance = await openOn(disk, { write: 2, persisted });
      await provenance.record('kel-event', event(0));
      await provenance.record('kel-event', event(1));
      await assert.rejects(provenance.record('kel-event', event(2)), {
        code: 'AUDIT_WRITE_FAILED',
      });
      const again = await openOn(disk);
      assert.equal(again.log.size, persisted === 0 ? 2 : 3);
      await again.record('kel-event', event(9));
      for (let index = 0; index < again.log.size; index++) {
        const leaf = parseLeaf(await again.log.leaf(index));
        assert.equal(leaf.sequence, index);
        assert.deepEqual(wrongOpenings(leaf, again.openings(index)), []);
        assert.equal(again.openings(index).size > 0, true);
      }
      // A cut tail is recorded as a gap before anything else.
      const types = await Promise.all(
        Array.from(
          { length: again.log.size },
          async (_, i) => parseLeaf(await again.log.leaf(i)).type,
        ),
      );
      assert.equal(types.includes('gap'), persisted === 0.5);
    }
  });
});

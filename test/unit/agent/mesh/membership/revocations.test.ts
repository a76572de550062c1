import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { RecordListener } from '#agent/identity/records/record-intake';
import { Revocations } from '#agent/mesh/membership/revocations';
import type { Aid, Said } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';
import type { KelStore } from '#kel/store/kel-store';

const known: Readonly<Record<string, string>> = { node: 'org', other: 'stranger' };

/** Revocations as they would be stored: verified and sealed by `i`. */
function world(...stored: readonly { i: string; k: string; who: string }[]) {
  const rvk = stored.map((fields, n) => ({ record: { t: 'rvk', d: `r${n}`, ...fields } }));
  const tun: Readonly<Record<string, string>> = { keys: 'org', nodekeys: 'node' };
  const delegators = { ...known };
  let tell: RecordListener = () => undefined;
  let arrive: (state: { aid: string }) => void = () => undefined;
  const revocations = new Revocations({
    records: {
      list: () => rvk,
      get: (said: string) =>
        tun[said] === undefined ? undefined : { record: { t: 'tun', d: said, i: tun[said] } },
    } as unknown as RecordStore,
    kel: {
      state: (aid: string) => ({ delegator: delegators[aid] }),
      subscribe: (listener: (state: { aid: string }) => void) => {
        arrive = listener;
        return () => undefined;
      },
    } as unknown as KelStore,
    intake: {
      subscribe: (listener: RecordListener) => {
        tell = listener;
        return () => undefined;
      },
    },
  });
  const log = (aid: string, delegator: string) => {
    delegators[aid] = delegator;
    arrive({ aid });
  };
  return { revocations, rvk, log, tell: (t: string) => tell({ t } as never) };
}

describe('revocations', () => {
  it('of a key epoch count by its own AID and by its delegator, and by nobody else', () => {
    for (const [i, who, counts] of [
      ['org', 'keys', true],
      ['org', 'nodekeys', true],
      ['node', 'nodekeys', true],
      ['node', 'keys', false],
      ['stranger', 'keys', false],
      ['org', 'unknown', false],
    ] as const) {
      const { revocations } = world({ i, k: 'epoch', who });
      assert.equal(revocations.ofEpoch(who as Said) !== undefined, counts, `${i} ${who}`);
      assert.equal(revocations.ofNode(who as unknown as Aid), undefined);
    }
  });

  it('of a node count by its delegator alone', () => {
    for (const [i, who, counts] of [
      ['org', 'node', true],
      ['node', 'node', false],
      ['stranger', 'node', false],
      ['org', 'other', false],
      ['org', 'org', false],
    ] as const) {
      const { revocations } = world({ i, k: 'node', who });
      assert.equal(revocations.ofNode(who as Aid) !== undefined, counts, `${i} ${who}`);
    }
    assert.equal(
      world({ i: 'org', k: 'organisation', who: 'node' }).revocations.ofNode('node' as Aid),
      undefined,
    );
  });

  it('are found when a stranger has named the same before', () => {
    const { revocations } = world(
      { i: 'stranger', k: 'node', who: 'node' },
      { i: 'org', k: 'node', who: 'node' },
    );
    assert.equal(revocations.ofNode('node' as Aid)?.d, 'r1');
  });

  it('hold from the moment in which the record is stored, and are told', () => {
    const { revocations, rvk, tell } = world();
    let told = 0;
    const off = revocations.subscribe(() => {
      told += 1;
    });
    rvk.push({ record: { t: 'rvk', d: 'late', i: 'org', k: 'epoch', who: 'keys' } });
    tell('tun');
    assert.equal(told, 0);
    tell('rvk');
    assert.equal(revocations.ofEpoch('keys' as Said)?.d, 'late');
    off();
    tell('rvk');
    assert.equal(told, 1);
  });

  it('of a node hold, and are told, when its log comes after them', () => {
    const { revocations, log } = world({ i: 'org', k: 'node', who: 'late' });
    let told = 0;
    revocations.subscribe(() => {
      told += 1;
    });
    assert.deepEqual([...revocations.ofNodes().keys()], []);
    log('unrelated', 'org');
    assert.equal(told, 0);
    log('late', 'org');
    assert.equal(told, 1);
    assert.deepEqual([...revocations.ofNodes().keys()], ['late']);
  });
});

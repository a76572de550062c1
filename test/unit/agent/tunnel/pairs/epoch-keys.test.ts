import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { describe, it } from 'mocha';
import { AgreementStore, type EpochKey, pairKey } from '#agent/tunnel/agreement/agreement-store';
import { chainAt, presharedKey } from '#agent/tunnel/agreement/chain';
import { pairOf } from '#agent/tunnel/agreement/terms';
import { EpochKeys } from '#agent/tunnel/pairs/epoch-keys';
import { type TunnelView, viewKey } from '#agent/tunnel/pairs/view';
import { Secret } from '#src/secret';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { a, b, mesh, policy } from '../../../../support/kit/agreements.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const self = a.local.aid;
const peer = b.local.aid;
const view: TunnelView = { own: a.local.tunnelRecord, peer: b.local.tunnelRecord };
const name = viewKey(self, peer, view);
const pair = pairOf(mesh, a.local, b.local);
const base = policy.baseEpoch;
const epochMs = policy.epochSeconds * 1_000;

const hex = (secret: Secret | undefined) => secret && Buffer.from(secret.expose()).toString('hex');
const isWiped = (secret: Secret) => secret.expose().every((byte) => byte === 0);
const thOf = (fill: number) => new Uint8Array(32).fill(fill);

function expected(epoch: number, fill = 1): string | undefined {
  const chain = new Secret(thOf(fill));
  return hex(presharedKey(chainAt({ epoch: base, chain }, epoch).chain));
}

/** Keys of one pair over a real store, of which every key that it ever gave is seen; the other end was heard. */
async function world() {
  const rng = new SeededRng('epoch keys');
  const db = new MemoryLevel() as unknown as Parameters<typeof AgreementStore.open>[0];
  const store = await AgreementStore.open(db, new Secret(rng.bytes(32)), rng);
  const given: Secret[] = [];
  const fault = { isOn: false };
  const seen = async <T extends readonly (EpochKey | undefined)[]>(ask: () => Promise<T>) => {
    if (fault.isOn) throw new Error('no space left');
    const keys = await ask();
    for (const key of keys) if (key !== undefined) given.push(key.psk);
    return keys;
  };
  const time = { at: base * epochMs, now: () => time.at };
  const told: number[] = [];
  const keys = new EpochKeys({
    self,
    store: {
      current: async (of) => (await seen(async () => [await store.current(of)] as const))[0],
      advanceAll: (due) => seen(() => store.advanceAll(due)),
    },
    pairOf: () => pair,
    epochSeconds: () => policy.epochSeconds,
    clock: new SimulatedClock(),
    time,
    journal: { warn: () => undefined } as never,
    skewOf: () => 0,
    tellEpoch: (_, __, epoch) => told.push(epoch),
  });
  const agree = async (fill: number) => {
    await store.put({ ...policy, th: thOf(fill), pair, chain: new Secret(thOf(fill)) });
    keys.renewed(peer, name, thOf(fill));
  };
  return { keys, store, given, time, fault, agree };
}

describe('keys of an epoch', () => {
  it('of every past epoch are wiped, whatever ended it: the next one, a fresh agreement, the end of the pair', async () => {
    const { keys, given, time, agree } = await world();
    await agree(1);
    const look = async () => {
      using taken = await keys.take([[peer, view]]);
      return hex(taken.of(peer, view));
    };
    const alive = () => given.filter((secret) => !isWiped(secret)).map(hex);
    for (let epoch = base; epoch < base + 5; epoch++) {
      time.at = epoch * epochMs;
      assert.equal(await look(), expected(epoch));
      assert.equal(await look(), expected(epoch));
      assert.deepEqual(alive(), [expected(epoch)], 'the key of the epoch in use and no other');
    }
    await agree(2);
    assert.equal(await look(), expected(base + 4, 2));
    assert.deepEqual(alive(), [expected(base + 4, 2)]);
    keys.retire(name);
    assert.deepEqual(alive(), []);
    assert.ok(given.length > 6);
  });

  it('that were handed out are wiped when the write is done, and not before, though the epoch ends meanwhile', async () => {
    const { keys, time, agree } = await world();
    await agree(1);
    time.at = base * epochMs;
    let handed: Secret | undefined;
    {
      using taken = await keys.take([[peer, view]]);
      handed = taken.of(peer, view);
      time.at += epochMs;
      using later = await keys.take([[peer, view]]);
      assert.equal(hex(later.of(peer, view)), expected(base + 1));
      keys.retire(name);
      assert.equal(hex(handed), expected(base), 'the write that goes on has its key');
    }
    assert.ok(handed !== undefined && isWiped(handed));
  });

  it('are on disk before they are handed out: a write that fails hands out none', async () => {
    const { keys, store, time, fault, agree } = await world();
    await agree(1);
    (await keys.take([[peer, view]]))[Symbol.dispose]();
    time.at += epochMs;
    fault.isOn = true;
    await assert.rejects(keys.take([[peer, view]]), /no space/);
    assert.equal((await store.current(pairKey(pair)))?.epoch, base);
    fault.isOn = false;
    using taken = await keys.take([[peer, view]]);
    assert.equal(hex(taken.of(peer, view)), expected(base + 1));
    assert.equal((await store.current(pairKey(pair)))?.epoch, base + 1);
  });

  it('are none for a view that is not agreed, and a chain that is gone is an error', async () => {
    const { keys, store, agree } = await world();
    {
      using none = await keys.take([[peer, view]]);
      assert.equal(none.of(peer, view), undefined);
    }
    await agree(1);
    await store.remove(pairKey(pair));
    await assert.rejects(keys.take([[peer, view]]), { code: 'AGREEMENT_NONE' });
    await assert.rejects(keys.epochOf(peer, view), { code: 'AGREEMENT_NONE' });
  });
});
